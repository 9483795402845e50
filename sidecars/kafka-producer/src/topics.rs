//! The declared topics on the broker: created if missing, refused if less than declared, and
//! looked at every second, because a topic that was deleted and created again is another one. What their settings do to
//! what is promised is looked at every ten seconds, and as soon as the broker refuses records for them.

use std::{
    collections::HashMap,
    sync::{
        Arc, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use aguacero::{
    conditions::Conditions,
    config::Config,
    essential::essential,
    kafka::{self, Described, TopicError, Topics},
    log_limiter,
    record::OVERHEAD,
    shutdown::Shutdown,
};
use anyhow::Context as _;
use tokio::sync::Notify;

use crate::metric;

/// Bytes of a record batch; a topic with less is respected.
pub(crate) const BATCH_BYTES_MAX: usize = 1_000_000;
/// How often the broker is asked for the topics' incarnations.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Pause between two attempts to reach the broker at start.
const RETRY_EVERY: Duration = Duration::from_millis(500);

/// What is known of the declared topics. Cheap to clone.
#[derive(Clone)]
pub struct Known {
    pub(crate) topics: Arc<RwLock<HashMap<String, Described>>>,
    /// The broker has refused records for what a topic is set to: to be looked at soon.
    refused: Arc<AtomicBool>,
    /// Told when one of them is another one of the same name.
    made_again: Arc<Notify>,
}

impl Known {
    /// These topics.
    pub(crate) fn new(found: HashMap<String, Described>) -> Self {
        Self {
            topics: Arc::new(RwLock::new(found)),
            refused: Arc::default(),
            made_again: Arc::default(),
        }
    }

    /// The broker has refused a batch of `topic` as too large. Whether a record of `bytes`, by itself,
    /// is the reason, as far as is known by now.
    pub(crate) fn is_too_large(&self, topic: &str, bytes: usize) -> bool {
        self.look_soon();
        self.get(topic, |t| bytes + OVERHEAD > t.batch_bytes_max)
            .unwrap_or(false)
    }

    /// The broker has refused something that a topic's settings may be the reason of.
    pub(crate) fn look_soon(&self) {
        self.refused.store(true, Ordering::Relaxed);
    }

    /// Waits until a topic was deleted and made again.
    pub(crate) async fn made_again(&self) {
        self.made_again.notified().await;
    }

    /// The incarnation of `topic`, or an empty text if there is no such topic.
    pub(crate) fn incarnation(&self, topic: &str) -> String {
        self.get(topic, |t| t.incarnation.clone())
            .unwrap_or_default()
    }

    /// Number of partitions of `topic`, or none if it is not declared.
    pub(crate) fn partitions(&self, topic: &str) -> Option<i32> {
        self.get(topic, |t| t.partitions)
    }

    /// Whether the leader of a partition of `topic` may wait for others to have a record.
    pub(crate) fn is_replicated(&self, topic: &str) -> bool {
        self.get(topic, |t| t.replicas > 1).unwrap_or(true)
    }

    /// Whether a partition had, when it was last looked at, a leader and as many replicas in sync as an
    /// event must have.
    pub(crate) fn takes(&self, topic: &str, partition: i32) -> bool {
        let partition = usize::try_from(partition).unwrap_or(usize::MAX);
        self.get(topic, |t| {
            let in_sync = t.in_sync.get(partition).copied();
            in_sync.is_none_or(|count| count >= t.min_insync.max(1))
        })
        .unwrap_or(true)
    }

    /// Every topic with the most bytes of one of its batches.
    pub(crate) fn batch_bytes_max(&self) -> Vec<(String, usize)> {
        let known = self
            .topics
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        known
            .iter()
            .map(|(name, t)| (name.clone(), t.batch_bytes_max))
            .collect()
    }

    /// Notes what topics are set to now.
    fn set(&self, found: HashMap<String, Described>) {
        let mut known = self
            .topics
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        for (topic, found) in found {
            let Some(known) = known.get_mut(&topic) else {
                continue;
            };
            known.min_insync = found.min_insync;
            let is = found.batch_bytes_max;
            let was = std::mem::replace(&mut known.batch_bytes_max, is);
            if was != is {
                tracing::error!(
                    topic,
                    was,
                    is,
                    "max.message.bytes was changed: restart the kafka-producer, or whole batches are refused"
                );
            }
        }
    }

    fn get<T>(&self, topic: &str, read: impl FnOnce(&Described) -> T) -> Option<T> {
        self.topics
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .get(topic)
            .map(read)
    }

    fn update(&self, found: HashMap<String, Described>) {
        let mut known = self
            .topics
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        for (name, new) in found {
            let Some(old) = known.get_mut(&name) else {
                continue;
            };
            if old.incarnation != new.incarnation {
                tracing::warn!(topic = name, "was deleted and created again");
                self.made_again.notify_one();
            }
            *old = Described {
                batch_bytes_max: old.batch_bytes_max,
                min_insync: old.min_insync,
                ..new
            };
        }
    }
}

/// Waits for the broker and ensures the topics, then keeps looking until `shutdown`. None if the
/// shutdown came first; an error if the broker has less than declared.
pub(crate) async fn watch(
    config: Arc<Config>,
    shutdown: Shutdown,
) -> anyhow::Result<Option<Known>> {
    let topics = Topics::new(&config.kafka, "kafka-producer").context("librdkafka")?;
    let topics = Arc::new(topics);
    let found = tokio::select! {
        found = ensure(&topics, &config) => found?,
        () = shutdown.requested() => return Ok(None),
    };
    let known = Known::new(found);
    let looking = look(topics, config, known.clone(), shutdown);
    tokio::spawn(essential("looking at the topics", looking));
    Ok(Some(known))
}

async fn ensure(
    topics: &Arc<Topics>,
    config: &Arc<Config>,
) -> anyhow::Result<HashMap<String, Described>> {
    loop {
        // A broker that does not answer blocks it for seconds, in which the admin port would not answer either.
        let (asked, declared) = (Arc::clone(topics), Arc::clone(config));
        let runtime = tokio::runtime::Handle::current();
        let attempt = move || runtime.block_on(asked.ensure(&declared.topics));
        match tokio::task::spawn_blocking(attempt).await? {
            Ok(found) => return Ok(found),
            Err(TopicError::Refused(why)) => anyhow::bail!("{why}"),
            Err(error) => {
                log_limiter::repeated("waiting for Kafka", &config.kafka.brokers, &error);
                tokio::time::sleep(RETRY_EVERY).await;
            }
        }
    }
}

async fn look(topics: Arc<Topics>, config: Arc<Config>, known: Known, shutdown: Shutdown) {
    let names: Vec<_> = config.topics.iter().map(|t| t.name.clone()).collect();
    let names = Arc::new(names);
    let mut conditions = Conditions::new(kafka::ENDANGERS, metric::TOPIC_SETTING);
    let mut looked: Option<Instant> = None;
    loop {
        let (asked, names) = (Arc::clone(&topics), Arc::clone(&names));
        let described = tokio::task::spawn_blocking(move || {
            asked.describe(&names.iter().map(String::as_str).collect::<Vec<_>>())
        });
        let found = match described.await {
            Ok(Ok(found)) => Some(found),
            Ok(Err(error)) => {
                log_limiter::repeated("Kafka does not tell its topics", "", &error);
                None
            }
            Err(_) => return, // the runtime is ending
        };
        if let Some(found) = &found {
            known.update(found.clone());
        }
        let is_due = looked.is_none_or(|looked| looked.elapsed() >= kafka::LOOK_EVERY);
        if is_due || known.refused.swap(false, Ordering::Relaxed) {
            looked = Some(Instant::now());
            look_at_settings(&topics, &config, &known, found, &mut conditions).await;
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = shutdown.requested() => return,
        }
    }
}

/// Tells what the settings of topics do to what is promised, if Kafka tells it.
async fn look_at_settings(
    topics: &Topics,
    config: &Config,
    known: &Known,
    found: Option<HashMap<String, Described>>,
    conditions: &mut Conditions,
) {
    let Some(mut found) = found else {
        return conditions.hold_still();
    };
    match topics.settings(config, &mut found).await {
        Ok(settings) => {
            found.retain(|_, topic| topic.batch_bytes_max > 0); // the others have gone meanwhile
            known.set(found);
            conditions.hold(kafka::conditions(&settings));
        }
        Err(error) => {
            tracing::debug!(%error, "asking for the settings of topics");
            known.look_soon();
            conditions.hold_still();
        }
    }
}
