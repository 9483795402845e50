//! A broker that has just been started, and the first event to a partition.

use std::time::{Duration, Instant};

use benches::{
    plot::{Axes, Curve, Line},
    produce::awaited_with,
};
use rdkafka::producer::{FutureProducer, FutureRecord};

use crate::{
    Chapter, Study,
    acks::WAYS,
    page::Page,
    turn::Settings,
    turns::{Turns, in_turns},
};

pub(crate) const CHAPTER: Chapter = Chapter {
    name: "first",
    title: "A broker that has just been started, and first events",
    brokers: 1,
    write: |study, page| Box::pin(write(study, page)),
};

/// Tasks while the broker is watched.
const TASKS: usize = 100;
const SECOND: Duration = Duration::from_secs(1);
/// Until a first event is given up.
const DEADLINE: Duration = Duration::from_secs(30);
/// Partitions of the topics that get a first event.
const PARTITIONS: u64 = 6;

async fn write(study: &Study, page: &mut Page) -> anyhow::Result<()> {
    let mut events = first_events(study, &[("just started", WAYS[3].1)], 1).await?;
    let [rate, p50, p99] = watch(study, study.start_seconds).await?;
    let sides = [
        ("warmed up", WAYS[3].1),
        ("warmed up, not idempotent", WAYS[2].1),
    ];
    let warm = first_events(study, &sides, study.rounds).await?;
    events.sides.extend(warm.sides);
    let over = "seconds since the first";
    page.curve(&Curve {
        title: "rate of a broker that has just been started",
        over,
        unit: "events/s",
        axes: Axes::Even,
        lines: vec![rate],
    })?;
    page.curve(&Curve {
        title: "latency of a broker that has just been started",
        over,
        unit: "µs",
        axes: Axes::Even,
        lines: vec![p50, p99],
    })?;
    let columns = [
        "the first, µs",
        "first to another partition, µs",
        "to the same again, µs",
    ];
    page.table(
        "First events of a new producer",
        ["broker", "partitions"],
        columns,
        &events,
    );
    Ok(())
}

/// Load until a broker's compiler has seen most of it.
pub(crate) async fn warm_up(study: &Study) -> anyhow::Result<()> {
    watch(study, study.start_seconds / 2).await?;
    Ok(())
}

/// Rate, p50 and p99 in each of so many seconds.
async fn watch(study: &Study, seconds: usize) -> anyhow::Result<[Line; 3]> {
    let replicas = study.brokers.len() as i32;
    let topic = study.brokers.topic(6, replicas).await;
    let settings = study.brokers.settings(&[]);
    let mut lines = ["100 tasks", "p50", "p99"].map(Line::new);
    let began = Instant::now();
    for _ in 0..seconds {
        let (name, events) = (&topic.name, &study.events);
        let second = awaited_with(&settings, name, None, events, TASKS, Duration::ZERO, SECOND);
        let produced = second.await?;
        let quantile_us = |quantile| produced.times.value_at_quantile(quantile) as f64 / 1e3;
        let values = [produced.events as f64, quantile_us(0.5), quantile_us(0.99)];
        for (line, value) in lines.iter_mut().zip(values) {
            line.points.push((began.elapsed().as_secs_f64(), value));
        }
    }
    study.brokers.forget(topic).await;
    Ok(lines)
}

async fn first_events(
    study: &Study,
    sides: &[(&'static str, Settings<'static>)],
    rounds: usize,
) -> anyhow::Result<Turns<3>> {
    let measured = in_turns(
        rounds,
        sides,
        &[PARTITIONS],
        async |settings, partitions| {
            let topic = study.brokers.topic(partitions, 1).await;
            let producer: FutureProducer = study.brokers.settings(settings).create()?;
            let mut times = Vec::new();
            for partition in [0, 1, 0] {
                let record = FutureRecord::<(), _>::to(&topic.name);
                let record = record.partition(partition).payload(&study.events[0]);
                let sent = Instant::now();
                let stored = producer.send(record, DEADLINE).await;
                stored.map_err(|(error, _)| error)?;
                times.push(sent.elapsed().as_secs_f64() * 1e6);
            }
            study.brokers.forget(topic).await;
            Ok([times[0], times[1], times[2]])
        },
    );
    measured.await
}
