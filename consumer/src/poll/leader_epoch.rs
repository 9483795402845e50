//! Leader epochs, by C calls: the safe API of rdkafka knows none.
//!
//! A broker that becomes the leader of a partition counts its epoch up, and every record keeps the epoch in
//! which it was written. An offset together with the epoch of the record before it says which log it was read
//! from: a log that lost its tail, and has others in its place, has a later epoch there (KIP-320).

use rdkafka::{TopicPartitionList, bindings as sys, message::BorrowedMessage};

/// In which the record was written; none if the broker does not tell.
#[allow(unsafe_code)]
pub(super) fn of(message: &BorrowedMessage<'_>) -> Option<i32> {
    // SAFETY: the message is alive for as long as it is borrowed.
    known(unsafe { sys::rd_kafka_message_leader_epoch(message.ptr()) })
}

/// That of element `i` of the list.
#[allow(unsafe_code)]
pub(super) fn of_element(list: &TopicPartitionList, i: usize) -> Option<i32> {
    if i >= list.count() {
        return None;
    }
    // SAFETY: the list is alive and has `count` elements.
    known(unsafe { sys::rd_kafka_topic_partition_get_leader_epoch((*list.ptr()).elems.add(i)) })
}

/// Gives element `i` of the list an epoch.
#[allow(unsafe_code)]
pub(super) fn set(list: &mut TopicPartitionList, i: usize, epoch: Option<i32>) {
    if i < list.count() {
        let epoch = epoch.unwrap_or(-1);
        // SAFETY: the list is alive and has `count` elements; it is borrowed by nobody else.
        unsafe {
            sys::rd_kafka_topic_partition_set_leader_epoch((*list.ptr()).elems.add(i), epoch);
        }
    }
}

fn known(epoch: i32) -> Option<i32> {
    (epoch >= 0).then_some(epoch)
}
