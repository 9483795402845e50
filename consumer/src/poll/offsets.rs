//! Committed offsets, and the incarnation and the leader epoch that each of them counts in.
//!
//! An offset is committed together with the topic's incarnation. A topic may be deleted and made again
//! while a commit is on its way; without the incarnation, the old offset would pass for one of the new
//! topic, and its first records would never be read. It is also committed with the leader epoch of the record
//! before it: a log that has lost its tail may have others at that offset.

use std::time::Duration;

use aguacero::config::Config;
use rdkafka::{
    Offset, TopicPartitionList, bindings as sys,
    consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext},
    error::{KafkaError, KafkaResult},
};

use super::{
    leader_epoch,
    partition::{Partition, ResumePoint, Start},
};

const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// librdkafka's own threads answer.
const SEEK_TIMEOUT: Duration = Duration::from_secs(2);
/// What stands behind the incarnation where the partition has stopped at the offset.
const STOPPED: &str = " stopped";

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
    /// The leader epoch of the record before, if it is known.
    pub leader_epoch: Option<i32>,
    /// Whether a consumer has stopped at this offset.
    pub stopped: bool,
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
    let committed = elements.iter().enumerate().map(|(i, e)| {
        let (incarnation, stopped) = match e.metadata().strip_suffix(STOPPED) {
            Some(incarnation) => (incarnation, true),
            None => (e.metadata(), false),
        };
        Committed {
            topic: e.topic().to_owned(),
            partition: e.partition(),
            next: match e.offset() {
                Offset::Offset(next) => Some(next),
                _ => None,
            },
            incarnation: Some(incarnation.to_owned()).filter(|m| !m.is_empty()),
            leader_epoch: leader_epoch::of_element(&list, i),
            stopped,
        }
    });
    Ok(committed.collect())
}

/// Begins to read a partition anew. With a leader epoch, librdkafka asks the broker where the epoch ends, and
/// begins there if that is before the offset: there the log that was read and the one that is there agree.
pub(super) fn seek<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: &str,
    partition: i32,
    start: &Start,
) -> KafkaResult<()> {
    let mut list = TopicPartitionList::with_capacity(1);
    let offset = start.offset.map_or(Offset::Beginning, Offset::Offset);
    list.add_partition_offset(topic, partition, offset)?;
    leader_epoch::set(&mut list, 0, start.leader_epoch);
    let sought = consumer.seek_partitions(list, SEEK_TIMEOUT)?;
    sought.elements().iter().try_for_each(|e| e.error())
}

impl From<&Committed> for ResumePoint {
    fn from(committed: &Committed) -> Self {
        Self {
            round: 0,
            incarnation: committed.incarnation.clone(),
            offset: committed.next,
            leader_epoch: committed.leader_epoch,
            is_committed: committed.incarnation.is_some(),
            cut: None,
            is_confirmed: false,
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
        let incarnation = &source.position.incarnation;
        element.set_metadata(if partition.stopped {
            format!("{incarnation}{STOPPED}")
        } else {
            incarnation.clone()
        });
        leader_epoch::set(&mut list, news.len(), partition.leader_epoch);
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
