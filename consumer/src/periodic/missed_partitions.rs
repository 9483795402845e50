//! Partitions that nobody of the group has.
//!
//! A named replica (`group.instance.id`) that comes back gets its old partitions back, and nobody computes
//! the group's assignment anew. So a topic that only the new configuration has, or that was deleted and
//! made again meanwhile, would have no consumer until the next member comes or goes. Here one comes and
//! goes: a member without a name, which stays until every partition is somebody's.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use aguacero::{
    config::Config,
    kafka::{Described, Topics},
    log_limiter,
    shutdown::Shutdown,
};
use rdkafka::{
    consumer::{BaseConsumer, Consumer as _},
    error::KafkaResult,
};

use crate::poll::{Incarnations, client};

/// A partition, by the name of its topic.
type Partition = (String, i32);

/// How often the group is checked.
const CHECK_EVERY: Duration = Duration::from_secs(1);
/// So many checks in a row have to find the same: what the group's leader notices by itself takes it two
/// seconds.
const CHECKS: u32 = 4;
/// The additional member leaves after this, whatever it has come to.
const MEMBERSHIP_MAX: Duration = Duration::from_secs(30);
/// Until the group is checked again after that: one that has not helped is not repeated at once.
const PAUSE: Duration = Duration::from_secs(10);

/// Watches the group until the shutdown, if this is a named replica.
pub async fn watch(
    config: Arc<Config>,
    topics: Arc<Topics>,
    incarnations: Arc<Incarnations>,
    shutdown: Shutdown,
) {
    let Some(instance) = config.consumer.instance.clone() else {
        return; // who leaves and comes makes the group think anew
    };
    let group = Arc::new(Group { config, topics });
    let views = incarnations.subscribe();
    let mut suspect: Option<(Partition, u32)> = None;
    loop {
        tokio::select! {
            () = tokio::time::sleep(CHECK_EVERY) => {}
            () = shutdown.requested() => return,
        }
        let (asked, topics) = (group.clone(), views.borrow().topics.clone());
        let state = tokio::task::spawn_blocking(move || asked.state(&topics)).await;
        // Kafka that is away is told elsewhere. Additional members at the same time would hinder each other.
        let found = state
            .ok()
            .flatten()
            .filter(|l| l.first.starts_with(&instance));
        suspect = found.and_then(|l| l.missed).map(|found| {
            let before = suspect.take().filter(|(before, _)| *before == found);
            (found, before.map_or(1, |(_, checks)| checks + 1))
        });
        let Some(((topic, partition), CHECKS)) = &suspect else {
            continue;
        };
        tracing::info!(
            topic,
            partition,
            "nobody has this partition: one more member joins for a moment"
        );
        let (member, topics) = (group.clone(), views.borrow().topics.clone());
        let joined = tokio::task::spawn_blocking(move || member.join_for_a_moment(&topics)).await;
        if let Ok(Err(error)) = joined {
            log_limiter::repeated("the group cannot be joined for a moment", "", &error);
        }
        suspect = None;
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            () = shutdown.requested() => return,
        }
    }
}

/// What a group is like while it computes nothing.
struct GroupState {
    /// The first of its members, in the order of their ids. The id of a named one begins with its name.
    first: String,
    /// The first partition that no member has.
    missed: Option<Partition>,
}

/// The consumer group, seen from outside.
struct Group {
    config: Arc<Config>,
    topics: Arc<Topics>,
}

impl Group {
    /// None while nobody can say.
    fn state(&self, topics: &HashMap<String, Described>) -> Option<GroupState> {
        let answer = self.topics.group(&self.config.consumer.group).ok()?;
        let group = answer.groups().first().filter(|g| g.state() == "Stable")?;
        let mut assigned = HashSet::new();
        for member in group.members() {
            assigned.extend(partitions(member.assignment().unwrap_or_default())?);
        }
        Some(GroupState {
            first: group.members().iter().map(|m| m.id().to_owned()).min()?,
            missed: missed(&self.config.topic_names(), topics, &assigned),
        })
    }

