//! Requests, each framed and with its header.

use bytes::{BufMut as _, Bytes, BytesMut};
use kafka_protocol::{
    messages::{
        ApiVersionsRequest, InitProducerIdRequest, MetadataRequest, ProduceRequest, ProducerId,
        RequestHeader, SaslAuthenticateRequest, SaslHandshakeRequest, TopicName,
        metadata_request::MetadataRequestTopic,
        produce_request::{PartitionProduceData, TopicProduceData},
    },
    protocol::{Encodable, StrBytes, encode_request_header_into_buffer},
};
use uuid::Uuid;

use super::{
    API_VERSIONS, Api, INIT_PRODUCER_ID, METADATA, PRODUCE, PRODUCE_BY_ID, SASL_AUTHENTICATE,
    SASL_HANDSHAKE,
};

/// Every replica in sync has it before it is answered.
const ACKS_ALL: i16 = -1;

/// What the header of a request says.
#[derive(Debug, Clone)]
pub struct Head<'a> {
    /// Its number among those of the connection: the answer has it too.
    pub correlation: i32,
    /// The version that is spoken.
    pub version: i16,
    /// `client.id`
    pub client_id: &'a StrBytes,
}

/// Appends a request. It encodes whatever it is given: `false` is a bug, and then nothing is appended.
fn write(api: Api, head: &Head<'_>, body: &impl Encodable, out: &mut BytesMut) -> bool {
    let start = out.len();
    out.put_u32(0);
    let header = RequestHeader::default()
        .with_request_api_key(api.key as i16)
        .with_request_api_version(head.version)
        .with_correlation_id(head.correlation)
        .with_client_id(Some(head.client_id.clone()));
    let written = encode_request_header_into_buffer(out, &header)
        .and_then(|()| body.encode(out, head.version));
    if written.is_err() {
        out.truncate(start);
        return false;
    }
    let bytes = (out.len() - start - 4) as u32;
    out[start..start + 4].copy_from_slice(&bytes.to_be_bytes());
    true
}

/// Asks which versions the broker speaks.
pub fn api_versions(head: &Head<'_>, out: &mut BytesMut) -> bool {
    let body = ApiVersionsRequest::default()
        .with_client_software_name(StrBytes::from_static_str("aguacero"))
        .with_client_software_version(StrBytes::from_static_str(env!("CARGO_PKG_VERSION")));
    write(API_VERSIONS, head, &body, out)
}

/// Asks who leads the partitions of `topics`, which are not made if they are not there.
pub fn metadata(head: &Head<'_>, topics: &[StrBytes], out: &mut BytesMut) -> bool {
    let topic =
        |name: &StrBytes| MetadataRequestTopic::default().with_name(Some(TopicName(name.clone())));
    let body = MetadataRequest::default()
        .with_topics(Some(topics.iter().map(topic).collect()))
        .with_allow_auto_topic_creation(false);
    write(METADATA, head, &body, out)
}

/// Asks for an id.
pub fn init_producer_id(head: &Head<'_>, out: &mut BytesMut) -> bool {
    let body = InitProducerIdRequest::default()
        .with_transactional_id(None)
        .with_transaction_timeout_ms(i32::MAX)
        .with_producer_id(ProducerId(-1))
        .with_producer_epoch(-1);
    write(INIT_PRODUCER_ID, head, &body, out)
}

/// Says which mechanism is meant.
pub fn sasl_handshake(head: &Head<'_>, mechanism: &'static str, out: &mut BytesMut) -> bool {
    let body = SaslHandshakeRequest::default().with_mechanism(StrBytes::from_static_str(mechanism));
    write(SASL_HANDSHAKE, head, &body, out)
}

/// A message of the mechanism.
pub fn sasl_authenticate(head: &Head<'_>, message: Vec<u8>, out: &mut BytesMut) -> bool {
    let body = SaslAuthenticateRequest::default().with_auth_bytes(message.into());
    write(SASL_AUTHENTICATE, head, &body, out)
}

/// A batch for a Produce request.
#[derive(Debug, Clone)]
pub struct ToProduce {
    /// The topic's name.
    pub topic: StrBytes,
    /// The topic's id.
    pub topic_id: Uuid,
    /// The partition's number.
    pub partition: i32,
    /// The encoded batch.
    pub batch: Bytes,
}

/// Batches into their partitions, each of another one; those of a topic follow each other.
pub fn produce(
    head: &Head<'_>,
    batches: &[ToProduce],
    timeout_ms: i32,
    out: &mut BytesMut,
) -> bool {
    let topics = batches.chunk_by(|a, b| a.topic == b.topic).map(|of_topic| {
        let partition = |b: &ToProduce| {
            PartitionProduceData::default()
                .with_index(b.partition)
                .with_records(Some(b.batch.clone()))
        };
        let topic = TopicProduceData::default()
            .with_partition_data(of_topic.iter().map(partition).collect());
        match of_topic.first() {
            Some(first) if head.version >= PRODUCE_BY_ID => topic.with_topic_id(first.topic_id),
            Some(first) => topic.with_name(TopicName(first.topic.clone())),
            None => topic,
        }
    });
    let body = ProduceRequest::default()
        .with_transactional_id(None)
        .with_acks(ACKS_ALL)
        .with_timeout_ms(timeout_ms)
        .with_topic_data(topics.collect());
    write(PRODUCE, head, &body, out)
}
