//! An event that is to join a slab, and why one may not.

use aguacero::{config::Stream, id::EventId};
use bytes::Bytes;
use smallvec::SmallVec;

/// What an event costs beside its value and key: its end, its run, its share of the waiting.
const EVENT_OVERHEAD: usize = 64;

/// An event to append.
pub(crate) struct Append<'a> {
    pub(crate) stream: &'a Stream,
    pub(crate) value: &'a [u8],
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) reserved: Option<i32>,
    pub(crate) id: EventId,
    pub(crate) client_key: &'a [u8],
    pub(crate) counter_keys: SmallVec<[Option<&'a str>; 2]>,
    pub(crate) arrived_ms: i64,
    pub(crate) traceparent: Option<&'a Bytes>,
}

impl Append<'_> {
    /// Bytes that count against the bounds.
    pub(crate) fn bytes(&self) -> usize {
        self.value.len() + self.key.map_or(0, <[u8]>::len) + EVENT_OVERHEAD
    }
}

/// Why an event was not appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// As many bytes are on their way as may be.
    Full,
    /// Kafka, or the way to it, does not answer.
    Away,
    /// More bytes than the topic takes in one record.
    TooLarge(Option<usize>),
}

impl Refused {
    pub(crate) fn detail(self) -> &'static str {
        match self {
            Self::Full => "too many bytes are on their way to Kafka already",
            Self::Away => "Kafka does not answer at the moment",
            Self::TooLarge(_) => "larger than the topic takes",
        }
    }
}
