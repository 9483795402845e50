//! How large an event is.

use std::sync::Arc;

use benches::plot::Axes;

use crate::{Chapter, Study, page::Page, turn::STICKY, turns::in_turns};

pub(crate) const CHAPTER: Chapter = Chapter {
    name: "sizes",
    title: "Size of events",
    brokers: 1,
    write: |study, page| Box::pin(write(study, page)),
};

/// Bytes; the gateway takes up to 900 KiB.
const SIZES: [u64; 5] = [100, 1_000, 10_000, 100_000, 900_000];
const TASKS: [(&str, u64); 2] = [("1 task", 1), ("10 tasks", 10)];

async fn write(study: &Study, page: &mut Page) -> anyhow::Result<()> {
    let events = |size| Arc::new(vec!["a".repeat(size as usize)]);
    let raw = in_turns(
        study.rounds,
        &[("as fast as it goes", ())],
        &SIZES,
        async |(), size| {
            let topic = study.brokers.topic(6, 1).await;
            let turn = study.flat_out(&[], topic, &events(size), STICKY).await?;
            let megabytes = turn.rate * size as f64 / 1e6;
            Ok([turn.rate, megabytes, turn.batch])
        },
    );
    let raw = raw.await?;
    let columns = ["events/s", "MB/s", "events of a batch"];
    page.table(
        "As fast as it goes",
        ["", "bytes of an event"],
        columns,
        &raw,
    );
    page.plot(
        Axes::Factors,
        ["events over their size", "bytes of an event", "events/s"],
        &raw,
        0,
    )?;
    page.plot(
        Axes::Factors,
        ["bytes over the size of events", "bytes of an event", "MB/s"],
        &raw,
        1,
    )?;

    let awaited = in_turns(study.rounds, &TASKS, &SIZES, async |tasks, size| {
        let topic = study.brokers.topic(6, 1).await;
        let turn = study
            .awaited(&[], topic, &events(size), false, tasks)
            .await?;
        Ok([turn.p50_us, turn.p99_us])
    });
    let awaited = awaited.await?;
    page.table(
        "Produce and await",
        ["tasks", "bytes of an event"],
        ["p50, µs", "p99, µs"],
        &awaited,
    );
    page.plot(
        Axes::Factors,
        [
            "latency over the size of events",
            "bytes of an event",
            "p50, µs",
        ],
        &awaited,
        0,
    )
}
