//! The declared topics on the broker: created if missing, refused if less than declared, and
//! looked at every second, because a topic that was deleted and created again is another one.

use std::{
    collections::HashMap,
    sync::{
        Arc, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use aguacero::{
    config::Config,
    essential::essential,
    kafka::{Described, TopicError, Topics},
    log_limiter,
    shutdown::Shutdown,
};
use anyhow::Context as _;
use tokio::sync::Notify;

/// How often the broker is asked for the topics' incarnations.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// What a record batch of one record adds to value and key: the batch's head, the record's varints,
/// the header `aguacero` with a stream's name and a client's key of the greatest length, `traceparent`, and a
/// `tracestate` of the 512 bytes that it may have.
pub(crate) const RECORD_OVERHEAD: usize = 1536;
/// Pause between two attempts to reach the broker at start.
const RETRY_EVERY: Duration = Duration::from_millis(500);

/// What is known of the declared topics. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Known {
    pub(crate) topics: Arc<RwLock<HashMap<String, Described>>>,
    /// The broker takes less than is known: to be asked again.
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
        self.refused.store(true, Ordering::Relaxed);
        self.get(topic, |t| bytes + RECORD_OVERHEAD > t.batch_bytes_max)
            .unwrap_or(false)
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

    /// Notes that the batches of `topic` may have so many bytes.
    fn limit(&self, topic: &str, bytes: usize) {
        let mut known = self
            .topics
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(known) = known.get_mut(topic)
            && known.batch_bytes_max != bytes
        {
            let was = std::mem::replace(&mut known.batch_bytes_max, bytes);
            tracing::error!(
                topic,
                was,
                is = bytes,
                "max.message.bytes was changed: restart the kafka-producer, or whole batches are refused"
            );
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
pub(crate) async fn watch(config: &Config, shutdown: Shutdown) -> anyhow::Result<Option<Known>> {
    let topics = Topics::new(&config.kafka, "kafka-producer").context("librdkafka")?;
    let found = tokio::select! {
        found = ensure(&topics, config) => found?,
        () = shutdown.requested() => return Ok(None),
    };
    let known = Known::new(found);
    let looking = look(Arc::new(topics), known.clone(), shutdown);
    tokio::spawn(essential("looking at the topics", looking));
    Ok(Some(known))
}

async fn ensure(topics: &Topics, config: &Config) -> anyhow::Result<HashMap<String, Described>> {
    loop {
        match topics.ensure(&config.topics).await {
            Ok(found) => return Ok(found),
            Err(TopicError::Refused(why)) => anyhow::bail!("{why}"),
            Err(error) => {
                log_limiter::repeated("waiting for Kafka", &config.kafka.brokers, &error);
                tokio::time::sleep(RETRY_EVERY).await;
            }
        }
    }
}

async fn look(topics: Arc<Topics>, known: Known, shutdown: Shutdown) {
    let names: Arc<Vec<String>> = Arc::new(
        known
            .batch_bytes_max()
            .into_iter()
            .map(|(n, _)| n)
            .collect(),
    );
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = shutdown.requested() => return,
        }
        let (asking, names) = (Arc::clone(&topics), Arc::clone(&names));
        let topics = Arc::clone(&topics);
        let described = tokio::task::spawn_blocking(move || {
            topics.describe(&names.iter().map(String::as_str).collect::<Vec<_>>())
        });
        match described.await {
            Ok(Ok(found)) => {
                known.update(found);
                if known.refused.swap(false, Ordering::Relaxed) {
                    look_at_limits(&asking, &known).await;
                }
            }
            Ok(Err(error)) => log_limiter::repeated("Kafka does not tell its topics", "", &error),
            Err(_) => return, // the runtime is ending
        }
    }
}

async fn look_at_limits(topics: &Topics, known: &Known) {
    for (topic, _) in known.batch_bytes_max() {
        match topics.batch_bytes_max(&topic).await {
            Ok(bytes) => known.limit(&topic, bytes),
            Err(error) => {
                tracing::debug!(%error, topic, "asking for max.message.bytes");
                known.refused.store(true, Ordering::Relaxed);
            }
        }
    }
}
