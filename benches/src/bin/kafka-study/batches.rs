//! How batches come about, and what their size does.

use benches::plot::Axes;

use crate::{
    Chapter, Study,
    acks::TASKS,
    page::Page,
    turn::{STICKY, Settings},
    turns::in_turns,
};

pub(crate) const LINGER: Chapter = Chapter {
    name: "linger",
    title: "Batches by waiting, and by arrival",
    brokers: 1,
    write: |study, page| Box::pin(linger(study, page)),
};

pub(crate) const COMPRESSION: Chapter = Chapter {
    name: "batches",
    title: "Size of batches, and compression",
    brokers: 1,
    write: |study, page| Box::pin(compression(study, page)),
};

/// How long an event waits for company.
const WAITS: [(&str, Settings<'_>); 4] = [
    ("linger 0", &[]),
    ("linger 1 ms", &[("linger.ms", "1")]),
    ("linger 5 ms", &[("linger.ms", "5")]),
    ("linger 20 ms", &[("linger.ms", "20")]),
];

const CODECS: [(&str, &str); 4] = [
    ("none", "none"),
    ("lz4", "lz4"),
    ("zstd", "zstd"),
    ("gzip", "gzip"),
];

/// Events that wait in the producer, at most: those of a turn of single events would take minutes.
const WAITING: &str = "30000";
/// Most events of a batch.
const SIZES: [u64; 5] = [1, 10, 100, 1000, 10_000];

async fn linger(study: &Study, page: &mut Page) -> anyhow::Result<()> {
    let awaited = in_turns(study.rounds, &WAITS, &TASKS, async |settings, tasks| {
        let topic = study.brokers.topic(6, 1).await;
        let turn = study
            .awaited(settings, topic, &study.events, false, tasks)
            .await?;
        Ok([
            turn.p50_us,
            turn.p99_us,
            turn.rate,
            turn.batch,
            turn.broker_cpu,
        ])
    });
    let awaited = awaited.await?;
    let columns = [
        "p50, µs",
        "p99, µs",
        "events/s",
        "events of a batch",
        "broker, CPU s/M",
    ];
    page.table("Produce and await", ["linger", "tasks"], columns, &awaited);
    page.plot(
        Axes::Factors,
        ["latency over linger", "tasks", "p50, µs"],
        &awaited,
        0,
    )?;
    page.plot(
        Axes::Factors,
        ["events of a batch over linger", "tasks", "events"],
        &awaited,
        3,
    )?;

    let raw = in_turns(study.rounds, &WAITS, &[6], async |settings, partitions| {
        let topic = study.brokers.topic(partitions, 1).await;
        let turn = study
            .flat_out(settings, topic, &study.events, STICKY)
            .await?;
        Ok([turn.rate, turn.batch, turn.client_cpu, turn.broker_cpu])
    });
    let columns = [
        "events/s",
        "events of a batch",
        "producer, CPU s/M",
        "broker, CPU s/M",
    ];
    page.table(
        "As fast as it goes",
        ["linger", "partitions"],
        columns,
        &raw.await?,
    );
    Ok(())
}

async fn compression(study: &Study, page: &mut Page) -> anyhow::Result<()> {
    let turns = in_turns(study.rounds, &CODECS, &SIZES, async |codec, size| {
        let topic = study.brokers.topic(1, 1).await;
        let size = size.to_string();
        let settings = [
            ("compression.type", codec),
            ("batch.num.messages", &size),
            ("queue.buffering.max.messages", WAITING),
        ];
        let turn = study
            .flat_out(&settings, topic, &study.events, STICKY)
            .await?;
        Ok([
            turn.rate,
            turn.bytes,
            turn.batch,
            turn.client_cpu,
            turn.broker_cpu,
        ])
    });
    let turns = turns.await?;
    let over = "most events of a batch";
    let columns = [
        "events/s",
        "bytes/event",
        "events of a batch",
        "producer, CPU s/M",
        "broker, CPU s/M",
    ];
    page.table("As fast as it goes", ["compression", over], columns, &turns);
    page.plot(
        Axes::Factors,
        ["rate over the size of batches", over, "events/s"],
        &turns,
        0,
    )?;
    page.plot(
        Axes::Levels,
        ["bytes over the size of batches", over, "bytes/event"],
        &turns,
        1,
    )?;
    page.plot(
        Axes::Factors,
        ["CPU over the size of batches", over, "producer, CPU s/M"],
        &turns,
        3,
    )
}
