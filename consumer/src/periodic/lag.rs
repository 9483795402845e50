//! How far behind Kafka this process is: the one figure to alarm on.
//!
//! All partitions are asked for at once, so that one without a leader, or whose leader does not answer, does not hold up
//! the others. Where the lag is not told for long, its last figure stays, and that is told.
//!
//! In seconds it is for how long the oldest of the waiting records has been seen to wait, by this process: it begins at 0
//! with a process that finds a log full.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
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

use crate::{metric, poll::Assigned};

const INTERVAL: Duration = Duration::from_secs(1);
/// How long a broker may take to answer.
const TIMEOUT: Duration = Duration::from_secs(2);
/// A lag that has not been told for so long is told to be unknown: above what a change of leaders takes.
const UNKNOWN_AFTER: Duration = Duration::from_secs(10);
/// Partitions of a topic that are listed.
const LISTED_MAX: usize = 10;

/// Ends of a log that are remembered. Then every second one is forgotten, and the lag in seconds is less exact.
const ENDS_MAX: usize = 1000;

/// A partition, by its topic's place in the configuration.
type Partition = (usize, i32);
/// Where the log ends and up to where it is archived and settled, or why nobody knows.
type Ends = Result<(i64, i64), String>;

/// Reports the lag of every partition that this process has, until the shutdown.
pub async fn watch(
    config: Arc<Config>,
    topics: Arc<Topics>,
    assigned: watch::Receiver<Assigned>,
    shutdown: Shutdown,
) {
    let mut before = HashSet::new();
    let mut waits: HashMap<Partition, Wait> = HashMap::new();
    let mut unknown = Unknown::default();
    let mut conditions = Conditions::new("the lag is not known", metric::LAG_UNKNOWN);
    while !shutdown.is_requested() {
        let partitions = Finished::of(&assigned.borrow());
        let now: HashSet<_> = partitions.iter().map(|(partition, _)| *partition).collect();
        for &(topic, partition) in before.difference(&now) {
            show(&config, topic, partition, 0, 0.0); // whoever has it now shows it
            waits.remove(&(topic, partition));
        }
        before = now;
        let (asked, topics) = (config.clone(), topics.clone());
        let lags = tokio::task::spawn_blocking(move || lags(&asked, &topics, &partitions));
        if let Ok(lags) = lags.await {
            for (&(topic, partition), ends) in &lags {
                if let Ok((next, finished)) = *ends {
                    let wait = waits.entry((topic, partition)).or_default();
                    let seconds = wait.note(next, finished, Instant::now()).as_secs_f64();
                    show(&config, topic, partition, next - finished, seconds);
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

/// How far a partition is archived and settled.
enum Finished {
    /// Before this offset; none: nowhere yet.
    Before(Option<i64>),
    /// It is not known where to go on.
    Uncertain,
}

impl Finished {
    /// Of each partition that this process has.
    fn of(assigned: &Assigned) -> Vec<(Partition, Self)> {
        let owned = assigned.owned.iter().map(|o| {
            let partition = (o.source.topic, o.source.position.partition);
            (partition, Self::Before(o.finished))
        });
        let uncertain = assigned.uncertain.iter().map(|p| (*p, Self::Uncertain));
        owned.chain(uncertain).collect()
    }
}

/// Blocks for as long as the brokers take.
fn lags(
    config: &Config,
    topics: &Topics,
    partitions: &[(Partition, Finished)],
) -> HashMap<Partition, Ends> {
    let of = |((topic, number), _): &(Partition, _)| (config.topics[*topic].name.clone(), *number);
    let asked: Vec<_> = partitions.iter().map(of).collect();
    let next = topics.offsets_at(&asked, End::Next, TIMEOUT);
    let first = topics.offsets_at(&asked, End::First, TIMEOUT);
    let lag = |asked, finished: &Finished| -> Ends {
        let told = |at: &HashMap<_, Result<i64, String>>| at.get(asked).cloned().unwrap_or(Ok(0));
        let (first, next) = (told(&first)?, told(&next)?);
        match finished {
            Finished::Before(finished) => Ok((next, finished.unwrap_or(first).max(first))),
            Finished::Uncertain => Err("it is not read yet".to_owned()),
        }
    };
    let each = asked.iter().zip(partitions);
    each.map(|(asked, (partition, finished))| (*partition, lag(asked, finished)))
        .collect()
}

fn show(config: &Config, topic: usize, partition: i32, records: i64, seconds: f64) {
    metric::lag(&config.topics[topic].name, partition, records, seconds);
}

/// When a log was first seen to end where it did, of ends that are not archived yet, oldest first.
#[derive(Default)]
struct Wait(VecDeque<(i64, Instant)>);

impl Wait {
    /// For how long the oldest record that is not finished has been seen.
    fn note(&mut self, next: i64, finished: i64, now: Instant) -> Duration {
        if self.0.back().is_some_and(|(end, _)| *end > next) {
            self.0.clear(); // another log
        }
        if self.0.back().is_none_or(|(end, _)| *end < next) {
            if self.0.len() >= ENDS_MAX {
                let mut is_kept = false;
                self.0.retain(|_| {
                    is_kept = !is_kept;
                    is_kept
                });
            }
            self.0.push_back((next, now));
        }
        while self.0.front().is_some_and(|(end, _)| *end <= finished) {
            self.0.pop_front();
        }
        let oldest = self.0.front().map(|(_, seen)| *seen);
        match next > finished {
            true => now.saturating_duration_since(oldest.unwrap_or(now)),
            false => Duration::ZERO,
        }
    }
}

/// Partitions whose lag nobody knows, since when and why.
#[derive(Default)]
struct Unknown(BTreeMap<Partition, (Instant, String)>);

impl Unknown {
    /// `lags` are those of all partitions that this process has.
    fn note(&mut self, lags: HashMap<Partition, Ends>, now: Instant) {
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
    fn the_lag_in_seconds_is_for_how_long_the_oldest_record_was_seen_to_wait() {
        let (start, mut wait) = (Instant::now(), Wait::default());
        let mut seconds = |next, finished, at| {
            let now = start + Duration::from_secs(at);
            wait.note(next, finished, now).as_secs()
        };
        assert_eq!(seconds(0, 0, 0), 0);
        assert_eq!(seconds(10, 0, 1), 0, "they have just come");
        assert_eq!(seconds(20, 0, 5), 4);
        assert_eq!(seconds(20, 10, 7), 2, "those that came at the fifth second");
        assert_eq!(seconds(20, 15, 9), 4);
        assert_eq!(seconds(20, 20, 10), 0);
        assert_eq!(seconds(3, 0, 11), 0, "the topic was made again");
        assert_eq!(seconds(3, 0, 13), 2);
        // More ends than are remembered: record 4000 came at second 4020 and was seen a little later.
        for record in 4..5000 {
            seconds(record, 0, 20 + record as u64);
        }
        let waited = seconds(5000, 4000, 5020);
        assert!((980..=1000).contains(&waited), "{waited}");
    }

    #[test]
    fn a_lag_that_is_not_told_for_long_is_told_until_it_is() {
        let toml = "[topics.t]\npartitions = 3\n[streams.s]\ntopic = \"t\"\naccess = \"open\"\n[[streams.s.routes]]\npath = \"/s\"\n";
        let config = Config::parse(toml, "test", []).unwrap_or_else(|e| panic!("{e}"));
        let (start, mut unknown) = (Instant::now(), Unknown::default());
        let away = || Err::<(i64, i64), _>("no leader".to_owned());
        let mut told = Vec::new();
        for second in 0..30 {
            let now = start + Duration::from_secs(second);
            // Partition 1 goes on, 2 comes back now and then, 0 is away from the fifth second to the twentieth.
            let first = if (5..20).contains(&second) {
                away()
            } else {
                Ok((7, 0))
            };
            let last = if second % 3 == 0 { Ok((1, 0)) } else { away() };
            let lags = HashMap::from([((0, 0), first), ((0, 1), Ok((3, 0))), ((0, 2), last)]);
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
