//! Topics that the group has read and that are not declared any more: what is unread there is told, since nobody reads it.
//!
//! All declared topics are read, also those that no stream writes to; a topic is given up by taking it out of the
//! configuration, and that is told while records of it are left.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use aguacero::{
    conditions::{Condition, Conditions},
    config::Config,
    kafka::{End, TopicPartition, Topics},
    log_limiter,
    shutdown::Shutdown,
};

use crate::metric;

/// Below what ends a problem in the log.
const INTERVAL: Duration = Duration::from_secs(10);
/// How long a broker may take to answer.
const TIMEOUT: Duration = Duration::from_secs(2);
/// What the log says while nobody can tell.
const UNASKED: &str = "Kafka does not tell what is unread in topics that are not declared any more";

/// Looks every ten seconds until the shutdown.
pub async fn watch(config: Arc<Config>, topics: Arc<Topics>, shutdown: Shutdown) {
    let mut conditions = Conditions::new("events are not archived", metric::UNDECLARED);
    while !shutdown.is_requested() {
        let (asked, asking) = (config.clone(), topics.clone());
        let unread = tokio::task::spawn_blocking(move || unread(&asked, &asking)).await;
        match unread {
            Ok(Ok(unread)) => {
                log_limiter::ended(UNASKED, "");
                let group = &config.consumer.group;
                conditions.hold(unread.iter().map(|u| condition(u, group)).collect());
            }
            Ok(Err(error)) => {
                log_limiter::repeated(UNASKED, "", &error);
                conditions.hold_still();
            }
            Err(_) => return, // the runtime is ending
        }
        tokio::select! {
            () = tokio::time::sleep(INTERVAL) => {}
            () = shutdown.requested() => {}
        }
    }
}

fn condition((topic, records): (&String, &i64), group: &str) -> Condition {
    Condition {
        labels: vec![("topic", topic.clone())],
        words: format!(
            "topic {topic} is not declared any more, and up to {records} records in it are not archived. Declare it again, and its streams for it, until they are; or give them up: kafka-consumer-groups --delete-offsets --group {group} --topic {topic}"
        ),
        value: *records as f64,
    }
}

/// How many records each undeclared topic has that the group has not read. Blocks for as long as the brokers take.
fn unread(config: &Config, topics: &Topics) -> Result<BTreeMap<String, i64>, String> {
    let mut committed = topics
        .committed(&config.consumer.group)
        .map_err(|error| error.to_string())?;
    let is_declared = |topic: &str| config.topics.iter().any(|t| t.name == topic);
    committed.retain(|(topic, _), _| !is_declared(topic));
    let mut names: Vec<_> = committed.keys().map(|(topic, _)| topic.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    if names.is_empty() {
        return Ok(BTreeMap::new());
    }
    let there = topics.describe(&names).map_err(|error| error.to_string())?;
    let partitions = there
        .iter()
        .flat_map(|(name, t)| (0..t.partitions).map(|p| (name.clone(), p)));
    let partitions: Vec<TopicPartition> = partitions.collect();
    let first = topics.offsets_at(&partitions, End::First, TIMEOUT);
    let next = topics.offsets_at(&partitions, End::Next, TIMEOUT);
    let told = |at: &HashMap<TopicPartition, _>, partition| {
        at.get(partition).cloned().unwrap_or(Ok::<i64, String>(0))
    };
    let mut unread = BTreeMap::new();
    for partition in &partitions {
        let (first, next) = (told(&first, partition)?, told(&next, partition)?);
        let from = committed.get(partition).map_or(first, |at| first.max(*at));
        *unread.entry(partition.0.clone()).or_default() += (next - from).max(0);
    }
    unread.retain(|_, records| *records > 0);
    Ok(unread)
}
