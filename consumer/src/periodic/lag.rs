//! How far behind Kafka this process is: the one figure to alarm on.
//!
//! All partitions are asked for at once, so that one without a leader, or whose leader does not answer, does not hold up
//! the others. Where the lag is not told for long, its last figure stays, and that is told.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use aguacero::{
    conditions::{Condition, Conditions},
    config::Config,
    kafka::{End, Topics},
    shutdown::Shutdown,
};
use tokio::sync::watch;

use crate::{metric, poll::Owned};

const INTERVAL: Duration = Duration::from_secs(1);
/// How long a broker may take to answer.
const TIMEOUT: Duration = Duration::from_secs(2);
/// A lag that has not been told for so long is told to be unknown: above what a change of leaders takes.
const UNKNOWN_AFTER: Duration = Duration::from_secs(10);
/// Partitions of a topic that are listed.
const LISTED_MAX: usize = 10;

/// A partition, by its topic's place in the configuration.
type Partition = (usize, i32);
/// How many records of a partition are not archived and settled, or why nobody knows.
type Lag = Result<i64, String>;

/// Reports the lag of every partition that this process has, until the shutdown.
pub async fn watch(
    config: Arc<Config>,
    topics: Arc<Topics>,
    owned: watch::Receiver<Vec<Owned>>,
    shutdown: Shutdown,
) {
    let mut before = HashSet::new();
    let mut unknown = Unknown::default();
    let mut conditions = Conditions::new("the lag is not known", metric::LAG_UNKNOWN);
    while !shutdown.is_requested() {
        let partitions = owned.borrow().clone();
        let now: HashSet<_> = partitions
            .iter()
            .map(|o| (o.source.topic, o.source.position.partition))
            .collect();
        for &(topic, partition) in before.difference(&now) {
            show(&config, topic, partition, 0); // whoever has it now shows it
        }
        before = now;
        let (asked, topics) = (config.clone(), topics.clone());
        let lags = tokio::task::spawn_blocking(move || lags(&asked, &topics, &partitions));
        if let Ok(lags) = lags.await {
            for (&(topic, partition), lag) in &lags {
                if let Ok(lag) = lag {
                    show(&config, topic, partition, *lag);
                }
            }
            unknown.note(lags, Instant::now());
            conditions.hold(unknown.conditions(&config, Instant::now()));
        }
        tokio::select! {
            () = tokio::time::sleep(INTERVAL) => {}
            () = shutdown.requested() => {}
        }
    }
}

/// Blocks for as long as the brokers take.
fn lags(config: &Config, topics: &Topics, partitions: &[Owned]) -> HashMap<Partition, Lag> {
    let of = |owned: &Owned| {
        let topic = config.topics[owned.source.topic].name.clone();
        (topic, owned.source.position.partition)
    };
    let asked: Vec<_> = partitions.iter().map(of).collect();
    let next = topics.offsets_at(&asked, End::Next, TIMEOUT);
    let first = topics.offsets_at(&asked, End::First, TIMEOUT);
    let lag = |asked, owned: &Owned| -> Lag {
        let told = |at: &HashMap<_, Lag>| at.get(asked).cloned().unwrap_or(Ok(0));
        let (first, next) = (told(&first)?, told(&next)?);
        Ok(next - owned.finished.unwrap_or(first).max(first))
    };
    let partition = |o: &Owned| (o.source.topic, o.source.position.partition);
    let each = asked.iter().zip(partitions);
    each.map(|(asked, owned)| (partition(owned), lag(asked, owned)))
        .collect()
}

fn show(config: &Config, topic: usize, partition: i32, lag: i64) {
    metric::lag(&config.topics[topic].name, partition, lag);
}

/// Partitions whose lag nobody knows, since when and why.
#[derive(Default)]
struct Unknown(BTreeMap<Partition, (Instant, String)>);

impl Unknown {
    /// `lags` are those of all partitions that this process has.
    fn note(&mut self, lags: HashMap<Partition, Lag>, now: Instant) {
        let mut before = std::mem::take(&mut self.0);
        for (partition, lag) in lags {
            if let Err(why) = lag {
                let since = before.remove(&partition).map_or(now, |(since, _)| since);
                self.0.insert(partition, (since, why));
            }
        }
    }

    /// One for each topic that has such partitions for long.
    fn conditions(&self, config: &Config, now: Instant) -> Vec<Condition> {
        let mut topics: BTreeMap<usize, Vec<(i32, &str)>> = BTreeMap::new();
        for ((topic, partition), (since, why)) in &self.0 {
            if now.saturating_duration_since(*since) >= UNKNOWN_AFTER {
                topics.entry(*topic).or_default().push((*partition, why));
            }
        }
        let condition = |(topic, partitions): (usize, Vec<(i32, &str)>)| {
            let topic = &config.topics[topic].name;
            let numbers = partitions.iter().map(|(n, _)| n.to_string());
            let numbers: Vec<_> = numbers.take(LISTED_MAX).collect();
            let more = if partitions.len() > LISTED_MAX {
                ", …"
            } else {
                ""
            };
            let why = partitions.first().map_or("", |(_, why)| why);
            let numbers = numbers.join(", ");
            Condition {
                labels: vec![("topic", topic.clone())],
                words: format!(
                    "topic {topic}: Kafka has not told for {UNKNOWN_AFTER:?} or longer how far these partitions are, and the last figure of their lag stays: {numbers}{more} ({why})"
                ),
                value: partitions.len() as f64,
            }
        };
        topics.into_iter().map(condition).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lag_that_is_not_told_for_long_is_told_until_it_is() {
        let toml = "[topics.t]\npartitions = 3\n[streams.s]\ntopic = \"t\"\naccess = \"open\"\n[[streams.s.routes]]\npath = \"/s\"\n";
        let config = Config::parse(toml, "test", []).unwrap_or_else(|e| panic!("{e}"));
        let (start, mut unknown) = (Instant::now(), Unknown::default());
        let away = || Err::<i64, _>("no leader".to_owned());
        let mut told = Vec::new();
        for second in 0..30 {
            let now = start + Duration::from_secs(second);
            // Partition 1 goes on, 2 comes back now and then, 0 is away from the fifth second to the twentieth.
            let first = if (5..20).contains(&second) {
                away()
            } else {
                Ok(7)
            };
            let last = if second % 3 == 0 { Ok(1) } else { away() };
            let lags = HashMap::from([((0, 0), first), ((0, 1), Ok(3)), ((0, 2), last)]);
            unknown.note(lags, now);
            let conditions = unknown.conditions(&config, now);
            told.extend(
                conditions
                    .iter()
                    .map(|c| (second, c.value, c.words.clone())),
            );
        }
        let seconds: Vec<_> = told.iter().map(|(second, ..)| *second).collect();
        assert_eq!(seconds, [15, 16, 17, 18, 19]);
        let is_of_one = |(_, value, words): &(u64, f64, String)| {
            *value == 1.0 && words.contains("stays: 0 (no leader)")
        };
        assert!(told.iter().all(is_of_one), "{told:?}");
    }
}
