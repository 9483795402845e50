//! One broker against three: what it costs that each event is on several.

use benches::plot::Axes;

use crate::{
    Chapter, Study,
    acks::{TASKS, WAYS},
    page::Page,
    turn::{STICKY, Settings},
    turns::in_turns,
};

pub(crate) const CHAPTER: Chapter = Chapter {
    name: "replicas",
    title: "One broker against three",
    brokers: 3,
    write: |study, page| Box::pin(write(study, page)),
};

/// Replicas, and whom the producer waits for.
const SIDES: [(&str, (i32, Settings<'_>)); 6] = [
    ("1, acks=0", (1, WAYS[0].1)),
    ("1, acks=1", (1, WAYS[1].1)),
    ("1, acks=all, idempotent", (1, WAYS[3].1)),
    ("3, acks=0", (3, WAYS[0].1)),
    ("3, acks=1", (3, WAYS[1].1)),
    ("3, acks=all, idempotent", (3, WAYS[3].1)),
];

async fn write(study: &Study, page: &mut Page) -> anyhow::Result<()> {
    let awaited = in_turns(
        study.rounds,
        &SIDES,
        &TASKS,
        async |(replicas, settings), tasks| {
            let topic = study.brokers.topic(6, replicas).await;
            let turn = study
                .awaited(settings, topic, &study.events, false, tasks)
                .await?;
            Ok([turn.p50_us, turn.p99_us, turn.rate])
        },
    );
    let awaited = awaited.await?;
    let columns = ["p50, µs", "p99, µs", "events/s"];
    page.table(
        "Produce and await",
        ["replicas", "tasks"],
        columns,
        &awaited,
    );
    page.plot(
        Axes::Factors,
        ["latency over replicas, p50", "tasks", "µs"],
        &awaited,
        0,
    )?;
    page.plot(
        Axes::Factors,
        ["latency over replicas, p99", "tasks", "µs"],
        &awaited,
        1,
    )?;

    let raw = in_turns(
        study.rounds,
        &SIDES,
        &[6],
        async |(replicas, settings), partitions| {
            let topic = study.brokers.topic(partitions, replicas).await;
            let turn = study
                .flat_out(settings, topic, &study.events, STICKY)
                .await?;
            Ok([turn.rate, turn.client_cpu])
        },
    );
    let columns = ["events/s", "producer, CPU s/M"];
    page.table(
        "As fast as it goes",
        ["replicas", "partitions"],
        columns,
        &raw.await?,
    );
    Ok(())
}
