//! Batches into logs: what `ReplicaManager`, `Partition` and `DelayedProduce` of Kafka do with acks=all.

use bytes::Bytes;
use kafka_protocol::{
    messages::{
        BrokerId, ProduceRequest, ProduceResponse, TopicName,
        produce_response::{
            BatchIndexAndErrorMessage, LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse,
            TopicProduceResponse,
        },
    },
    protocol::StrBytes,
    records::{Record, RecordBatchDecoder},
};
use producer_engine::{
    ConnectionId,
    error::{Appended, TABLE},
};
use uuid::Uuid;

use crate::{
    broker::{Ask, Waiting, framed},
    cluster::Place,
    events::{self, Mark},
    log::{Check, Entry, INVALID_PRODUCER_EPOCH},
    seen::Seen,
    world::{Happening, World},
};

const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
pub(crate) const NOT_LEADER: i16 = 6;
const TOO_LARGE: i16 = 10;
const NOT_ENOUGH_REPLICAS: i16 = 19;
const NOT_ENOUGH_REPLICAS_AFTER_APPEND: i16 = 20;
const INVALID_RECORD: i16 = 87;
const UNKNOWN_TOPIC_ID: i16 = 100;

/// What is said of a batch.
pub(crate) struct Answer {
    name: TopicName,
    id: Uuid,
    partition: i32,
    pub(crate) error: i16,
    offset: i64,
    /// The partition whose high watermark has to reach an offset first.
    pub(crate) waits: Option<(Place, i64)>,
    hint: Option<(usize, i32)>,
}

impl World {
    pub(crate) fn produce(&mut self, broker: usize, ask: Ask, request: ProduceRequest) {
        let mut answers = Vec::new();
        let mut places = Vec::new();
        for topic in request.topic_data {
            let (name, id) = (topic.name, topic.topic_id);
            assert!(ask.version < 13 || !id.is_nil(), "a topic without id");
            for partition in topic.partition_data {
                let number = partition.index;
                let place = (name.clone(), id, number);
                assert!(!places.contains(&place), "a partition twice in a request");
                places.push(place);
                let records = partition.records.expect("a batch");
                let mut answer = Answer {
                    name: name.clone(),
                    id,
                    partition: number,
                    error: 0,
                    offset: -1,
                    waits: None,
                    hint: None,
                };
                self.take(broker, ask, records, &mut answer);
                let (error, offset) = (answer.error, answer.offset);
                self.note(|| {
                    let waits = answer.waits.is_some();
                    format!(
                        "broker {broker}: {error} at {offset}{}",
                        if waits { ", waits" } else { "" }
                    )
                });
                answers.push(answer);
            }
        }
        self.waited += 1;
        let waiting = Waiting {
            number: self.waited,
            ask,
            answers,
        };
        if waiting.answers.iter().all(|a| a.waits.is_none()) {
            return respond(self, broker, waiting);
        }
        let timeout = request.timeout_ms.max(0) as u64 * 1_000;
        self.later(timeout, Happening::Expire(broker, waiting.number));
        self.waiting[broker].push(waiting);
        self.complete(broker);
    }

    /// The partition that is meant, if the broker has heard of it.
    fn meant(&self, broker: usize, version: i16, answer: &Answer) -> Result<Place, i16> {
        let number = usize::try_from(answer.partition).expect("a partition's number");
        let known = match version >= 13 {
            true => {
                let mut known = self.brokers[broker].known.iter().flatten();
                known
                    .find(|k| self.lives[k.life].id == answer.id)
                    .ok_or(UNKNOWN_TOPIC_ID)?
            }
            false => {
                let topic = self.topic_of(&answer.name).expect("a topic of the history");
                let known = self.brokers[broker].known[topic].as_ref();
                known.ok_or(UNKNOWN_TOPIC_OR_PARTITION)?
            }
        };
        match number < known.roles.len() {
            true => Ok((known.life, number)),
            false => Err(UNKNOWN_TOPIC_OR_PARTITION),
        }
    }

