//! Requests, each framed and with its header.

use std::io;

use bytes::{BufMut as _, BytesMut};
use kafka_protocol::{
    messages::{
        ApiVersionsRequest, InitProducerIdRequest, MetadataRequest, ProducerId, RequestHeader,
        SaslAuthenticateRequest, SaslHandshakeRequest, TopicName,
        metadata_request::MetadataRequestTopic,
    },
    protocol::{Encodable, StrBytes, encode_request_header_into_buffer},
};
use uuid::Uuid;

use super::{
    API_VERSIONS, Api, INIT_PRODUCER_ID, METADATA, PRODUCE, PRODUCE_BY_ID, SASL_AUTHENTICATE,
    SASL_HANDSHAKE,
};
use crate::batch::put_unsigned_varint;

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

/// Appends a request. It encodes whatever it is given: `false` is a bug, and what is appended then is no request.
fn write(api: Api, head: &Head<'_>, body: &impl Encodable, out: &mut BytesMut) -> bool {
    let Some(start) = begin(api, head, out) else {
        return false;
    };
    let is_written = body.encode(out, head.version).is_ok();
    end(start, out);
    is_written
}

/// Appends the head of a request, and where that begins.
fn begin(api: Api, head: &Head<'_>, out: &mut BytesMut) -> Option<usize> {
    let start = out.len();
    out.put_u32(0);
    let header = RequestHeader::default()
        .with_request_api_key(api.key as i16)
        .with_request_api_version(head.version)
        .with_correlation_id(head.correlation)
        .with_client_id(Some(head.client_id.clone()));
    encode_request_header_into_buffer(out, &header).ok()?;
    Some(start)
}

/// Writes the length of a request before it.
fn end(start: usize, out: &mut BytesMut) {
    let bytes = (out.len() - start - 4) as u32;
    out[start..start + 4].copy_from_slice(&bytes.to_be_bytes());
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

/// Lengths and counts that are known only when what they are of is written get so much room. Such a varint is longer than
/// it has to be, which every reader of varints takes.
const PADDED_BYTES: usize = 4;

/// A Produce request (version 9 or later) whose batches are encoded into their places, so that no byte of them is moved:
///
/// | | |
/// |---|---|
/// | head | by `kafka-protocol` |
/// | null | transactional id |
/// | 2 + 4 | acks, milliseconds that the broker may wait for its replicas |
/// | varint | topics + 1, and for each: |
/// | text or 16 | its name, or from version 13 on its id |
/// | varint | partitions + 1, and for each: |
/// | 4 | its number |
/// | varint | bytes of the batch + 1, and the batch |
///
/// with an empty set of tagged fields at the end of each partition, each topic and the whole.
pub struct Produce<'a> {
    out: &'a mut BytesMut,
    start: usize,
    by_id: bool,
    topics: Count,
    /// The topic that is open, and its partitions.
    topic: Option<(StrBytes, Count)>,
}

/// How many there are of what follows, and where that is to be written.
#[derive(Clone, Copy)]
struct Count {
    at: usize,
    count: usize,
}

impl<'a> Produce<'a> {
    /// Begins one behind what is in `out`; none if its head cannot be encoded, which would be a bug.
    pub fn begin(head: &Head<'_>, timeout_ms: i32, out: &'a mut BytesMut) -> Option<Self> {
        let start = begin(PRODUCE, head, out)?;
        out.put_u8(0);
        out.put_i16(ACKS_ALL);
        out.put_i32(timeout_ms);
        let topics = Count::begin(out);
        Some(Self {
            out,
            start,
            by_id: head.version >= PRODUCE_BY_ID,
            topics,
            topic: None,
        })
    }

    /// Adds the batch that `write` encodes, of at most about `bytes`; nothing if that fails. Those of one topic follow
    /// each other, each of another partition.
    pub fn batch(
        &mut self,
        (topic, id): (&StrBytes, Uuid),
        partition: i32,
        bytes: usize,
        write: impl FnOnce(&mut BytesMut) -> io::Result<()>,
    ) -> io::Result<()> {
        if self.topic.as_ref().is_none_or(|(open, _)| open != topic) {
            self.end_topic();
            self.begin_topic(topic, id);
        }
        let out = &mut *self.out;
        let before = out.len();
        out.reserve(bytes);
        out.put_i32(partition);
        let mut records = Count::begin(out);
        let written = write(out);
        if written.is_err() {
            out.truncate(before);
            return written;
        }
        records.count = out.len() - records.at - PADDED_BYTES;
        records.end(out);
        if let Some((_, partitions)) = &mut self.topic {
            partitions.count += 1;
        }
        Ok(())
    }

    /// Ends it.
    pub fn end(mut self) {
        self.end_topic();
        self.topics.end(self.out);
        end(self.start, self.out);
    }

    fn begin_topic(&mut self, topic: &StrBytes, id: Uuid) {
        if self.by_id {
            self.out.put_slice(id.as_bytes());
        } else {
            put_unsigned_varint(self.out, topic.len() as u64 + 1);
            self.out.put_slice(topic.as_bytes());
        }
        self.topic = Some((topic.clone(), Count::begin(self.out)));
        self.topics.count += 1;
    }

    fn end_topic(&mut self) {
        if let Some((_, partitions)) = self.topic.take() {
            partitions.end(self.out);
        }
    }
}

impl Count {
    fn begin(out: &mut BytesMut) -> Self {
        let at = out.len();
        out.put_bytes(0, PADDED_BYTES);
        Self { at, count: 0 }
    }

    /// Writes it to its place, and the tagged fields behind what it counts: none.
    fn end(self, out: &mut BytesMut) {
        let mut rest = self.count as u32 + 1;
        let mut place = [0; PADDED_BYTES];
        for byte in &mut place {
            *byte = rest as u8 | 0x80;
            rest >>= 7;
        }
        place[PADDED_BYTES - 1] &= 0x7f;
        out[self.at..self.at + PADDED_BYTES].copy_from_slice(&place);
        out.put_u8(0);
    }
}
