//! How many partitions, and how events are spread over them.

use benches::plot::Axes;

use crate::{Chapter, Study, page::Page, turn::STICKY, turns::in_turns};

pub(crate) const CHAPTER: Chapter = Chapter {
    name: "partitions",
    title: "Partitions",
    brokers: 1,
    write: |study, page| Box::pin(write(study, page)),
};

const PARTITIONS: [u64; 7] = [1, 2, 4, 6, 12, 24, 48];
/// So many events in a row into one partition.
const SPREADS: [(&str, u64); 2] = [("500 in a row to each", STICKY), ("one in turn to each", 1)];
/// Whether each task has a partition of its own.
const TASKS: [(&str, bool); 2] = [("sticky", false), ("each task its own", true)];

async fn write(study: &Study, page: &mut Page) -> anyhow::Result<()> {
    let raw = in_turns(
        study.rounds,
        &SPREADS,
        &PARTITIONS,
        async |batch, partitions| {
            let topic = study.brokers.topic(partitions, 1).await;
            let turn = study.flat_out(&[], topic, &study.events, batch).await?;
            Ok([turn.rate, turn.batch, turn.client_cpu, turn.broker_cpu])
        },
    );
    let raw = raw.await?;
    let columns = [
        "events/s",
        "events of a batch",
        "producer, CPU s/M",
        "broker, CPU s/M",
    ];
    page.table(
        "As fast as it goes",
        ["spread", "partitions"],
        columns,
        &raw,
    );
    page.plot(
        Axes::Levels,
        ["rate over partitions", "partitions", "events/s"],
        &raw,
        0,
    )?;
    page.plot(
        Axes::Factors,
        ["events of a batch over partitions", "partitions", "events"],
        &raw,
        1,
    )?;

    let awaited = in_turns(
        study.rounds,
        &TASKS,
        &[1, 6, 48],
        async |is_spread, partitions| {
            let topic = study.brokers.topic(partitions, 1).await;
            let turn = study
                .awaited(&[], topic, &study.events, is_spread, 100)
                .await?;
            Ok([
                turn.p50_us,
                turn.p99_us,
                turn.rate,
                turn.batch,
                turn.broker_cpu,
            ])
        },
    );
    let columns = [
        "p50, µs",
        "p99, µs",
        "events/s",
        "events of a batch",
        "broker, CPU s/M",
    ];
    page.table(
        "Produce and await, 100 tasks",
        ["spread", "partitions"],
        columns,
        &awaited.await?,
    );
    Ok(())
}
