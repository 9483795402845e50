//! What a broker makes of requests: decoded and answered by the other half of `kafka-protocol`.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use kafka_protocol::{
    messages::{
        ApiKey, ApiVersionsResponse, BrokerId, InitProducerIdResponse, MetadataRequest,
        MetadataResponse, ProduceRequest, ProducerId, ResponseHeader, TopicName,
        api_versions_response::ApiVersion,
        metadata_response::{
            MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
        },
    },
    protocol::{
        Decodable as _, Encodable, HeaderVersion, StrBytes, decode_request_header_from_buffer,
    },
};
use producer_engine::ConnectionId;

use crate::{
    cluster::members,
    network::Slot,
    produce::{Answer, NOT_LEADER, respond},
    seen::Seen,
    world::{Happening, World},
};

/// A Produce request that waits until other replicas have its batches.
pub(crate) struct Waiting {
    pub(crate) number: u64,
    pub(crate) ask: Ask,
    pub(crate) answers: Vec<Answer>,
}

/// Where an answer belongs.
#[derive(Clone, Copy)]
pub(crate) struct Ask {
    pub(crate) connection: ConnectionId,
    pub(crate) slot: u64,
    pub(crate) version: i16,
    pub(crate) correlation: i32,
}

/// A response with its header and its length.
pub(crate) fn framed<R: Encodable + HeaderVersion>(ask: Ask, body: &R) -> Bytes {
    let mut out = BytesMut::new();
    out.put_u32(0);
    let header = ResponseHeader::default().with_correlation_id(ask.correlation);
    header
        .encode(&mut out, R::header_version(ask.version))
        .and_then(|()| body.encode(&mut out, ask.version))
        .expect("a response that can be encoded");
    let bytes = (out.len() - 4) as u32;
    out[..4].copy_from_slice(&bytes.to_be_bytes());
    out.freeze()
}

impl World {
    /// The broker takes the next request of a connection, if there is a whole one, and it may.
    pub(crate) fn next_request(&mut self, id: ConnectionId) {
        let takes = match self.random.permille(15) {
            true => self.random.within(0..=100_000),
            false => self.random.within(20..=200),
        };
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let length = connection.input.split_first_chunk();
        let is_whole =
            length.is_some_and(|(n, rest)| rest.len() >= u32::from_be_bytes(*n) as usize);
        let may = self.plan.is_pipelined || connection.slots.is_empty();
        if is_whole && may && !connection.is_handling {
            connection.is_handling = true;
            let silent = connection.silent_until.saturating_sub(self.now);
            self.later(takes.max(silent), Happening::Handle(id));
        }
    }

    pub(crate) fn handle(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        connection.is_handling = false;
        if !connection.is_served || connection.input.is_empty() {
            return;
        }
        let broker = connection.broker;
        let length = connection.input.get_u32() as usize;
        let mut frame = connection.input.split_to(length).freeze();
        let header = decode_request_header_from_buffer(&mut frame).expect("a request's header");
        self.waited += 1;
        let ask = Ask {
            connection: id,
            slot: self.waited,
            version: header.request_api_version,
            correlation: header.correlation_id,
        };
        let api = ApiKey::try_from(header.request_api_key).expect("a known API");
        connection.slots.push_back(Slot {
            number: ask.slot,
            is_produce: api == ApiKey::Produce,
            answer: None,
        });
        self.note(|| format!("{api:?} {} on {id:?}", ask.version));
        match api {
            ApiKey::ApiVersions => self.api_versions(broker, ask),
            ApiKey::Metadata => self.metadata(broker, ask, frame),
            ApiKey::InitProducerId => self.init_producer_id(ask),
            ApiKey::Produce => {
                let request =
                    ProduceRequest::decode(&mut frame, ask.version).expect("a Produce request");
                assert!(frame.is_empty(), "more bytes than a request has");
                assert_eq!(request.acks, -1);
                self.produce(broker, ask, request);
            }
            other => panic!("{other:?} is not asked for here"),
        }
        self.next_request(id);
    }

    /// An answer is there; it leaves when those before it have left.
    pub(crate) fn answer(&mut self, ask: Ask, mut bytes: Bytes, silent: u64) {
        if self.has_errors() && self.random.permille(3) {
            bytes = garbled(&bytes, self.random.below(3));
        }
        let Some(connection) = self.connections.get_mut(&ask.connection) else {
            return;
        };
        let slot = connection.slots.iter_mut().find(|s| s.number == ask.slot);
        if let Some(slot) = slot {
            slot.answer = Some((bytes, silent));
        }
        self.flush(ask.connection);
    }

    /// Whether brokers answer what nothing explains.
    pub(crate) fn has_errors(&self) -> bool {
        self.plan.error_permille > 0 && !self.is_calm
    }

    fn api_versions(&mut self, broker: usize, ask: Ask) {
        let of = |key: ApiKey, min: i16, max: i16| {
            ApiVersion::default()
                .with_api_key(key as i16)
                .with_min_version(min)
                .with_max_version(max)
        };
        let body = ApiVersionsResponse::default().with_api_keys(vec![
            of(ApiKey::Produce, 3, self.plan.produce_max[broker]),
            of(ApiKey::Metadata, 0, self.plan.metadata_max),
            of(ApiKey::ApiVersions, 0, 4),
            of(ApiKey::InitProducerId, 0, 4 + (broker % 2) as i16),
        ]);
        let bytes = framed(ask, &body);
        self.answer(ask, bytes, 0);
    }

