//! Committed offsets, and the incarnation that each of them counts in.
//!
//! An offset is committed together with the topic's incarnation. A topic may be deleted and made again
//! while a commit is on its way; without the incarnation, the old offset would pass for one of the new
//! topic, and its first records would never be read.

use std::time::Duration;

use aguacero::{config::Config, log_limiter};
use rdkafka::{
    Offset, TopicPartitionList, bindings as sys,
    consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext},
    error::{KafkaError, KafkaResult},
};

use super::partition::{Partition, ResumePoint};
use crate::metric;

const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// What the group has committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// Name of the topic.
    pub topic: String,
    /// Number of the partition.
    pub partition: i32,
    /// The next offset to read, if one was ever committed.
    pub next: Option<i64>,
    /// The topic's incarnation; none if somebody else has set the offset, who knows what it means.
    pub incarnation: Option<String>,
}

/// Asks the group's coordinator; blocks for up to five seconds.
pub fn committed<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    partitions: &[(String, i32)],
) -> KafkaResult<Vec<Committed>> {
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for (topic, partition) in partitions {
        list.add_partition(topic, *partition);
    }
    let list = consumer.committed_offsets(list, CALL_TIMEOUT)?;
    let elements = list.elements();
    let committed = elements.iter().map(|e| Committed {
        topic: e.topic().to_owned(),
        partition: e.partition(),
        next: match e.offset() {
            Offset::Offset(next) => Some(next),
            _ => None,
        },
        incarnation: Some(e.metadata().to_owned()).filter(|m| !m.is_empty()),
    });
    Ok(committed.collect())
}

impl From<&Committed> for ResumePoint {
    fn from(committed: &Committed) -> Self {
        Self {
            round: 0,
            incarnation: committed.incarnation.clone(),
            offset: committed.next,
        }
    }
}

/// Commits what is finished in `partitions` and was not committed before.
pub(super) fn commit<'a, C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    config: &Config,
    partitions: impl Iterator<Item = &'a mut Partition>,
    mode: CommitMode,
) -> KafkaResult<()> {
    let mut list = TopicPartitionList::new();
    let mut news = Vec::new();
    for partition in partitions {
        let (Some(source), Some(finished)) = (&partition.source, partition.finished) else {
            continue;
        };
        if partition.committed == Some(finished) {
            continue;
        }
        let mut element =
            list.add_partition(&config.topics[partition.topic].name, partition.number);
        element.set_offset(Offset::Offset(finished))?;
        element.set_metadata(&source.position.incarnation);
        news.push(partition);
    }
    if news.is_empty() {
        return Ok(());
    }
    match mode {
        CommitMode::Sync => consumer.commit(&list, mode)?,
        CommitMode::Async => commit_in_background(consumer, &list)?,
    }
    for partition in news {
        partition.committed = partition.finished;
    }
    Ok(())
}

/// Sends the commit; what becomes of it is told to `ConsumerContext::commit_callback` in a later `poll`.
///
/// rdkafka 0.39's own asynchronous commit is never told: librdkafka reports it to a callback only, and
/// rdkafka has events and sets none. A reply to the consumer's own queue becomes the event.
#[allow(unsafe_code)]
fn commit_in_background<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    list: &TopicPartitionList,
) -> KafkaResult<()> {
    let client = consumer.client().native_ptr();
    // SAFETY: the client is alive, the list is copied, the queue is a reference that is given back.
    let error = unsafe {
        let queue = sys::rd_kafka_queue_get_consumer(client);
        let error =
            sys::rd_kafka_commit_queue(client, list.ptr(), queue, None, std::ptr::null_mut());
        sys::rd_kafka_queue_destroy(queue);
        error
    };
    match error {
        sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(()),
        error => Err(KafkaError::ConsumerCommit(error.into())),
    }
}

/// The first and the next offset that Kafka has.
fn log_range<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: &str,
    partition: i32,
) -> KafkaResult<(i64, i64)> {
    consumer.fetch_watermarks(topic, partition, CALL_TIMEOUT)
}

/// Says so if Kafka has deleted records between `next`, which should have come, and `came`; says how many.
pub(super) fn report_lost<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: &str,
    partition: i32,
    next: i64,
    came: i64,
) -> i64 {
    let lost = match log_range(consumer, topic, partition) {
        Ok((first, _)) => (first.min(came) - next).max(0),
        Err(error) => {
            log_limiter::repeated("Kafka does not tell where a log begins", topic, &error);
            return 0;
        }
    };
    if lost > 0 {
        tracing::error!(
            topic,
            partition,
            next,
            lost,
            "Kafka has deleted records that were not archived: its retention is shorter than this process was behind"
        );
        metric::lost(topic, partition, lost.unsigned_abs());
    }
    lost
}
