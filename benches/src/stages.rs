//! The stages of the hot path as pure functions, each with an input like those of the field.

use std::iter::repeat_n;

use aguacero::{
    accept::Decoder,
    config::Config,
    counts::Deltas,
    id::{EventId, value_hash},
    ledger::Position,
};
use aguacero_proto::{
    deltas::ToRedisWriter,
    produce::{Slab, ToProducer, to_producer},
};
use bytes::Bytes;
use consumer::decode::{
    self,
    document::{self, Stamp},
};
use gateway::stages::Stages;
use prost::Message;

use crate::{deltas::Frame, events, insert};

/// Events of a batch, in the stages that take one.
pub const BATCH: u64 = 500;
/// Events of a frame of deltas: those of 10 ms at 100,000/s.
const DELTAS: u64 = 1_000;

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
pub(crate) fn config() -> anyhow::Result<Config> {
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
    let (mut worker, body) = (new()?, b"{\"texto\":7}\n".repeat(BATCH as usize));
    let name = "take in and answer, NDJSON of 500 refused";
    stages.push(stage(name, BATCH, move || {
        std::hint::black_box(worker.refuse(&body));
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
    let mut worker = new()?;
    worker.take(&events::ndjson(0, BATCH));
    let slab = Bytes::from(worker.frame());
    stages.push(encoding::<ToProducer>("encode, slab of 500", BATCH, &slab)?);
    stages.push(stage("decode, slab of 500", BATCH, move || {
        let message = ToProducer::decode(slab.clone()).unwrap_or_default();
        if let Some(to_producer::Kind::Frame(frame)) = message.kind {
            for slab in frame.slabs {
                _ = std::hint::black_box(Slab::decode(slab));
            }
        }
    }));
    stages.push(coalescing()?);
    let deltas = Bytes::from(Frame::of(DELTAS)?.message());
    let name = "encode, deltas of 1,000 events";
    stages.push(encoding::<ToRedisWriter>(name, DELTAS, &deltas)?);
    let declared = config()?;
    let name = "decode and check, deltas of 1,000 events";
    stages.push(stage(name, DELTAS, move || {
        std::hint::black_box(redis_writer::stages::decode(&declared, deltas.clone()));
    }));
    stages.push(appending());
    let events: Vec<_> = (0..BATCH).map(events::event).collect();
    let (config, batch) = (config()?, insert::batch(&events, 0, BATCH, 0));
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

/// A message of the pod, from what it is decoded into.
fn encoding<M: Message + Default + 'static>(
    name: &'static str,
    events: u64,
    bytes: &Bytes,
) -> anyhow::Result<Stage> {
    let message = M::decode(bytes.clone())?;
    Ok(stage(name, events, move || {
        std::hint::black_box(message.encode_to_vec());
    }))
}

/// A slab's events counted, and that added to what waits for the redis-writer.
fn coalescing() -> anyhow::Result<Stage> {
    let config = config()?;
    let frame = Frame::of(BATCH)?;
    let keys = frame.increments().filter(|(hash, ..)| *hash != "total");
    let countries = keys.flat_map(|(_, key, n)| repeat_n(key.to_owned(), n as usize));
    let countries: Vec<_> = countries.collect();
    let mut waiting = Deltas::none(&config.streams[0]);
    Ok(stage("coalesce deltas, slab of 500", BATCH, move || {
        let mut slab = Deltas::none(&config.streams[0]);
        for country in &countries {
            slab.count_keys(&[Some(country)]);
        }
        std::hint::black_box(waiting.merge(slab));
    }))
}

/// The document of one event, again and again: what decoding it takes is shared by all of a run.
fn appending() -> Stage {
    let (mut decoder, event) = (Decoder::new(1 << 20), events::event(7));
    let position = Position {
        incarnation: "an-incarnation-of-22-b".into(),
        partition: 0,
    };
    let hash = value_hash(event.as_bytes());
    stage("append BSON, 110 bytes", BATCH, move || {
        let stamp = Stamp {
            id: EventId([7; 16]),
            stream: "weather",
            at_ms: 1_700_000_000_000,
            position: &position,
            offset: 7,
            hash,
            client_key: b"",
        };
        _ = decoder.decode(event.as_bytes(), |fields| {
            for _ in 0..BATCH {
                _ = std::hint::black_box(document::write(fields, event.len(), &stamp));
            }
        });
    })
}
