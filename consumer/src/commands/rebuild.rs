//! `consumer rebuild STREAM`: forgets what Redis shows of a stream and counts the archive again.
//!
//! A consumer that runs meanwhile sees that the watermarks are gone, and does the same for its
//! partitions. Whoever is faster, the ledger's compare-and-set counts everything once.

use std::{sync::Arc, time::Duration};

use aguacero::{
    config::{Config, Stream},
    kafka::client_config,
    ledger::{END, Position},
};
use anyhow::Context as _;
use rdkafka::consumer::{BaseConsumer, Consumer};

use crate::{
    poll::{Committed, committed},
    retry::{RetryLimit, hosts},
    settle::Settler,
    stores::{Claim, Stores},
};

const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// The stream called `name`.
pub fn find<'a>(config: &'a Config, name: &str) -> anyhow::Result<&'a Stream> {
    config.stream(name).with_context(|| {
        let names: Vec<_> = config.streams.iter().map(|s| s.name.as_str()).collect();
        format!("no stream is called {name}; there are {}", names.join(", "))
    })
}

/// Clears the stream called `name`, and settles everything that the archive has of it. With `adopt`, its archive
/// is this configuration's from now on, whosever it was.
pub async fn rebuild(config: Config, name: &str, adopt: bool) -> anyhow::Result<()> {
    let config = Arc::new(config);
    let stream = find(&config, name)?;
    let topic = config.topic_of(stream).name.clone();
    let limit = RetryLimit::of_a_command();
    let claim = match adopt {
        true => Claim::None,
        false => Claim::Only(name),
    };
    let Stores {
        described,
        archive,
        settler,
        ..
    } = Stores::connect(&config, limit, claim).await?;
    let redis = format!("Redis at {}", hosts(&config.redis.url));
    limit.retry(&redis, || settler.redis().ping()).await?;
    let cleared = settler.begin_again(stream, None);
    cleared.await.context(redis)?;
    if let (true, Some(ours)) = (adopt, settler.origin(stream)) {
        let adopted = archive.adopt(stream, &ours).await;
        adopted.with_context(|| format!("MongoDB at {}", hosts(&config.mongodb.uri)))?;
    }
    println!("{name}: cleared");
    let current = described.get(&topic).map(|t| t.incarnation.as_str());
    let positions = archive
        .positions(stream)
        .await
        .with_context(|| format!("MongoDB at {}", hosts(&config.mongodb.uri)))?;
    let asking = config.clone();
    let finished = tokio::task::spawn_blocking(move || finished(&asking, &topic)).await?;
    let finished = finished.with_context(|| format!("Kafka at {}", config.kafka.brokers))?;
    for (i, position) in positions.iter().enumerate() {
        if let Some(to) = end_of(position, current, &finished) {
            settler.settle_archived(stream, position, to).await?;
        }
        println!(
            "{name}: {} of {} ledgers counted ({position})",
            i + 1,
            positions.len()
        );
    }
    report(stream, &settler).await
}

/// What the group has finished of each partition. Settling beyond would overtake a batch on its way.
fn finished(config: &Config, topic: &str) -> anyhow::Result<Vec<Committed>> {
    let mut client = client_config(&config.kafka, "rebuild");
    client
        .set("group.id", &config.consumer.group)
        .set("enable.auto.commit", "false");
    let consumer: BaseConsumer = client.create()?;
    let metadata = consumer.fetch_metadata(Some(topic), CALL_TIMEOUT)?;
    let partitions = metadata.topics().iter().flat_map(|t| t.partitions());
    let partitions: Vec<_> = partitions.map(|p| (topic.to_owned(), p.id())).collect();
    Ok(committed(&consumer, &partitions)?)
}

/// Where to settle a position to; none if nothing of it is finished yet.
fn end_of(position: &Position, current: Option<&str>, finished: &[Committed]) -> Option<i64> {
    if current.is_some_and(|current| current != position.incarnation) {
        return Some(END);
    }
    let committed = finished
        .iter()
        .find(|c| c.partition == position.partition)?;
    let same = committed
        .incarnation
        .as_ref()
        .is_none_or(|i| *i == position.incarnation);
    committed
        .next
        .filter(|next| same && *next > 0)
        .map(|next| next - 1)
}

async fn report(stream: &Stream, settler: &Settler) -> anyhow::Result<()> {
    let shown = settler.redis().shown(stream).await?;
    println!("{}: {} events", stream.name, shown.events);
    for (counter, keys) in stream.counters.iter().zip(&shown.counters) {
        println!("{}: {} has {} keys", stream.name, counter.name, keys.len());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ledger_is_settled_as_far_as_it_is_finished_or_closed_if_its_topic_is_gone() {
        let at = |incarnation: &str| Position {
            incarnation: incarnation.into(),
            partition: 1,
        };
        let finished = |next, incarnation: &str| {
            [Committed {
                topic: "t".into(),
                partition: 1,
                next,
                incarnation: Some(incarnation.into()),
                leader_epoch: None,
                stopped: false,
            }]
        };
        assert_eq!(
            end_of(&at("old"), Some("new"), &finished(Some(7), "new")),
            Some(END)
        );
        assert_eq!(
            end_of(&at("new"), Some("new"), &finished(Some(7), "new")),
            Some(6)
        );
        assert_eq!(
            end_of(&at("new"), Some("new"), &finished(Some(7), "old")),
            None
        );
        assert_eq!(
            end_of(&at("new"), Some("new"), &finished(Some(0), "new")),
            None
        );
        assert_eq!(
            end_of(&at("new"), Some("new"), &finished(None, "new")),
            None
        );
        assert_eq!(end_of(&at("new"), Some("new"), &[]), None);
    }
}