    fn init_producer_id(&mut self, ask: Ask) {
        let mut body = InitProducerIdResponse::default();
        if self.has_errors() && self.random.permille(300) {
            body = body.with_error_code(self.random.pick(&[14, 15, 16, -1, 41]));
        } else {
            self.producers += 1;
            if self.producers > 1 {
                self.saw(Seen::SecondProducerId);
            }
            body = body
                .with_producer_id(ProducerId(self.producers))
                .with_producer_epoch(self.plan.first_epoch);
        }
        self.note(|| format!("producer: {:?} {}", body.producer_id, body.producer_epoch));
        let bytes = framed(ask, &body);
        self.answer(ask, bytes, 0);
    }

    fn metadata(&mut self, broker: usize, ask: Ask, mut frame: Bytes) {
        let request = MetadataRequest::decode(&mut frame, ask.version).expect("a request");
        assert!(!request.allow_auto_topic_creation);
        self.asked += 1;
        let id = |broker: usize| BrokerId(broker as i32);
        let mut brokers = Vec::new();
        for other in 0..self.brokers.len() {
            let is_known = self.brokers[other].is_up && !self.brokers[other].is_isolated;
            if is_known || other == broker || self.random.permille(500) {
                let one = MetadataResponseBroker::default()
                    .with_node_id(id(other))
                    .with_host(StrBytes::from_string(format!("b{other}")))
                    .with_port(i32::from(self.brokers[other].port));
                brokers.push(one);
            }
        }
        let mut topics = Vec::new();
        for asked in request.topics.unwrap_or_default() {
            let name = asked.name.expect("a topic's name");
            let topic = self.topic_of(&name).expect("a topic of the history");
            let mut one = MetadataResponseTopic::default().with_name(Some(name));
            match &self.brokers[broker].known[topic] {
                Some(known) => {
                    let partitions = known.roles.iter().enumerate().map(|(number, role)| {
                        let replicas = self.partition((known.life, number)).replicas;
                        MetadataResponsePartition::default()
                            .with_partition_index(number as i32)
                            .with_leader_id(role.leader.map_or(BrokerId(-1), id))
                            .with_leader_epoch(role.epoch)
                            .with_replica_nodes(members(replicas).map(id).collect())
                            .with_isr_nodes(members(role.in_sync).map(id).collect())
                    });
                    let mut partitions: Vec<_> = partitions.collect();
                    partitions.reverse(); // they have no order
                    one = one
                        .with_topic_id(self.lives[known.life].id)
                        .with_partitions(partitions);
                }
                None => one = one.with_error_code(3),
            }
            if self.has_errors() && self.random.permille(30) {
                one = MetadataResponseTopic::default()
                    .with_name(one.name)
                    .with_error_code(self.random.pick(&[3, 5, 29, -1]));
            }
            topics.push(one);
        }
        let mut body = MetadataResponse::default()
            .with_brokers(brokers)
            .with_topics(topics);
        if ask.version >= 13 && self.has_errors() && self.random.permille(30) {
            body = MetadataResponse::default().with_error_code(129);
        }
        let bytes = framed(ask, &body);
        self.answer(ask, bytes, 0);
    }

    pub(crate) fn topic_of(&self, name: &TopicName) -> Option<usize> {
        let names = &self.plan.settings.topics;
        names.iter().position(|n| **n == *name.as_str())
    }

    /// What waits at a broker is looked at again: some of it may be answered.
    pub(crate) fn complete(&mut self, broker: usize) {
        let mut at = 0;
        while at < self.waiting[broker].len() {
            let mut answers = std::mem::take(&mut self.waiting[broker][at].answers);
            for answer in &mut answers {
                if let Some((place, end)) = answer.waits
                    && let Some(error) = self.reached(broker, place, end)
                {
                    answer.waits = None;
                    answer.error = error;
                    match error {
                        NOT_LEADER => self.saw(Seen::NotLeaderAfterAppend),
                        20 => self.saw(Seen::NotEnoughReplicasAfterAppend),
                        _ => {}
                    }
                }
            }
            let is_done = answers.iter().all(|a| a.waits.is_none());
            self.waiting[broker][at].answers = answers;
            match is_done {
                true => {
                    let waiting = self.waiting[broker].remove(at);
                    respond(self, broker, waiting);
                    at = 0; // other things may have changed
                }
                false => at += 1,
            }
        }
    }

    /// It has waited long enough.
    pub(crate) fn expire(&mut self, broker: usize, number: u64) {
        let waiting = &mut self.waiting[broker];
        let Some(at) = waiting.iter().position(|w| w.number == number) else {
            return;
        };
        let mut waiting = waiting.remove(at);
        for answer in &mut waiting.answers {
            if answer.waits.take().is_some() {
                answer.error = 7;
            }
        }
        self.saw(Seen::TimedOut);
        respond(self, broker, waiting);
    }
}

/// Something that no broker sends.
fn garbled(bytes: &[u8], how: usize) -> Bytes {
    let mut bytes = BytesMut::from(bytes);
    match how {
        0 => bytes[0] = 0x7f, // too long
        1 => bytes[7] ^= 1,   // another request's
        _ => {
            let left = bytes.len().saturating_sub(3).max(8);
            bytes.truncate(left);
            let length = (left - 4) as u32;
            bytes[..4].copy_from_slice(&length.to_be_bytes());
        }
    }
    bytes.freeze()
}
