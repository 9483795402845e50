//! How the events of a request join the slabs, and why one may not.
//!
//! What a request finds room for when it begins, it finds room for to its end: bounds are looked at once for it, and
//! once for each partition that it enters. So whatever fits a body is stored by an idle gateway as a whole, and no
//! more than one body is beyond a bound.

use std::time::Instant;

use aguacero::{
    config::{Partitioning, Stream},
    id::EventId,
    kafka::partition_of,
};
use bytes::Bytes;
use smallvec::SmallVec;

use crate::batch::{
    lane::{Lane, LinkState},
    slab::Slab,
    ticket::Place,
};

/// What an event holds beside its bytes until its receipt: its places in the columns, its outcome, its ticket.
const EVENT_OVERHEAD: usize = 48;
/// The same of an event whose client wants to know where it is.
const PLACE_OVERHEAD: usize = 48;
/// What a request holds in a slab beside its bytes.
pub(super) const REQUEST_OVERHEAD: usize = 192;
/// What an event takes in a frame beside its bytes, with an id, and its request, at most.
const ENCODED_OVERHEAD: usize = 160;

/// What the events of a request have in common.
pub(crate) struct Origin<'a> {
    pub(crate) stream: &'a Stream,
    /// The event at position i has the id `base` + i, unless it has a name or the request a `client_key`.
    pub(crate) base: EventId,
    /// What the client called the request, or empty.
    pub(crate) client_key: Bytes,
    pub(crate) arrived_ms: i64,
    /// W3C trace context: `traceparent` and `tracestate`, or empty.
    pub(crate) trace: [Bytes; 2],
    /// The client wants to know where each event is.
    pub(crate) tells_offsets: bool,
}

/// An event to append.
pub(crate) struct Append<'a> {
    /// Position in the body; rises within a request.
    pub(crate) position: u32,
    pub(crate) value: &'a [u8],
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) reserved: Option<i32>,
    pub(crate) id: EventId,
    /// What the client called this event.
    pub(crate) name: Option<&'a [u8]>,
    pub(crate) counter_keys: SmallVec<[Option<&'a str>; 2]>,
}

impl Origin<'_> {
    /// Bytes of what its events share.
    pub(super) fn bytes(&self) -> usize {
        self.client_key.len() + self.trace.iter().map(Bytes::len).sum::<usize>()
    }

    /// Bytes that so many events hold at least, whose values and texts have so many.
    pub(crate) fn estimate(&self, events: usize, bytes: usize) -> usize {
        bytes + events * self.event_overhead() + self.bytes() + REQUEST_OVERHEAD
    }

    /// What each of its events holds beside its bytes.
    pub(super) fn event_overhead(&self) -> usize {
        EVENT_OVERHEAD
            + if self.tells_offsets {
                PLACE_OVERHEAD
            } else {
                0
            }
    }
}

impl Append<'_> {
    /// Bytes of value, key and name.
    pub(super) fn bytes(&self) -> usize {
        let [key, name] = [self.key, self.name].map(|text| text.map_or(0, <[u8]>::len));
        self.value.len() + key + name
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

/// A request whose events are being appended. Dropped, it is done.
pub(crate) struct Appending<'a> {
    lane: &'a mut Lane,
    origin: &'a Origin<'a>,
    now: Instant,
    /// Nothing of it is really appended.
    is_dry: bool,
    /// Why it may not append anything.
    refused: Option<Refused>,
    /// Bytes taken from the budget, and bytes that its events hold.
    estimated: usize,
    bytes: usize,
}

impl<'a> Appending<'a> {
    /// Begins a request whose events hold about `estimated` bytes.
    pub(crate) fn begin(
        lane: &'a mut Lane,
        origin: &'a Origin<'a>,
        estimated: usize,
        now: Instant,
    ) -> Self {
        lane.request += 1;
        let refused = match lane.link {
            LinkState::Down { since }
                if now.saturating_duration_since(since) > lane.bounds.partition_slow =>
            {
                Some(Refused::Away)
            }
            _ if !lane.budget.take(estimated) => Some(Refused::Full),
            _ => None,
        };
        Self {
            lane,
            origin,
            now,
            is_dry: false,
            refused,
            estimated: if refused.is_none() { estimated } else { 0 },
            bytes: 0,
        }
    }