    fn take(&mut self, broker: usize, ask: Ask, mut batch: Bytes, answer: &mut Answer) {
        let bytes = batch.len();
        let set = RecordBatchDecoder::decode(&mut batch).expect("a batch with its checksum");
        assert!(batch.is_empty(), "one batch for each partition");
        let (entry, is_invalid) = self.read(ask, &set.records, answer);
        self.checks.sent(&entry, answer.partition);
        self.note(|| {
            format!(
                "broker {broker}: slab {} from {} on, {} records of {}-{}, producer {} {} number {}",
                entry.slab,
                entry.first,
                entry.records,
                *answer.name,
                answer.partition,
                entry.producer,
                entry.epoch,
                entry.sequence
            )
        });
        let place = match self.meant(broker, ask.version, answer) {
            Ok(place) => place,
            Err(error) => {
                if error == UNKNOWN_TOPIC_ID {
                    self.saw(Seen::UnknownTopicId);
                }
                return answer.error = error;
            }
        };
        let topic = self.lives[place.0].topic;
        assert_eq!(topic, self.checks.topic(entry.slab), "another topic");
        if self.has_errors() && self.random.permille(self.plan.error_permille) {
            return self.fail(broker, place, ask.connection, entry, answer);
        }
        let role = self.role(broker, place).cloned().unwrap_or_default();
        if role.leader != Some(broker) || !self.partition(place).logs.contains_key(&broker) {
            answer.error = NOT_LEADER;
            answer.hint = role.leader.map(|leader| (leader, role.epoch));
        } else if (role.in_sync.count_ones() as usize) < self.in_sync_min(place) {
            self.saw(Seen::NotEnoughReplicas);
            answer.error = NOT_ENOUGH_REPLICAS;
        } else if bytes > self.plan.batch_bytes_max.0 {
            self.saw(Seen::MessageTooLarge);
            answer.error = TOO_LARGE;
        } else if is_invalid {
            self.saw(Seen::InvalidRecord);
            answer.error = INVALID_RECORD;
        } else {
            self.append(broker, place, ask.connection, entry, answer);
        }
    }

    fn in_sync_min(&self, place: Place) -> usize {
        let (_, replicas, in_sync) = self.plan.topics[self.lives[place.0].topic];
        // One that was made again may have fewer.
        let has = self.partition(place).replicas.count_ones() as usize;
        in_sync.min(replicas).min(has)
    }

    /// The batch that these records are; they have to be those of their slab, one after the other.
    fn read(&self, ask: Ask, records: &[Record], answer: &Answer) -> (Entry, bool) {
        let first = records.first().expect("a record");
        let mark = events::mark(first).expect("a record of the history");
        let mut is_invalid = false;
        for (at, record) in records.iter().enumerate() {
            let here = events::mark(record).expect("a record of the history");
            is_invalid |= here.is_invalid;
            let next = Mark {
                index: mark.index + at,
                is_invalid: here.is_invalid,
                ..mark
            };
            assert_eq!(here, next, "records of a slab, one after the other");
            self.checks.is_of(here, record, answer.partition);
            assert_eq!(record.offset, at as i64);
        }
        if ask.version < 13 {
            let topic = self.topic_of(&answer.name);
            assert_eq!(topic, Some(self.checks.topic(mark.slab)), "another topic");
        }
        let entry = Entry {
            append: 0,
            offset: 0,
            records: records.len(),
            producer: first.producer_id,
            epoch: first.producer_epoch,
            sequence: first.sequence,
            slab: mark.slab,
            first: mark.index,
            at: self.now,
        };
        (entry, is_invalid)
    }

    fn append(
        &mut self,
        broker: usize,
        place: Place,
        connection: ConnectionId,
        mut entry: Entry,
        answer: &mut Answer,
    ) {
        let (expires, wants_zero) = (self.plan.producer_expires, self.plan.wants_zero);
        self.appended += 1;
        entry.append = self.appended;
        let Some(log) = self.lives[place.0].partitions[place.1]
            .logs
            .get_mut(&broker)
        else {
            return;
        };
        let (check, is_forgotten) = log.check(&entry, expires, wants_zero);
        if is_forgotten {
            self.tally.count(Seen::ProducerForgotten);
        }
        let end = match check {
            Check::Refused(error) => {
                answer.error = error;
                self.saw(match error {
                    INVALID_PRODUCER_EPOCH => Seen::InvalidProducerEpoch,
                    _ => Seen::OutOfOrder,
                });
                return;
            }
            Check::Has(offset) => {
                answer.offset = offset;
                self.saw(Seen::HasAlready);
                offset + entry.records as i64
            }
            Check::Next => {
                entry.offset = log.end();
                answer.offset = entry.offset;
                log.append(entry);
                self.saw(Seen::Appended);
                if self
                    .connections
                    .get(&connection)
                    .is_some_and(|c| !c.is_open)
                {
                    self.saw(Seen::AppendedLate);
                }
                self.checks.appended(&entry, place);
                self.wake_followers(broker, place);
                entry.end()
            }
        };
        answer.waits = Some((place, end));
        self.commit(broker, place);
    }