    /// Joins without a name until every partition is somebody's, and leaves.
    fn join_for_a_moment(&self, topics: &HashMap<String, Described>) -> KafkaResult<()> {
        let mut nameless = (*self.config).clone();
        nameless.consumer.instance = None;
        let member: BaseConsumer = client(&nameless).create()?;
        member.subscribe(&nameless.topic_names())?;
        let until = Instant::now() + MEMBERSHIP_MAX;
        while Instant::now() < until && self.state(topics).is_none_or(|l| l.missed.is_some()) {
            member.poll(CHECK_EVERY / 4); // what it is given, it leaves unread
        }
        Ok(())
    }
}

/// The first partition of the topics called `names` that is not among the assigned.
fn missed(
    names: &[&str],
    topics: &HashMap<String, Described>,
    assigned: &HashSet<Partition>,
) -> Option<Partition> {
    let there = names
        .iter()
        .filter_map(|name| Some((name, topics.get(*name)?)));
    let mut all = there.flat_map(|(name, t)| (0..t.partitions).map(|p| ((*name).to_owned(), p)));
    all.find(|partition| !assigned.contains(partition))
}

/// The partitions in an assignment of Kafka's consumer protocol (`ConsumerProtocolAssignment`): a version,
/// then topics, each a name and its partitions.
fn partitions(mut bytes: &[u8]) -> Option<Vec<Partition>> {
    let mut partitions = Vec::new();
    if bytes.is_empty() {
        return Some(partitions); // a member that was given nothing
    }
    let _version: [u8; 2] = take(&mut bytes)?;
    for _ in 0..i32::from_be_bytes(take(&mut bytes)?) {
        let length = i16::from_be_bytes(take(&mut bytes)?);
        let (name, rest) = bytes.split_at_checked(usize::try_from(length).ok()?)?;
        bytes = rest;
        let name = std::str::from_utf8(name).ok()?;
        for _ in 0..i32::from_be_bytes(take(&mut bytes)?) {
            partitions.push((name.to_owned(), i32::from_be_bytes(take(&mut bytes)?)));
        }
    }
    Some(partitions)
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_assignment_of_kafka_is_read_and_a_broken_one_is_not() {
        let mut bytes = vec![0, 3, 0, 0, 0, 2];
        bytes.extend(b"\0\x01a\0\0\0\x02\0\0\0\0\0\0\0\x07");
        bytes.extend(b"\0\x02bc\0\0\0\x01\0\0\x01\0");
        let all = [("a", 0), ("a", 7), ("bc", 256)].map(|(name, p)| (name.to_owned(), p));
        assert_eq!(partitions(&bytes).unwrap(), all);
        for end in 1..bytes.len() {
            assert_eq!(partitions(&bytes[..end]), None, "{end}");
        }
        bytes.extend([0, 0, 0, 4, 1, 2, 3, 4]); // user data
        assert_eq!(partitions(&bytes).unwrap(), all);
        assert_eq!(partitions(&[]).unwrap(), []);
    }

    #[test]
    fn what_nobody_has_is_missed() {
        let topic = Described {
            incarnation: "x".into(),
            partitions: 2,
            replicas: 1,
            in_sync: vec![1, 1],
            min_insync: 1,
            batch_bytes_max: 0,
        };
        let topics = ["a", "b", "nobody's"].map(|name| (name.to_owned(), topic.clone()));
        let topics = HashMap::from(topics);
        let mut assigned = HashSet::new();
        for partition in [("a", 0), ("a", 1), ("b", 0), ("b", 1)] {
            let partition = (partition.0.to_owned(), partition.1);
            assert_eq!(
                missed(&["a", "b", "not there"], &topics, &assigned),
                Some(partition.clone())
            );
            assigned.insert(partition);
        }
        assert_eq!(missed(&["a", "b", "not there"], &topics, &assigned), None);
    }
}
