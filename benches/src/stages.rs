//! The stages of the hot path as pure functions, each with an input like those of the field.

use std::sync::Arc;

use aguacero::{accept::Decoder, config::Config, id::EventId, ledger::Position, record};
use consumer::{
    batch::{Batch, Source},
    decode,
};
use gateway::stages::Stages;

use crate::events;

/// Events of a batch, in the stages that take one.
pub const BATCH: u64 = 500;

/// One stage, to be run again and again.
pub struct Stage {
    /// What it does, to what.
    pub name: &'static str,
    /// Events of a run.
    pub events: u64,
    /// A run.
    pub run: Box<dyn FnMut()>,
}

fn stage(name: &'static str, events: u64, run: impl FnMut() + 'static) -> Stage {
    let run = Box::new(run);
    Stage { name, events, run }
}

/// The declarations of the repository.
fn config() -> anyhow::Result<Config> {
    let toml = e2e::repository("aguacero.toml");
    Config::parse(&toml, "aguacero.toml", []).map_err(|mistakes| anyhow::anyhow!("{mistakes}"))
}

/// Every stage.
pub fn all() -> anyhow::Result<Vec<Stage>> {
    let ascii = r#"{"texto":"Llueve a cantaros en el centro y nadie trae paraguas, que dia tan gris amigos","pais":"Argentina"}"#;
    let long = |bytes: usize| {
        let text = "Llueve a cántaros ☔ ".repeat(bytes / 22);
        format!(r#"{{"texto":"{text}","país":"Argentina"}}"#)
    };
    let hostile = format!(
        r#"{{"texto":"{}","país":"{}","x":{}1{}}}"#,
        r"\ud83c\udf27\n\\".repeat(40),
        r"\u0041".repeat(20),
        "[".repeat(60),
        "]".repeat(60)
    );
    let mut stages = vec![
        decoding("decode, ASCII, 105 bytes", ascii.to_owned()),
        decoding("decode, accented, 110 bytes", events::event(7)),
        decoding(
            "decode, escaped keys",
            events::event(7).replace("país", r"pa\u00eds"),
        ),
        decoding("decode, 1 KB", long(1 << 10)),
        decoding("decode, 16 KB", long(16 << 10)),
        decoding("decode, hostile", hostile),
    ];
    let lines = events::ndjson(0, BATCH);
    let new = || Ok::<_, anyhow::Error>(Stages::new(config()?));
    let (worker, body) = (new()?, lines.clone());
    stages.push(stage("split, NDJSON of 500", BATCH, move || {
        std::hint::black_box(worker.split(&body));
    }));
    let (mut worker, body) = (new()?, lines.clone());
    stages.push(stage("split and judge, NDJSON of 500", BATCH, move || {
        std::hint::black_box(worker.judge(&body));
    }));
    let (mut worker, body) = (new()?, lines);
    let name = "take in, frame, receipt and deltas, NDJSON of 500";
    stages.push(stage(name, BATCH, move || {
        std::hint::black_box(worker.take(&body));
        std::hint::black_box(worker.frame());
        std::hint::black_box(worker.deltas());
    }));
    let (mut worker, body) = (new()?, events::event(7));
    let name = "take in, frame, receipt and deltas, 1 event";
    stages.push(stage(name, 1, move || {
        std::hint::black_box(worker.take(body.as_bytes()));
        std::hint::black_box(worker.frame());
        std::hint::black_box(worker.deltas());
    }));
    let mut worker = new()?;
    let singles: Vec<_> = (0..100).map(events::event).collect();
    let name = "take in, frame, receipt and deltas, 100 requests of 1 event";
    stages.push(stage(name, 100, move || {
        for body in &singles {
            std::hint::black_box(worker.take(body.as_bytes()));
        }
        std::hint::black_box(worker.frame());
        std::hint::black_box(worker.deltas());
    }));
    let (config, batch) = (config()?, batch());
    stages.push(stage("documents of a batch of 500", BATCH, move || {
        std::hint::black_box(decode::decode(&config, &batch));
    }));
    Ok(stages)
}

fn decoding(name: &'static str, json: String) -> Stage {
    let mut decoder = Decoder::new(1 << 20);
    stage(name, 1, move || {
        let good = decoder.decode(json.as_bytes(), |document| document.entries().count());
        std::hint::black_box(good.is_ok());
    })
}

/// As the consumer's poll loop fills it.
fn batch() -> Batch {
    let position = Position {
        incarnation: "an-incarnation-of-22-b".into(),
        partition: 0,
    };
    let mut batch = Batch::new(Arc::new(Source {
        topic: 0,
        position,
        epoch: 1,
    }));
    let mut header = Vec::new();
    for n in 0..BATCH {
        record::Header {
            id: EventId(u128::from(n).to_be_bytes()),
            stream: "weather",
            client_key: b"",
        }
        .write(&mut header);
        let headers = [(record::HEADER.as_bytes(), Some(&header[..]))];
        let event = events::event(n);
        let place = (n as i64, 1_700_000_000_000);
        batch.push(place, None, Some(event.as_bytes()), headers.into_iter());
    }
    batch
}
