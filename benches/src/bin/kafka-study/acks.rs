//! Whom a producer waits for.

use benches::plot::Axes;

use crate::{
    Chapter, Study,
    page::Page,
    turn::{STICKY, Settings},
    turns::in_turns,
};

pub(crate) const CHAPTER: Chapter = Chapter {
    name: "acks",
    title: "Acknowledgements",
    brokers: 1,
    write: |study, page| Box::pin(write(study, page)),
};

/// Nobody, the leader, all replicas that are in sync; and the last so that a repetition is known as one, which
/// is what the kafka-producer has. As few requests at a time as the idempotent one has.
pub(crate) const WAYS: [(&str, Settings<'_>); 4] = [
    ("acks=0", &[NOT_IDEMPOTENT, IN_FLIGHT, ("acks", "0")]),
    ("acks=1", &[NOT_IDEMPOTENT, IN_FLIGHT, ("acks", "1")]),
    ("acks=all", &[NOT_IDEMPOTENT, IN_FLIGHT]),
    ("acks=all, idempotent", &[]),
];
const NOT_IDEMPOTENT: (&str, &str) = ("enable.idempotence", "false");
const IN_FLIGHT: (&str, &str) = ("max.in.flight.requests.per.connection", "5");

/// That produce and await at the same time.
pub(crate) const TASKS: [u64; 3] = [1, 10, 100];

async fn write(study: &Study, page: &mut Page) -> anyhow::Result<()> {
    let awaited = in_turns(study.rounds, &WAYS, &TASKS, async |settings, tasks| {
        let topic = study.brokers.topic(6, 1).await;
        let turn = study
            .awaited(settings, topic, &study.events, false, tasks)
            .await?;
        Ok([
            turn.p50_us,
            turn.p99_us,
            turn.rate,
            turn.client_cpu,
            turn.broker_cpu,
        ])
    });
    let awaited = awaited.await?;
    let columns = [
        "p50, µs",
        "p99, µs",
        "events/s",
        "producer, CPU s/M",
        "broker, CPU s/M",
    ];
    page.table("Produce and await", ["acks", "tasks"], columns, &awaited);
    page.plot(
        Axes::Factors,
        ["latency over acks, p50", "tasks", "µs"],
        &awaited,
        0,
    )?;
    page.plot(
        Axes::Factors,
        ["latency over acks, p99", "tasks", "µs"],
        &awaited,
        1,
    )?;

    let raw = in_turns(
        study.rounds,
        &WAYS,
        &[1, 6],
        async |settings, partitions| {
            let topic = study.brokers.topic(partitions, 1).await;
            let turn = study
                .flat_out(settings, topic, &study.events, STICKY)
                .await?;
            Ok([turn.rate, turn.client_cpu, turn.broker_cpu])
        },
    );
    let columns = ["events/s", "producer, CPU s/M", "broker, CPU s/M"];
    page.table(
        "As fast as it goes",
        ["acks", "partitions"],
        columns,
        &raw.await?,
    );
    Ok(())
}
