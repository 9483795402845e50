//! `consumer rebuild STREAM`: forgets what Redis shows of a stream and counts the archive again.
//!
//! A consumer that runs meanwhile sees the same and does the same; whoever is faster, the ledger's
//! compare-and-set counts everything once.

use std::sync::Arc;

use aguacero::{
    config::{Config, Stream},
    kafka::client_config,
    ledger::{END, Position},
};
use anyhow::Context as _;
use rdkafka::consumer::BaseConsumer;

use crate::{app::Stores, poll::committed};

/// Clears the stream called `name`, and settles everything that the archive has of it.
pub async fn rebuild(config: Config, name: &str) -> anyhow::Result<()> {
    let config = Arc::new(config);
    let declared = || config.streams.iter().map(|s| s.name.as_str()).collect::<Vec<_>>().join(", ");
    let stream = config.stream(name).with_context(|| format!("no stream is called {name}; there are: {}", declared()))?;
    let stores = Stores::connect(&config).await?;
    let Stores { described, archive, settler, .. } = &stores;
    settler.clear(stream).await.map_err(|e| anyhow::anyhow!("{e}"))?;
    println!("{name}: cleared");
    let topic = &config.topic_of(stream).name;
    let current = described.get(topic).map(|t| t.incarnation.as_str());
    let positions = archive.positions(stream).await?;
    let (config, asked) = (config.clone(), topic.clone());
    let finished = tokio::task::spawn_blocking(move || finished(&config, &asked)).await??;
    for (i, position) in positions.iter().enumerate() {
        let Some(to) = end_of(position, current, &finished) else { continue };
        settler.settle_archived(stream, position, None, to).await.map_err(|e| anyhow::anyhow!("{e}"))?;
        println!("{name}: {} of {} ledgers counted ({position})", i + 1, positions.len());
    }
    report(stream, settler).await
}

/// What a partition's consumer has finished: settling beyond would overtake a batch on its way.
fn finished(config: &Config, topic: &str) -> anyhow::Result<Vec<crate::poll::Committed>> {
    let mut client = client_config(&config.kafka, "rebuild");
    client.set("group.id", &config.consumer.group).set("enable.auto.commit", "false");
    let consumer: BaseConsumer = client.create()?;
    let declared = config.topics.iter().find(|t| t.name == topic).map_or(0, |t| t.partitions);
    let metadata = rdkafka::consumer::Consumer::fetch_metadata(&consumer, Some(topic), std::time::Duration::from_secs(5))?;
    let partitions = metadata.topics().first().map_or(declared, |t| t.partitions().len() as i32);
    let partitions: Vec<_> = (0..partitions).map(|p| (topic.to_owned(), p)).collect();
    Ok(committed(&consumer, &partitions)?)
}

/// Where to settle a position to; none if nothing of it is finished yet.
fn end_of(position: &Position, current: Option<&str>, finished: &[crate::poll::Committed]) -> Option<i64> {
    if current.is_some_and(|current| current != position.incarnation) {
        return Some(END);
    }
    let committed = finished.iter().find(|c| c.partition == position.partition)?;
    let same = committed.incarnation.as_ref().is_none_or(|i| *i == position.incarnation);
    committed.next.filter(|_| same).map(|next| next - 1).filter(|last| *last >= 0)
}

async fn report(stream: &Stream, settler: &crate::settle::Settler) -> anyhow::Result<()> {
    let shown = settler.redis().shown(stream).await?;
    println!("{}: {} events", stream.name, shown.events);
    for (counter, keys) in stream.counters.iter().zip(&shown.counters) {
        println!("{}: {} has {} keys", stream.name, counter.name, keys.len());
    }
    Ok(())
}