    /// Begins a dry run.
    pub(crate) fn dry(lane: &'a mut Lane, origin: &'a Origin<'a>, now: Instant) -> Self {
        Self {
            lane,
            origin,
            now,
            is_dry: true,
            refused: None,
            estimated: 0,
            bytes: 0,
        }
    }

    /// Appends an event to the open slab of its partition. None in a dry run.
    pub(crate) fn append(&mut self, event: &Append<'_>) -> Result<Option<Place>, Refused> {
        self.lane.check_size(self.origin, event)?;
        if self.is_dry {
            return Ok(None);
        }
        if let Some(refused) = self.refused {
            return Err(refused);
        }
        let at = self.lane.slot_for(self.origin.stream, event, self.now)?;
        let encoded = event.bytes() + self.origin.bytes() + ENCODED_OVERHEAD;
        let request = self.lane.request;
        let slab = self.lane.open_slab(at, encoded, self.now);
        let before = slab.bytes;
        let place = Place {
            slab: slab.id,
            event: slab.append(self.origin, request, event),
        };
        let bytes = slab.bytes - before;
        self.bytes += bytes;
        self.lane.bytes += bytes;
        self.lane.slots[at].bytes += bytes;
        self.lane.make_ready(at);
        Ok(Some(place))
    }
}

impl Drop for Appending<'_> {
    fn drop(&mut self) {
        if self.refused.is_none() {
            self.lane.budget.correct(self.estimated, self.bytes);
        }
    }
}

impl Lane {
    /// Refuses an event that is larger than its topic takes.
    fn check_size(&self, origin: &Origin<'_>, event: &Append<'_>) -> Result<(), Refused> {
        let limit = self.topics[origin.stream.topic].record_bytes_max;
        // What else is in a record the producer has subtracted.
        let bytes = event.bytes() + origin.trace[1].len();
        match limit.is_some_and(|limit| bytes > limit) {
            true => Err(Refused::TooLarge(limit)),
            false => Ok(()),
        }
    }

    /// The topic-partition of an event; refused if every one that it may enter is slow, full or crowded.
    fn slot_for(
        &mut self,
        stream: &Stream,
        event: &Append<'_>,
        now: Instant,
    ) -> Result<usize, Refused> {
        let (request, bounds) = (self.request, &self.bounds);
        let topic = &mut self.topics[stream.topic];
        let n = topic.ordinary.len();
        let partition = match (event.reserved, event.key, &stream.spread.otherwise) {
            (Some(reserved), _, _) => reserved,
            (None, Some(key), Partitioning::Key(_)) => topic.ordinary[partition_of(key, n)],
            _ => {
                let slot = |i: usize| &self.slots[topic.first_slot + topic.ordinary[i] as usize];
                let takes = |i: &usize| slot(*i).refusal(request, bounds).is_none();
                let stores = |i: &usize| takes(i) && !slot(*i).is_avoided(now);
                let mut from_here = (0..n).map(|i| (topic.sticky + i) % n);
                let chosen = from_here.clone().find(stores);
                topic.sticky = chosen
                    .or_else(|| from_here.find(takes))
                    .unwrap_or(topic.sticky);
                topic.ordinary[topic.sticky]
            }
        };
        let at = topic.first_slot + partition as usize;
        let slot = &mut self.slots[at];
        if let Some(refused) = slot.refusal(request, bounds) {
            return Err(refused);
        }
        slot.admitted = request;
        Ok(at)
    }

    /// The open slab of a slot, with room for an event that encodes to at most `encoded` bytes.
    fn open_slab(&mut self, at: usize, encoded: usize, now: Instant) -> &mut Slab {
        let slot = &mut self.slots[at];
        let open = slot.open.and_then(|id| self.slabs.get_mut(&id));
        let id = match open {
            Some(slab) if self.bounds.takes(slab, encoded, now) => slab.id,
            full => {
                if let Some(slab) = full {
                    slab.close(&self.topics[slot.topic].name, slot.partition);
                    slot.waiting.push_back(slab.id);
                }
                let id = self.next_slab;
                self.next_slab += 1;
                slot.open = Some(id);
                id
            }
        };
        self.slabs
            .entry(id)
            .or_insert_with(|| Slab::open(id, at, now))
    }
}
