//! Our decoders against what that crate writes, in every version that is spoken.

use bytes::BytesMut;
use kafka_protocol::{
    messages::{
        ApiVersionsResponse, BrokerId, InitProducerIdResponse, MetadataResponse, ProduceResponse,
        ProducerId, SaslAuthenticateResponse, SaslHandshakeResponse, TopicName,
        api_versions_response::ApiVersion,
        metadata_response::{
            MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
        },
        produce_response::{
            BatchIndexAndErrorMessage, LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse,
            TopicProduceResponse,
        },
    },
    protocol::{Encodable, StrBytes},
};
use producer_engine::{
    Address,
    protocol::{
        reader::{Malformed, Reader},
        response::{self, Produced},
    },
};
use proptest::{collection::vec, option, prelude::*};
use uuid::Uuid;

fn encoded(body: &impl Encodable, version: i16) -> Vec<u8> {
    let mut out = BytesMut::new();
    body.encode(&mut out, version)
        .expect("a body that can be encoded");
    out.to_vec()
}

fn text() -> impl Strategy<Value = String> {
    // Some are so long that their length takes two bytes.
    prop_oneof!["\\PC{0,8}", "[a-zé]{120,140}"]
}

fn words(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// Number, host and port of a broker.
fn brokers() -> impl Strategy<Value = Vec<(i32, String, u16)>> {
    vec((any::<i32>(), text(), any::<u16>()), 0..4)
}

fn addresses(brokers: &[(i32, String, u16)]) -> Vec<(i32, Address)> {
    let address = |(number, host, port): &(i32, String, u16)| {
        let host = host.clone();
        (*number, Address { host, port: *port })
    };
    brokers.iter().map(address).collect()
}

type Batch = (
    (i32, i16, i64),
    Option<String>,
    Vec<Option<String>>,
    Option<(i32, i32)>,
);

/// Number, leader, its epoch, replicas.
type Partition = (i32, i32, i32, [i32; 2]);
/// Error, name, id.
type Topic = (i16, String, [u8; 16], Vec<Partition>);

fn batch() -> impl Strategy<Value = Batch> {
    (
        any::<(i32, i16, i64)>(),
        option::of(text()),
        vec(option::of(text()), 0..3),
        option::of((0..i32::MAX, 0..i32::MAX)),
    )
}

proptest! {
    #[test]
    fn an_answer_to_produce_is_read_as_it_was_written(
        version in 9_i16..=13,
        topics in vec((text(), any::<[u8; 16]>(), vec(batch(), 0..4)), 0..4),
        throttle in any::<i32>(),
        nodes in brokers(),
    ) {
        let mut batches = Vec::new();
        let mut written = Vec::new();
        for (name, id, of_topic) in &topics {
            let id = Uuid::from_bytes(*id);
            let mut partitions = Vec::new();
            for ((number, error, offset), message, of_records, leader) in of_topic {
                let record = |message: &Option<String>| {
                    BatchIndexAndErrorMessage::default()
                        .with_batch_index_error_message(message.as_deref().map(words))
                };
                let mut one = PartitionProduceResponse::default()
                    .with_index(*number)
                    .with_error_code(*error)
                    .with_base_offset(*offset)
                    .with_log_append_time_ms(7)
                    .with_log_start_offset(8)
                    .with_record_errors(of_records.iter().map(record).collect())
                    .with_error_message(message.as_deref().map(words));
                let leader = leader.filter(|_| version >= 10);
                if let Some((leader, epoch)) = leader {
                    let leader = LeaderIdAndEpoch::default()
                        .with_leader_id(BrokerId(leader))
                        .with_leader_epoch(epoch);
                    one = one.with_current_leader(leader);
                }
                partitions.push(one);
                batches.push(Produced {
                    topic: if version >= 13 { String::new() } else { name.clone() },
                    topic_id: if version >= 13 { id } else { Uuid::nil() },
                    partition: *number,
                    error: *error,
                    offset: *offset,
                    message: of_records.iter().flatten().next().or(message.as_ref()).cloned(),
                    leader,
                });
            }
            let topic = TopicProduceResponse::default()
                .with_name(TopicName(words(name)))
                .with_topic_id(id)
                .with_partition_responses(partitions);
            written.push(topic);
        }
        let nodes = if version >= 10 { nodes } else { Vec::new() };
        let endpoint = |(number, host, port): &(i32, String, u16)| {
            NodeEndpoint::default()
                .with_node_id(BrokerId(*number))
                .with_host(words(host))
                .with_port(i32::from(*port))
        };
        let body = ProduceResponse::default()
            .with_responses(written)
            .with_throttle_time_ms(throttle)
            .with_node_endpoints(nodes.iter().map(endpoint).collect());
        let read = response::produce(&encoded(&body, version), version);
        let expected = response::Produce {
            batches,
            throttle_ms: throttle,
            brokers: addresses(&nodes),
        };
        prop_assert_eq!(read, Ok(expected));
    }

    #[test]
    fn metadata_is_read_as_it_was_written(
        version in 11_i16..=13,
        brokers in brokers(),
        topics in vec(
            (any::<i16>(), text(), any::<[u8; 16]>(), vec(any::<Partition>(), 0..4)),
            0..4,
        ),
        error in any::<i16>(),
    ) {
        let broker = |(number, host, port): &(i32, String, u16)| {
            MetadataResponseBroker::default()
                .with_node_id(BrokerId(*number))
                .with_host(words(host))
                .with_port(i32::from(*port))
                .with_rack(Some(words("a rack")))
        };
        let error = if version >= 13 { error } else { 0 };
        let topic = |(error, name, id, partitions): &Topic| {
            let partition = |(number, leader, epoch, replicas): &Partition| {
                let replicas: Vec<_> = replicas.iter().map(|r| BrokerId(*r)).collect();
                MetadataResponsePartition::default()
                    .with_error_code(5)
                    .with_partition_index(*number)
                    .with_leader_id(BrokerId(*leader))
                    .with_leader_epoch(*epoch)
                    .with_replica_nodes(replicas.clone())
                    .with_isr_nodes(replicas[..1].to_vec())
                    .with_offline_replicas(replicas)
            };
            MetadataResponseTopic::default()
                .with_error_code(*error)
                .with_name(Some(TopicName(words(name))))
                .with_topic_id(Uuid::from_bytes(*id))
                .with_is_internal(true)
                .with_partitions(partitions.iter().map(partition).collect())
                .with_topic_authorized_operations(3)
        };
        let body = MetadataResponse::default()
            .with_throttle_time_ms(9)
            .with_brokers(brokers.iter().map(broker).collect())
            .with_cluster_id(Some(words("a cluster")))
            .with_controller_id(BrokerId(2))
            .with_topics(topics.iter().map(topic).collect())
            .with_error_code(error);
        let expected = response::Metadata {
            brokers: addresses(&brokers),
            topics: topics
                .iter()
                .map(|(error, name, id, partitions)| response::Topic {
                    error: *error,
                    name: name.clone(),
                    id: Uuid::from_bytes(*id),
                    partitions: partitions
                        .iter()
                        .map(|(number, leader, leader_epoch, _)| response::Partition {
                            number: *number,
                            leader: *leader,
                            leader_epoch: *leader_epoch,
                        })
                        .collect(),
                })
                .collect(),
            error,
        };
        prop_assert_eq!(response::metadata(&encoded(&body, version), version), Ok(expected));
    }

    #[test]
    fn what_a_broker_speaks_is_read_as_it_was_written(
        apis in vec((any::<i16>(), any::<i16>(), any::<i16>()), 0..6),
    ) {
        let api = |(key, min, max): &(i16, i16, i16)| {
            ApiVersion::default()
                .with_api_key(*key)
                .with_min_version(*min)
                .with_max_version(*max)
        };
        let body = ApiVersionsResponse::default()
            .with_api_keys(apis.iter().map(api).collect())
            .with_throttle_time_ms(5)
            .with_finalized_features_epoch(7);
        let read = response::api_versions(&encoded(&body, 3));
        let read = read.map(|told| told.map(|versions| versions.of));
        prop_assert_eq!(read, Ok(Ok(apis)));
        // One that does not speak version 3 answers in version 0.
        let refused = ApiVersionsResponse::default().with_error_code(35);
        let read = response::api_versions(&encoded(&refused, 0));
        prop_assert!(matches!(read, Ok(Err(35))));
    }

    #[test]
    fn an_id_and_what_sasl_says_are_read_as_they_were_written(
        version in 4_i16..=5,
        (id, epoch, error) in any::<(i64, i16, i16)>(),
        mechanisms in vec("[A-Z0-9-]{0,20}", 0..4),
        (message, bytes, lifetime) in (option::of(text()), vec(any::<u8>(), 0..200), any::<i64>()),
    ) {
        let body = InitProducerIdResponse::default()
            .with_error_code(error)
            .with_producer_id(ProducerId(id))
            .with_producer_epoch(epoch);
        let expected = if error == 0 { Ok((id, epoch)) } else { Err(error) };
        prop_assert_eq!(response::init_producer_id(&encoded(&body, version), version), Ok(expected));

        let body = SaslHandshakeResponse::default()
            .with_error_code(error)
            .with_mechanisms(mechanisms.iter().map(|m| words(m)).collect());
        prop_assert_eq!(response::sasl_handshake(&encoded(&body, 1)), Ok((error, mechanisms)));

        let body = SaslAuthenticateResponse::default()
            .with_error_code(error)
            .with_error_message(message.as_deref().map(words))
            .with_auth_bytes(bytes.clone().into())
            .with_session_lifetime_ms(lifetime);
        let expected = response::Authenticated { error, message, bytes, lifetime_ms: lifetime };
        prop_assert_eq!(response::sasl_authenticate(&encoded(&body, 2), 2), Ok(expected));
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..120), small in any::<bool>()) {
        // Small numbers get further: they are lengths that fit.
        let bytes: Vec<u8> = match small {
            true => bytes.iter().map(|b| b % 5).collect(),
            false => bytes,
        };
        for version in 9..=13 {
            let _ = response::produce(&bytes, version);
        }
        for version in 11..=13 {
            let _ = response::metadata(&bytes, version);
        }
        let _ = response::api_versions(&bytes);
        let _ = response::init_producer_id(&bytes, 4);
        let _ = response::sasl_handshake(&bytes);
        let _ = response::sasl_authenticate(&bytes, 2);
    }

    #[test]
    fn a_response_that_ends_early_is_refused(
        version in 9_i16..=13,
        topics in vec((text(), vec(batch(), 1..3)), 1..3),
        cut in any::<prop::sample::Index>(),
    ) {
        let topic = |(name, batches): &(String, Vec<Batch>)| {
            let partition = |((number, error, offset), ..): &Batch| {
                PartitionProduceResponse::default()
                    .with_index(*number)
                    .with_error_code(*error)
                    .with_base_offset(*offset)
            };
            TopicProduceResponse::default()
                .with_name(TopicName(words(name)))
                .with_topic_id(Uuid::from_u128(1))
                .with_partition_responses(batches.iter().map(partition).collect())
        };
        let body = ProduceResponse::default().with_responses(topics.iter().map(topic).collect());
        let bytes = encoded(&body, version);
        let left = cut.index(bytes.len());
        prop_assert_eq!(response::produce(&bytes[..left], version), Err(Malformed));
    }
}

#[test]
fn a_length_that_no_bytes_follow_makes_no_room() {
    // 2^32 - 2 elements, as a COMPACT_ARRAY says it.
    let mut many = Reader(&[0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0]);
    assert_eq!(many.list(|r| r.i8().map(drop)), Err(Malformed));
    // The fifth byte has bits that no 32-bit number has.
    assert_eq!(
        Reader(&[0xff, 0xff, 0xff, 0xff, 0x1f]).uvarint(),
        Err(Malformed)
    );
    assert_eq!(
        Reader(&[0xff, 0xff, 0xff, 0xff, 0x0f]).uvarint(),
        Ok(u32::MAX)
    );
}
