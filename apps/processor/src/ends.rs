//! Whether a processor has read everything that was in Kafka at some moment: what it then knows is complete up to it.

use std::{collections::HashMap, sync::Arc, time::Duration};

use aguacero::kafka::{End, TopicPartition, Topics};
use anyhow::Context as _;
use deadpool_postgres::GenericClient;
use tokio::task::spawn_blocking;
use tokio_postgres::{Error, Row};

/// How long Kafka may take to tell where the logs end.
const TIMEOUT: Duration = Duration::from_secs(10);

const READ: &str =
    "SELECT topic, incarnation, partition, next FROM aguacero.offsets WHERE consumer_group = $1";

/// Where the logs ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ends(HashMap<TopicPartition, Log>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Log {
    incarnation: String,
    /// Its first offset: what was below is gone.
    first: i64,
    /// The offset that came next.
    next: i64,
}

/// How far a group has read: topic, incarnation and partition, and the next offset.
pub type Read = HashMap<(String, String, i32), i64>;

impl Ends {
    /// Where the logs of `names` end now: of all their partitions, or of none.
    pub async fn now(topics: &Arc<Topics>, names: Vec<String>) -> anyhow::Result<Self> {
        let topics = topics.clone();
        let asked = spawn_blocking(move || {
            let names: Vec<_> = names.iter().map(String::as_str).collect();
            ask(&topics, &names)
        });
        asked.await.context("asking Kafka where the logs end")?
    }

    /// Whether they are of the topics that there are `now`, and not of ones that were deleted meanwhile.
    #[must_use]
    pub fn are_of(&self, now: &Self) -> bool {
        let incarnation = |ends: &Self, partition: &TopicPartition| {
            let log = ends.0.get(partition);
            log.map(|log| log.incarnation.clone())
        };
        let mut partitions = self.0.keys();
        partitions.all(|p| incarnation(self, p) == incarnation(now, p))
    }

    /// The partitions that were not read up to here, with how many offsets are missing.
    #[must_use]
    pub fn missing(&self, read: &Read) -> Vec<(TopicPartition, i64)> {
        let missing = self.0.iter().filter_map(|(partition, log)| {
            let key = (partition.0.clone(), log.incarnation.clone(), partition.1);
            let next = read.get(&key).copied().unwrap_or(0).max(log.first);
            (next < log.next).then(|| (partition.clone(), log.next - next))
        });
        let mut missing: Vec<_> = missing.collect();
        missing.sort();
        missing
    }
}

/// How far `group` has read, as PostgreSQL has it.
pub async fn read(client: &impl GenericClient, group: &str) -> Result<Read, Error> {
    let rows = client.query(READ, &[&group]).await?;
    let read = |row: &Row| ((row.get(0), row.get(1), row.get(2)), row.get(3));
    Ok(rows.iter().map(read).collect())
}

fn ask(topics: &Topics, names: &[&str]) -> anyhow::Result<Ends> {
    let described = topics
        .describe(names)
        .context("Kafka does not tell its topics")?;
    let mut partitions = Vec::new();
    for name in names {
        let topic = described
            .get(*name)
            .with_context(|| format!("there is no topic {name}"))?;
        partitions.extend((0..topic.partitions).map(|number| ((*name).to_owned(), number)));
    }
    // The end before the beginning: what is deleted in between makes no gap that would be waited for.
    let mut next = topics.offsets_at(&partitions, End::Next, TIMEOUT);
    let mut first = topics.offsets_at(&partitions, End::First, TIMEOUT);
    let mut ends = HashMap::new();
    for partition in partitions {
        let told = |offsets: &mut HashMap<TopicPartition, Result<i64, String>>| {
            let (topic, number) = &partition;
            let offset = offsets
                .remove(&partition)
                .unwrap_or_else(|| Err("no answer".into()));
            offset.map_err(|why| anyhow::anyhow!("the log of {topic}/{number}: {why}"))
        };
        let log = Log {
            next: told(&mut next)?,
            first: told(&mut first)?,
            incarnation: described[&partition.0].incarnation.clone(),
        };
        ends.insert(partition, log);
    }
    Ok(Ends(ends))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(logs: &[(i32, i64, i64)]) -> Ends {
        let log = |(partition, first, next): &(i32, i64, i64)| {
            let log = Log {
                incarnation: "i".into(),
                first: *first,
                next: *next,
            };
            (("t".to_owned(), *partition), log)
        };
        Ends(logs.iter().map(log).collect())
    }

    fn read(next: &[(&str, i32, i64)]) -> Read {
        let key = |(incarnation, partition, next): &(&str, i32, i64)| {
            (
                ("t".to_owned(), (*incarnation).to_owned(), *partition),
                *next,
            )
        };
        next.iter().map(key).collect()
    }

    #[test]
    fn everything_is_read_when_every_partition_is() {
        let ends = ends(&[(0, 0, 10), (1, 0, 3), (2, 0, 0)]);
        let missing = |next: &[(&str, i32, i64)]| {
            let missing = ends.missing(&read(next)).into_iter();
            missing
                .map(|((_, partition), n)| (partition, n))
                .collect::<Vec<_>>()
        };
        assert_eq!(missing(&[]), [(0, 10), (1, 3)], "an empty one is read");
        assert_eq!(missing(&[("i", 0, 9), ("i", 1, 3)]), [(0, 1)]);
        assert_eq!(missing(&[("i", 0, 10), ("i", 1, 7)]), []);
        // Offsets of the topic before it was made again say nothing.
        assert_eq!(missing(&[("old", 0, 99), ("i", 1, 3)]), [(0, 10)]);
    }

    #[test]
    fn what_retention_has_deleted_is_not_waited_for() {
        assert_eq!(ends(&[(0, 10, 10)]).missing(&read(&[("i", 0, 4)])), []);
        let missing = ends(&[(0, 8, 10)]).missing(&read(&[("i", 0, 4)]));
        assert_eq!(missing, [(("t".to_owned(), 0), 2)]);
    }

    #[test]
    fn ends_of_a_topic_that_was_made_again_are_told_apart() {
        let before = ends(&[(0, 0, 10)]);
        let mut after = before.clone();
        assert!(before.are_of(&after));
        for log in after.0.values_mut() {
            log.incarnation = "j".into();
        }
        assert!(!before.are_of(&after));
        assert!(!before.are_of(&Ends::default()));
    }
}
