//! Topics that the group has read and that are not declared any more: what is unread there is told, since nobody reads it.
//!
//! All declared topics are read, also those that no stream writes to; a topic is given up by taking it out of the
//! configuration, and that is told while records of it are left.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use aguacero::{
    conditions::{Condition, Conditions},
    config::Config,
    kafka::{End, TopicPartition, Topics},
    log_limiter,
    shutdown::Shutdown,
};

use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
    error::KafkaError,
};

use crate::{metric, poll::client};

/// How often Kafka is asked: that is for all topics that there are.
const ASK_EVERY: Duration = Duration::from_secs(60);
/// How often what was found is told, or asked for again after a failure: below what ends a problem in the log.
const TELL_EVERY: Duration = Duration::from_secs(10);
/// How long a broker may take to tell where logs begin and end.
const TIMEOUT: Duration = Duration::from_secs(2);
/// The same for what topics there are and what the group has committed.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// What the log says while nobody can tell.
const UNASKED: &str = "Kafka does not tell what is unread in topics that are not declared any more";

/// Looks every minute until the shutdown.
pub async fn watch(config: Arc<Config>, topics: Arc<Topics>, shutdown: Shutdown) {
    let mut conditions = Conditions::new("events are not archived", metric::UNDECLARED);
    let mut told: Option<Instant> = None;
    while !shutdown.is_requested() {
        if told.is_none_or(|told| told.elapsed() >= ASK_EVERY) {
            let (asked, asking) = (config.clone(), topics.clone());
            match tokio::task::spawn_blocking(move || unread(&asked, &asking)).await {
                Ok(Ok(unread)) => {
                    log_limiter::ended(UNASKED, "");
                    let group = &config.consumer.group;
                    conditions.hold(unread.iter().map(|u| condition(u, group)).collect());
                    told = Some(Instant::now());
                }
                Ok(Err(error)) => {
                    log_limiter::repeated(UNASKED, "", &error);
                    conditions.hold_still();
                }
                Err(_) => return, // the runtime is ending
            }
        } else {
            conditions.hold_still();
        }
        tokio::select! {
            () = tokio::time::sleep(TELL_EVERY) => {}
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
///
/// What the group has committed is asked of a client of its own, for every partition that is there: without a list of
/// them, which only admin clients can do, librdkafka 2.12 crashes where the coordinator moves
/// (confluentinc/librdkafka#5040).
fn unread(config: &Config, topics: &Topics) -> Result<BTreeMap<String, i64>, String> {
    let told = |error: KafkaError| error.to_string();
    let mut nameless = config.clone();
    nameless.consumer.instance = None;
    let group: BaseConsumer = client(&nameless).create().map_err(told)?; // never joins
    let there = group.fetch_metadata(None, CALL_TIMEOUT).map_err(told)?;
    let is_other = |name: &str| !name.starts_with("__") && !config.topic_names().contains(&name);
    let others = there.topics().iter().filter(|t| is_other(t.name()));
    let mut list = TopicPartitionList::new();
    for topic in others {
        for partition in topic.partitions() {
            list.add_partition(topic.name(), partition.id());
        }
    }
    if list.count() == 0 {
        return Ok(BTreeMap::new());
    }
    let all = group.committed_offsets(list, CALL_TIMEOUT).map_err(told)?;
    let all = all.elements();
    let committed: HashMap<TopicPartition, i64> = all
        .iter()
        .filter_map(|e| match e.offset() {
            Offset::Offset(next) => Some(((e.topic().to_owned(), e.partition()), next)),
            _ => None,
        })
        .collect();
    let read: HashSet<_> = committed.keys().map(|(topic, _)| topic.as_str()).collect();
    let partitions = all.iter().map(|e| (e.topic().to_owned(), e.partition()));
    let partitions: Vec<_> = partitions
        .filter(|(t, _)| read.contains(t.as_str()))
        .collect();
    let first = topics.offsets_at(&partitions, End::First, TIMEOUT);
    let next = topics.offsets_at(&partitions, End::Next, TIMEOUT);
    let mut unread = BTreeMap::new();
    for partition in &partitions {
        let told = |at: &HashMap<TopicPartition, Result<i64, String>>| {
            at.get(partition).cloned().unwrap_or(Ok(0))
        };
        let (first, next) = (told(&first)?, told(&next)?);
        let from = committed.get(partition).map_or(first, |at| first.max(*at));
        *unread.entry(partition.0.clone()).or_default() += (next - from).max(0);
    }
    unread.retain(|_, records| *records > 0);
    Ok(unread)
}
