//! Slabs whose records can be told apart, wherever they are found.

use std::rc::Rc;

use kafka_protocol::records;
use producer_engine::{Record, Slab};

use crate::random::Random;

/// Bytes at the beginning of each value: number of the slab, of the record, and whether brokers refuse it.
const MARK_BYTES: usize = 9;

pub(crate) struct Event {
    pub(crate) timestamp: i64,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Vec<u8>,
    pub(crate) headers: Vec<(&'static str, Vec<u8>)>,
}

/// Number of a slab among all of a history: one that is sent again is another one.
pub(crate) type Number = usize;

pub(crate) struct Events {
    pub(crate) number: Number,
    /// The topic's place, its name, and the partition's number.
    pub(crate) topic: usize,
    pub(crate) name: Rc<str>,
    pub(crate) partition: i32,
    pub(crate) events: Vec<Event>,
}

/// What is on the wire, or in a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) slab: Number,
    pub(crate) index: usize,
    /// Brokers answer INVALID_RECORD.
    pub(crate) is_invalid: bool,
}

impl Mark {
    fn of(value: &[u8]) -> Self {
        let number = |at: usize| u32::from_be_bytes(value[at..at + 4].try_into().expect("4 bytes"));
        Self {
            slab: number(0) as usize,
            index: number(4) as usize,
            is_invalid: value[8] != 0,
        }
    }
}

impl Events {
    pub(crate) fn random(
        number: Number,
        (topic, name): (usize, Rc<str>),
        partition: i32,
        (records, bytes_max, invalid_permille): (usize, usize, u64),
        random: &mut Random,
    ) -> Self {
        let mut event = |index: usize| {
            let is_invalid = random.permille(invalid_permille);
            let mut value = Vec::with_capacity(MARK_BYTES + bytes_max);
            value.extend_from_slice(&(number as u32).to_be_bytes());
            value.extend_from_slice(&(index as u32).to_be_bytes());
            value.push(u8::from(is_invalid));
            let bytes = random.below(bytes_max);
            value.resize(MARK_BYTES + bytes, random.number() as u8);
            Event {
                timestamp: 1_700_000_000_000 + random.within(0..=200) as i64 - 100,
                key: random
                    .permille(500)
                    .then(|| vec![index as u8; random.below(4)]),
                value,
                headers: match random.below(4) {
                    0 => vec![("id", vec![index as u8]), ("é", Vec::new())],
                    _ => Vec::new(),
                },
            }
        };
        let events = (0..records).map(&mut event).collect();
        Self {
            number,
            topic,
            name,
            partition,
            events,
        }
    }

    /// The same events once more, in a slab of another number.
    pub(crate) fn again(&self, number: Number) -> Self {
        let again = |event: &Event| {
            let mut value = (number as u32).to_be_bytes().to_vec();
            value.extend_from_slice(&event.value[4..]);
            Event {
                timestamp: event.timestamp,
                key: event.key.clone(),
                value,
                headers: event.headers.clone(),
            }
        };
        Self {
            number,
            topic: self.topic,
            name: Rc::clone(&self.name),
            partition: self.partition,
            events: self.events.iter().map(again).collect(),
        }
    }

    /// Whether a record of a batch is the one that its mark says, byte by byte.
    pub(crate) fn is(&self, mark: Mark, record: &records::Record) -> bool {
        let Some(event) = self.events.get(mark.index) else {
            return false;
        };
        let mut headers = record.headers.iter();
        event.timestamp == record.timestamp
            && event.key.as_deref() == record.key.as_deref()
            && Some(&event.value[..]) == record.value.as_deref()
            && event.headers.len() == record.headers.len()
            && event.headers.iter().all(|(name, value)| {
                headers
                    .next()
                    .is_some_and(|(n, v)| **n == **name && v.as_deref() == Some(&value[..]))
            })
    }
}

/// What a record says of itself.
pub(crate) fn mark(record: &records::Record) -> Option<Mark> {
    let value = record.value.as_ref().filter(|v| v.len() >= MARK_BYTES)?;
    Some(Mark::of(value))
}

/// A slab, of which the one who checks keeps a copy.
#[derive(Clone)]
pub(crate) struct Shared(pub(crate) Rc<Events>);

impl Slab for Shared {
    fn topic(&self) -> &str {
        &self.0.name
    }

    fn partition(&self) -> i32 {
        self.0.partition
    }

    fn records(&self) -> usize {
        self.0.events.len()
    }

    fn bytes(&self) -> usize {
        self.encoded_bytes_max()
    }

    fn encoded_bytes_max(&self) -> usize {
        let of = |e: &Event| {
            let headers = e.headers.iter().map(|(n, v)| n.len() + v.len() + 10);
            32 + e.key.as_ref().map_or(0, Vec::len) + e.value.len() + headers.sum::<usize>()
        };
        self.0.events.iter().map(of).sum()
    }

    fn each(&self, mut visit: impl FnMut(Record<'_>)) {
        let mut headers: Vec<(&str, &[u8])> = Vec::new();
        for event in &self.0.events {
            headers.clear();
            headers.extend(event.headers.iter().map(|(n, v)| (*n, &v[..])));
            visit(Record {
                timestamp: event.timestamp,
                key: event.key.as_deref(),
                value: &event.value,
                headers: &headers,
            });
        }
    }
}
