//! Members that have something to do: the real consumer, into MongoDB.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use benches::produce;
use consumer::metric;
use e2e::Pipeline;

use crate::{Chapter, Study, page::Page, turn::STICKY, turns::in_turns};

pub(crate) const CHAPTER: Chapter = Chapter {
    name: "archive",
    title: "Consumers that archive",
    brokers: 1,
    write: |study, page| Box::pin(write(study, page)),
};

/// As `aguacero.toml` has them.
const PARTITIONS: i32 = 6;
/// Between two looks at what is archived.
const LOOK: Duration = Duration::from_millis(50);
const DEADLINE: Duration = Duration::from_secs(60);
/// For each second of a turn.
const EVENTS_PER_SECOND: f64 = 80_000.0;

async fn write(study: &Study, page: &mut Page) -> anyhow::Result<()> {
    let turns = in_turns(
        study.rounds,
        &[("consumer", ())],
        &[1, 2],
        async |(), members| study.archived(members as usize).await,
    );
    page.table(
        "A backlog into MongoDB",
        ["process", "members"],
        ["events/s"],
        &turns.await?,
    );
    Ok(())
}

impl Study {
    /// How many events so many consumers archive in a second.
    async fn archived(&self, members: usize) -> anyhow::Result<[f64; 1]> {
        let builder = Pipeline::weather().into_kafka_only().consumers(members);
        let mut pipeline = builder.prepare().await;
        let topic = pipeline.topic("weather").to_owned();
        pipeline.kafka.create(&topic, PARTITIONS).await;
        for consumer in &mut pipeline.consumers {
            consumer.start_ready().await;
        }
        let share = f64::from(PARTITIONS) / members as f64;
        until(&pipeline, metric::ASSIGNED, |each| {
            each.iter().all(|has| *has == share)
        })
        .await?;
        let n = (self.duration.as_secs_f64() * EVENTS_PER_SECOND) as u64;
        let began = Instant::now();
        produce::raw(
            &self.brokers.addresses,
            &topic,
            &self.events,
            n,
            STICKY,
            PARTITIONS,
        )?;
        until(&pipeline, metric::ARCHIVED, |each| {
            each.iter().sum::<f64>() >= n as f64
        })
        .await?;
        Ok([n as f64 / began.elapsed().as_secs_f64()])
    }
}

/// Looks at a metric of all consumers until it is as wanted.
async fn until(
    pipeline: &Pipeline,
    metric: &str,
    wanted: impl Fn(&[f64]) -> bool,
) -> anyhow::Result<()> {
    let mut each = Vec::new();
    let looked = tokio::time::timeout(DEADLINE, async {
        loop {
            each.clear();
            for consumer in &pipeline.consumers {
                each.push(consumer.metric(metric).await);
            }
            if wanted(&each) {
                break;
            }
            tokio::time::sleep(LOOK).await;
        }
    });
    looked
        .await
        .with_context(|| format!("{metric} was {each:?} after {DEADLINE:?}"))
}
