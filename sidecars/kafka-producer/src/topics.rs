//! The declared topics on the broker: created if missing, refused if less than declared, and
//! looked at every second, because a topic that was deleted and created again is another one.

use std::{
    collections::HashMap,
    sync::{Arc, RwLock},
    time::Duration,
};

use aguacero::{
    config::Config,
    kafka::{Described, TopicError, Topics},
    shutdown::Shutdown,
};
use anyhow::Context as _;

/// How often the broker is asked for the topics' incarnations.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Pause between two attempts to reach the broker at start.
const RETRY_EVERY: Duration = Duration::from_millis(500);

/// What is known of the declared topics. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Known(Arc<RwLock<HashMap<String, Described>>>);

impl Known {
    /// The incarnation of `topic`, or an empty text if there is no such topic.
    pub(crate) fn incarnation(&self, topic: &str) -> String {
        self.get(topic, |t| t.incarnation.clone())
            .unwrap_or_default()
    }

    /// Number of partitions of `topic`, or none if it is not declared.
    pub(crate) fn partitions(&self, topic: &str) -> Option<i32> {
        self.get(topic, |t| t.partitions)
    }

    /// Every topic with the most bytes of one of its batches.
    pub(crate) fn batch_bytes_max(&self) -> Vec<(String, usize)> {
        let known = self
            .0
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        known
            .iter()
            .map(|(name, t)| (name.clone(), t.batch_bytes_max))
            .collect()
    }

    fn get<T>(&self, topic: &str, read: impl FnOnce(&Described) -> T) -> Option<T> {
        self.0
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .get(topic)
            .map(read)
    }

    fn update(&self, found: HashMap<String, Described>) {
        let mut known = self
            .0
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        for (name, new) in found {
            let Some(old) = known.get_mut(&name) else {
                continue;
            };
            if old.incarnation != new.incarnation {
                tracing::warn!(topic = name, "was deleted and created again");
            }
            *old = Described {
                batch_bytes_max: old.batch_bytes_max,
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
    let known = Known(Arc::new(RwLock::new(found)));
    tokio::spawn(look(Arc::new(topics), known.clone(), shutdown));
    Ok(Some(known))
}

async fn ensure(topics: &Topics, config: &Config) -> anyhow::Result<HashMap<String, Described>> {
    let mut told = false;
    loop {
        match topics.ensure(&config.topics).await {
            Ok(found) => return Ok(found),
            Err(TopicError::Refused(why)) => anyhow::bail!("{why}"),
            Err(TopicError::Unreachable(error)) => {
                if !std::mem::replace(&mut told, true) {
                    tracing::warn!(brokers = config.kafka.brokers, %error, "waiting for Kafka");
                }
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
        let (topics, names) = (Arc::clone(&topics), Arc::clone(&names));
        let described = tokio::task::spawn_blocking(move || {
            topics.describe(&names.iter().map(String::as_str).collect::<Vec<_>>())
        });
        match described.await {
            Ok(Ok(found)) => known.update(found),
            Ok(Err(error)) => tracing::debug!(%error, "asking for the topics"),
            Err(_) => return, // the runtime is ending
        }
    }
}
