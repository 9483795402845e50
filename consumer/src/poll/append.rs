//! A record into the batch that its partition has open.

use std::time::Instant;

use rdkafka::{Message, message::BorrowedMessage};

use super::{headers::headers, leader_epoch, partition::Partition, state::Poller};
use crate::sink::Sink;

impl<S: Sink> Poller<S> {
    /// Appends a copy of the record; true when its partition has its share of the memory.
    pub(super) fn append(&mut self, message: &BorrowedMessage<'_>) -> bool {
        let share = self.share();
        let Some(topic) = self
            .config
            .topics
            .iter()
            .position(|t| t.name == message.topic())
        else {
            return false;
        };
        let Some(partition) = self.partitions.get_mut(&(topic, message.partition())) else {
            return false;
        };
        if partition.source.is_none() || partition.stopped || partition.leaving {
            return false; // it will be read again, if it is ever to be read here
        }
        let (key, came) = ((topic, message.partition()), message.offset());
        match partition.next {
            // Only a log that was replaced or cut off has an offset that was read before.
            Some(next) if came < next => {
                self.gone_back(key, next, came);
                return false;
            }
            Some(next) if came > next => partition.missed(next, came),
            _ => {}
        }
        let consumer = &self.config.consumer;
        push(
            partition,
            message,
            consumer.batch_records_max,
            consumer.batch_bytes_max.min(share),
        );
        let full = partition.bytes() >= share;
        if full {
            partition.full_since.get_or_insert_with(Instant::now);
        }
        full
    }
}

fn push(
    partition: &mut Partition,
    message: &BorrowedMessage<'_>,
    records_max: usize,
    bytes_max: usize,
) {
    let Some(batch) = partition.open(records_max, bytes_max) else {
        return;
    };
    let before = batch.size();
    let timestamp_ms = message.timestamp().to_millis().unwrap_or_default();
    batch.push(
        (message.offset(), timestamp_ms),
        message.key(),
        message.payload(),
        headers(message),
    );
    batch.leader_epoch = leader_epoch::of(message).or(batch.leader_epoch);
    let bytes = batch.size() - before;
    partition.appended(message.offset(), bytes);
}
