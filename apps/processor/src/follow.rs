//! A processor whose state lies in memory, and is rebuilt from Kafka at each start: from a moment on, since it has no
//! use for what is older.
//!
//! It commits offsets as others do, so that its lag is seen, but never begins at them: where to begin is asked of Kafka
//! by time, for each partition that it is given. A record that cannot be read is left out: it is kept as a dead letter by
//! whoever archives.

use std::{sync::Arc, time::Duration};

use aguacero::{config::Config, kafka::client_config, ledger::Position, log_limiter};
use consumer::{
    batch::{Batch, Source},
    decode::decode_as,
    retry::Backoff,
    sink::{Outcome, Resume, Sink},
    transaction::{Event, Row},
};
use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
    error::KafkaError,
};
use tokio::task::spawn_blocking;

/// How long Kafka may take to tell an offset.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What sees every event, in the order of each partition. After a start, or when the group has given partitions anew,
/// some of them come again.
pub trait Follow: Send + Sync + 'static {
    /// From when on records are wanted, in milliseconds since 1970: asked whenever a partition is begun.
    fn since_ms(&self) -> i64;

    /// Of one partition, in the order of their offsets.
    fn see(&self, source: &Source, events: &[Event]);
}

/// Reads into a [`Follow`].
pub struct Follower<F> {
    config: Arc<Config>,
    follow: Arc<F>,
}

impl<F: Follow> Follower<F> {
    /// Of the topics that the configuration declares.
    #[must_use]
    pub fn new(config: Arc<Config>, follow: Arc<F>) -> Self {
        Self { config, follow }
    }
}

impl<F: Follow> Sink for Follower<F> {
    async fn write(&self, batch: Batch) -> Outcome {
        let decoded = decode_as(&self.config, &batch, &|event, raw| Ok(Row::of(event, raw)));
        if let Some(letter) = decoded.dead.first() {
            let (reason, detail) = (letter.reason.as_str(), &letter.detail);
            log_limiter::repeated("records are left out", reason, detail);
        }
        self.follow.see(&batch.source, &decoded.events);
        match decoded.stop {
            None => Outcome::Finished,
            Some((at, why)) => Outcome::Stopped { at, why },
        }
    }

    fn way_past(&self, topic: &str, partition: i32, at: i64) -> String {
        format!(
            "It is passed over by a start after {topic}/{partition}/{at} is older than what is shown"
        )
    }

    async fn resume(&self, topic: &str, position: &Position) -> Resume {
        let mut backoff = Backoff::new();
        loop {
            let (config, since_ms) = (self.config.clone(), self.follow.since_ms());
            let (topic, partition) = (topic.to_owned(), position.partition);
            let asked = spawn_blocking(move || offset_at(&config, &topic, partition, since_ms));
            let why = match asked.await {
                Ok(Ok(next)) => {
                    return Resume::At {
                        next,
                        leader_epoch: None,
                    };
                }
                Ok(Err(error)) => error.to_string(),
                Err(error) => error.to_string(),
            };
            backoff
                .after("Kafka does not tell where to begin", "", &why)
                .await;
        }
    }
}

/// The offset of the first record that arrived at `since_ms` or later; if there is none, of the one that comes next.
fn offset_at(
    config: &Config,
    topic: &str,
    partition: i32,
    since_ms: i64,
) -> Result<i64, KafkaError> {
    let client: BaseConsumer = client_config(&config.kafka, "processor").create()?;
    // The end first: what comes in between is behind it.
    let (_, end) = client.fetch_watermarks(topic, partition, TIMEOUT)?;
    let mut asked = TopicPartitionList::with_capacity(1);
    asked.add_partition_offset(topic, partition, Offset::Offset(since_ms.max(0)))?;
    let told = client.offsets_for_times(asked, TIMEOUT)?;
    let element = told.find_partition(topic, partition);
    match element
        .map(|e| e.error().map(|()| e.offset()))
        .transpose()?
    {
        Some(Offset::Offset(next)) => Ok(next),
        _ => Ok(end),
    }
}
