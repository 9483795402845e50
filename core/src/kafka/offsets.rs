//! Where logs begin and end: of many partitions in one call, by the C API, since the safe API of rdkafka asks for one
//! partition after the other, and each that has no leader keeps the others waiting.

use std::{collections::HashMap, ffi::CStr, slice, time::Duration};

use rdkafka::{TopicPartitionList, bindings as sys, error::KafkaError, types::RDKafkaErrorCode};

use super::admin_call::admin_call;

/// A partition, by the name of its topic.
pub type TopicPartition = (String, i32);

/// Which offset of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// That of the first record that is there.
    First,
    /// That of the record which comes next.
    Next,
}

/// The offset at that end of each of `partitions`, or why it is not told: by those that have no leader at once, by those
/// whose leader does not answer after `timeout`. Blocks for up to a second longer.
#[allow(unsafe_code)]
pub(super) fn offsets_at(
    client: *mut sys::rd_kafka_t,
    partitions: &[TopicPartition],
    end: End,
    timeout: Duration,
) -> Result<HashMap<TopicPartition, Result<i64, RDKafkaErrorCode>>, KafkaError> {
    if partitions.is_empty() {
        return Ok(HashMap::new());
    }
    let spec = match end {
        End::First => sys::rd_kafka_OffsetSpec_t::RD_KAFKA_OFFSET_SPEC_EARLIEST,
        End::Next => sys::rd_kafka_OffsetSpec_t::RD_KAFKA_OFFSET_SPEC_LATEST,
    };
    let mut asked = TopicPartitionList::with_capacity(partitions.len());
    for (topic, partition) in partitions {
        asked.add_partition(topic, *partition);
    }
    let operation = (sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_LISTOFFSETS, -1);
    // SAFETY: the client is alive, because the caller borrows its owner. The list is ours, and copied by the call;
    // its elements are as many as it says. What the result points to lives as long as the event.
    unsafe {
        for element in elements(asked.ptr()) {
            element.offset = spec as i64;
        }
        admin_call(
            client,
            operation,
            timeout,
            |options, queue| sys::rd_kafka_ListOffsets(client, asked.ptr(), options, queue),
            |event| {
                let result = sys::rd_kafka_event_ListOffsets_result(event);
                let mut count = 0;
                let infos = sys::rd_kafka_ListOffsets_result_infos(result, &raw mut count);
                let infos = (0..count).map(|i| *infos.add(i));
                let offset = |info| {
                    let told = &*sys::rd_kafka_ListOffsetsResultInfo_topic_partition(info);
                    let offset = match told.err {
                        // Of a broker that did not answer librdkafka 2.12 tells neither offset nor error.
                        sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR => {
                            let is_told = told.offset >= 0;
                            is_told
                                .then_some(told.offset)
                                .ok_or(RDKafkaErrorCode::OperationTimedOut)
                        }
                        error => Err(error.into()),
                    };
                    (name_of(told), offset)
                };
                Ok(infos.map(offset).collect())
            },
        )
    }
}

/// The elements of a list.
///
/// # Safety
/// The list must live as long as they are looked at, and nobody else may look meanwhile.
#[allow(unsafe_code)]
unsafe fn elements<'a>(
    list: *mut sys::rd_kafka_topic_partition_list_t,
) -> &'a mut [sys::rd_kafka_topic_partition_t] {
    // SAFETY: as the caller promises; librdkafka says how many there are.
    unsafe {
        let count = list
            .as_ref()
            .and_then(|list| usize::try_from(list.cnt).ok());
        match count {
            Some(count) if count > 0 => slice::from_raw_parts_mut((*list).elems, count),
            _ => &mut [],
        }
    }
}

/// # Safety
/// The name of the element's topic must be a text that ends in 0, as librdkafka's are.
#[allow(unsafe_code)]
unsafe fn name_of(element: &sys::rd_kafka_topic_partition_t) -> TopicPartition {
    // SAFETY: as the caller promises.
    let topic = unsafe { CStr::from_ptr(element.topic) };
    (topic.to_string_lossy().into_owned(), element.partition)
}

#[cfg(test)]
mod tests {
    use rdkafka::mocking::MockCluster;

    use super::*;
    use crate::{config::Kafka, kafka::Topics};

    /// On librdkafka's mock of a cluster, whose partitions lose their leaders when they are told to.
    #[test]
    fn a_partition_without_a_leader_keeps_no_other_waiting() {
        let cluster = MockCluster::new(3).unwrap();
        cluster.create_topic("t", 4, 1).unwrap();
        let kafka = Kafka {
            brokers: cluster.bootstrap_servers(),
            message_timeout: Duration::from_secs(1),
            tls: None,
            sasl: None,
        };
        let topics = Topics::new(&kafka, "test").unwrap();
        let all: Vec<_> = (0..4).map(|p| ("t".to_owned(), p)).collect();
        let lead = |leaders: [Option<i32>; 4]| {
            for (partition, leader) in (0..).zip(leaders) {
                cluster.partition_leader("t", partition, leader).unwrap();
            }
        };
        let told = |answers: &HashMap<TopicPartition, Result<i64, String>>| {
            let is_told = |partition| answers[partition].is_ok();
            all.iter().map(is_told).collect::<Vec<_>>()
        };
        // So long that an answer which comes after it would be a failure of its own.
        let ask = || topics.offsets_at(&all, End::Next, Duration::from_secs(60));
        lead([Some(1), Some(2), None, Some(3)]);
        assert_eq!(told(&ask()), [true, true, false, true]);
        lead([None; 4]);
        for _ in 0..2 {
            ask(); // the leaders that were known are tried first
        }
        assert_eq!(told(&ask()), [false; 4]);
        lead([Some(3), Some(2), Some(1), Some(1)]);
        ask();
        assert_eq!(told(&ask()), [true; 4], "as soon as they have leaders");
    }
}