    /// An error that nothing explains, and the batch is in the log or not, as it leaves open.
    fn fail(
        &mut self,
        broker: usize,
        place: Place,
        connection: ConnectionId,
        entry: Entry,
        answer: &mut Answer,
    ) {
        let (code, _, appended, _) = self.random.pick(TABLE);
        let may_be = appended == Appended::Perhaps;
        let leads = self.leads(broker, place);
        if leads && may_be && self.random.permille(500) {
            self.append(broker, place, connection, entry, answer);
        }
        if answer.waits.is_some() && self.random.permille(150) {
            answer.error = 0; // it is stored, but not said where
            answer.offset = -1;
            return;
        }
        answer.waits = None;
        answer.error = code;
    }

    /// What is said of a batch now that has to be below the high watermark, if anything.
    pub(crate) fn reached(&self, broker: usize, place: Place, end: i64) -> Option<i16> {
        let Some(role) = self.role(broker, place) else {
            return Some(UNKNOWN_TOPIC_OR_PARTITION);
        };
        let log = self.partition(place).logs.get(&broker);
        let Some(log) = log.filter(|_| role.leader == Some(broker)) else {
            return Some(NOT_LEADER);
        };
        if log.high_watermark < end {
            return None;
        }
        let in_sync = role.in_sync.count_ones() as usize;
        Some(match in_sync >= self.in_sync_min(place) {
            true => 0,
            false => NOT_ENOUGH_REPLICAS_AFTER_APPEND,
        })
    }
}

/// The answer to a request of which everything is decided.
pub(crate) fn respond(world: &mut World, broker: usize, waiting: Waiting) {
    let (ask, mut answers) = (waiting.ask, waiting.answers);
    if world.has_errors() && world.random.permille(5) {
        answers.pop(); // nothing is said of it
    }
    if world.random.permille(100) {
        answers.reverse();
    }
    let (mut topics, mut nodes) = (Vec::<TopicProduceResponse>::new(), Vec::new());
    for answer in answers {
        let mut one = PartitionProduceResponse::default()
            .with_index(answer.partition)
            .with_error_code(answer.error)
            .with_base_offset(answer.offset)
            .with_log_append_time_ms(-1)
            .with_log_start_offset(0);
        if answer.error == INVALID_RECORD {
            let message = StrBytes::from_static_str("it is not liked");
            let of_record =
                BatchIndexAndErrorMessage::default().with_batch_index_error_message(Some(message));
            one = one.with_record_errors(vec![of_record]);
        }
        if let Some((leader, epoch)) = answer.hint.filter(|_| ask.version >= 10)
            && world.random.permille(world.plan.hint_permille)
        {
            let hint = LeaderIdAndEpoch::default()
                .with_leader_id(BrokerId(leader as i32))
                .with_leader_epoch(epoch);
            one = one.with_current_leader(hint);
            let node = NodeEndpoint::default()
                .with_node_id(BrokerId(leader as i32))
                .with_host(StrBytes::from_string(format!("b{leader}")))
                .with_port(i32::from(world.brokers[leader].port));
            nodes.push(node);
        }
        let last = topics.last_mut();
        match last.filter(|t| t.name == answer.name && t.topic_id == answer.id) {
            Some(topic) => topic.partition_responses.push(one),
            None => {
                let topic = TopicProduceResponse::default()
                    .with_name(answer.name)
                    .with_topic_id(answer.id)
                    .with_partition_responses(vec![one]);
                topics.push(topic);
            }
        }
    }
    let mut body = ProduceResponse::default()
        .with_responses(topics)
        .with_node_endpoints(nodes);
    let mut silent = 0;
    if !world.is_calm && world.random.permille(world.plan.throttle_permille) {
        silent = world.random.within(1..=150);
        body = body.with_throttle_time_ms(silent as i32);
    }
    let bytes = framed(ask, &body);
    world.note(|| format!("broker {broker} answers {:?}", ask.connection));
    world.answer(ask, bytes, silent * 1_000);
}
