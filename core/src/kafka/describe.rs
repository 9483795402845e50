//! What the broker says of topics, asked by a C call: the safe API of rdkafka does not ask for a topic's id.

use std::{
    collections::HashMap,
    ffi::{CStr, CString},
};

use rdkafka::{bindings as sys, error::KafkaError, types::RDKafkaErrorCode};

use super::{CALL_TIMEOUT, admin_call::admin_call};

/// A topic as the broker has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// Kafka's id of it, as Kafka's tools print it.
    pub incarnation: String,
    /// Number of partitions.
    pub partitions: i32,
    /// Replicas of the partition that has the most.
    pub replicas: usize,
    /// Replicas of each partition that are in sync; none of one without a leader.
    pub in_sync: Vec<usize>,
    /// The broker's `min.insync.replicas`; 0 before [`Topics::ensure`].
    pub min_insync: usize,
    /// Most bytes of one batch of records, `max.message.bytes`; 0 before [`Topics::ensure`].
    pub batch_bytes_max: usize,
}

/// The topics called `names` that exist, as `broker` sees them (any, if it is negative).
#[allow(unsafe_code)]
pub(super) fn describe(
    client: *mut rdkafka::bindings::rd_kafka_t,
    names: &[&str],
    broker: i32,
) -> Result<HashMap<String, Described>, KafkaError> {
    let names: Vec<CString> = names.iter().filter_map(|n| CString::new(*n).ok()).collect();
    let mut pointers: Vec<_> = names.iter().map(|n| n.as_ptr()).collect();
    let operation = sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS;
    // SAFETY: `client` is alive for the duration of the call, because the caller borrows its owner.
    // The collection copies the names, and is destroyed after the call; what the result points to lives as long as
    // the event.
    unsafe {
        let topics =
            sys::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len());
        let found = admin_call(
            client,
            (operation, broker),
            CALL_TIMEOUT,
            |options, queue| sys::rd_kafka_DescribeTopics(client, topics, options, queue),
            |event| {
                let mut found = HashMap::new();
                let result = sys::rd_kafka_event_DescribeTopics_result(event);
                let mut count = 0;
                let list = sys::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
                for i in 0..count {
                    let topic = *list.add(i);
                    let error = sys::rd_kafka_TopicDescription_error(topic);
                    let code: RDKafkaErrorCode = sys::rd_kafka_error_code(error).into();
                    match code {
                        RDKafkaErrorCode::NoError => {
                            let mut partitions = 0;
                            let list = sys::rd_kafka_TopicDescription_partitions(
                                topic,
                                &raw mut partitions,
                            );
                            let (mut replicas, mut in_sync) = (0, vec![0; partitions]);
                            for i in 0..partitions {
                                let partition = *list.add(i);
                                let mut count = 0;
                                sys::rd_kafka_TopicPartitionInfo_replicas(
                                    partition,
                                    &raw mut count,
                                );
                                replicas = replicas.max(count);
                                let number = sys::rd_kafka_TopicPartitionInfo_partition(partition);
                                let leader = sys::rd_kafka_TopicPartitionInfo_leader(partition);
                                sys::rd_kafka_TopicPartitionInfo_isr(partition, &raw mut count);
                                let place = usize::try_from(number).ok();
                                if let Some(place) = place.and_then(|n| in_sync.get_mut(n))
                                    && !leader.is_null()
                                {
                                    *place = count;
                                }
                            }
                            let id = sys::rd_kafka_Uuid_base64str(
                                sys::rd_kafka_TopicDescription_topic_id(topic),
                            );
                            found.insert(
                                CStr::from_ptr(sys::rd_kafka_TopicDescription_name(topic))
                                    .to_string_lossy()
                                    .into_owned(),
                                Described {
                                    incarnation: CStr::from_ptr(id).to_string_lossy().into_owned(),
                                    partitions: i32::try_from(partitions).unwrap_or(i32::MAX),
                                    replicas,
                                    in_sync,
                                    min_insync: 0,
                                    batch_bytes_max: 0,
                                },
                            );
                        }
                        RDKafkaErrorCode::UnknownTopicOrPartition
                        | RDKafkaErrorCode::UnknownTopic => {}
                        other => return Err(other),
                    }
                }
                Ok(found)
            },
        );
        sys::rd_kafka_TopicCollection_destroy(topics);
        found
    }
}
