//! A slab: the events of one topic-partition that travel together, and the requests that wait for
//! its receipt.

use std::{rc::Rc, time::Instant};

use aguacero::{config::Stream, counts::Deltas};
use aguacero_proto::produce;
use bytes::Bytes;
use prost::{Message as _, encoding::encoded_len_varint};
use smallvec::SmallVec;
use tokio::sync::oneshot;

use crate::batch::{
    append::{Append, Origin, REQUEST_OVERHEAD},
    verdict::Verdict,
};

/// What a slab takes in a frame beside its events and requests, at most: a topic's name has 249 bytes.
const SLAB_OVERHEAD: usize = 512;
/// What a request takes in a slab beside its bytes, at most.
const REQUEST_ENCODED: usize = 64;
/// The same of a stream's name.
const STREAM_ENCODED: usize = 8;

/// A slab's place in the gateway, from its first event to its receipt.
pub(crate) struct Slab {
    pub(crate) id: u64,
    /// Position of its topic-partition in the lane.
    pub(crate) slot: usize,
    pub(crate) opened: Instant,
    /// Bytes that it holds, with what waits for it; they count against the bounds.
    pub(crate) bytes: usize,
    /// How often it was sent.
    pub(crate) attempts: u32,
    /// The frame that it is counted in.
    pub(crate) frame: Option<u64>,
    /// What its events add to the counters of each stream.
    pub(crate) shares: SmallVec<[Share; 1]>,
    /// Somebody wants to know where each event is.
    pub(crate) tells_offsets: bool,
    events: u32,
    /// Until it is closed.
    columns: Columns,
    /// Afterwards: what is sent, as often as it must be.
    encoded: Bytes,
    waiting: Vec<Waiting>,
}

/// A stream's share of a slab.
#[derive(Debug, Clone)]
pub(crate) struct Share {
    /// Position in `Config::streams`.
    pub(crate) stream: usize,
    /// What its events add.
    pub(crate) deltas: Deltas,
    /// Position of its first event in the slab.
    pub(crate) first: u32,
    /// Of its last one.
    pub(crate) last: u32,
}

/// The columns of [`produce::Slab`], as they grow.
#[derive(Default)]
struct Columns {
    values: Vec<u8>,
    ends: Vec<u32>,
    keys: Vec<u8>,
    key_lens: Vec<u32>,
    ids: Vec<u8>,
    names: Vec<u8>,
    name_lens: Vec<u32>,
    gaps: Vec<u32>,
    /// As in `shares`.
    streams: Vec<String>,
    requests: Vec<produce::Request>,
    /// Number of the last one.
    request: u64,
    /// Position that its next event has if there is no gap.
    next_position: u32,
    /// Bytes that all this encodes to, at most.
    encoded: usize,
}

/// A request's interest in a slab.
struct Waiting {
    answer: oneshot::Sender<Rc<Verdict>>,
}

impl Slab {
    pub(crate) fn open(id: u64, slot: usize, now: Instant) -> Self {
        Self {
            id,
            slot,
            opened: now,
            bytes: 0,
            attempts: 0,
            frame: None,
            shares: SmallVec::new(),
            tells_offsets: false,
            events: 0,
            columns: Columns {
                encoded: SLAB_OVERHEAD,
                ..Columns::default()
            },
            encoded: Bytes::new(),
            waiting: Vec::new(),
        }
    }

    /// Number of events.
    pub(crate) fn len(&self) -> usize {
        self.events as usize
    }

    /// Bytes that it encodes to: at most, while it is open.
    pub(crate) fn encoded_len(&self) -> usize {
        self.columns.encoded.max(self.encoded.len())
    }

    /// Appends an event of the request with this number, and returns the event's position.
    pub(crate) fn append(&mut self, origin: &Origin<'_>, request: u64, event: &Append<'_>) -> u32 {
        debug_assert!(self.encoded.is_empty(), "nothing joins a closed slab");
        let index = self.events;
        self.events += 1;
        self.bytes += event.bytes() + origin.event_overhead();
        if self.columns.request != request || index == 0 {
            self.bytes += origin.bytes() + REQUEST_OVERHEAD;
            self.tells_offsets |= origin.tells_offsets;
            let stream = self.stream(origin.stream, index);
            self.columns.begin(origin, request, stream);
        }
        self.bytes += self.columns.append(origin, event, index as usize);
        let stream = self.columns.requests.last().map_or(0, |r| r.stream);
        if let Some(share) = self.shares.get_mut(stream as usize) {
            self.bytes += share.deltas.count_keys(&event.counter_keys);
            share.last = index;
        }
        index
    }

    /// Position of a stream among those that it has events of, the first of which may be at `index`.
    fn stream(&mut self, stream: &Stream, index: u32) -> u32 {
        let known = self.shares.iter().position(|s| s.stream == stream.index);
        let at = known.unwrap_or_else(|| {
            self.shares.push(Share {
                stream: stream.index,
                deltas: Deltas::none(stream),
                first: index,
                last: index,
            });
            self.columns.streams.push(stream.name.clone());
            self.columns.encoded += stream.name.len() + STREAM_ENCODED;
            self.shares.len() - 1
        });
        at as u32
    }

    /// Waits for the verdict.
    pub(crate) fn wait(&mut self) -> oneshot::Receiver<Rc<Verdict>> {
        let (answer, receiver) = oneshot::channel();
        self.waiting.push(Waiting { answer });
        receiver
    }

    /// Tells every request that waits.
    pub(crate) fn resolve(&mut self, verdict: Verdict) {
        let verdict = Rc::new(verdict);
        for waiting in self.waiting.drain(..) {
            _ = waiting.answer.send(Rc::clone(&verdict)); // an error: the client has left
        }
    }

    /// Nothing joins it any more: from here on it is only what is sent, of this topic-partition.
    pub(crate) fn close(&mut self, topic: &str, partition: i32) {
        if !self.encoded.is_empty() {
            return;
        }
        let columns = std::mem::take(&mut self.columns);
        let slab = produce::Slab {
            id: self.id,
            topic: topic.to_owned(),
            partition,
            values: columns.values.into(),
            ends: columns.ends,
            keys: columns.keys.into(),
            key_lens: columns.key_lens,
            streams: columns.streams,
            runs: Vec::new(),
            tell_offsets: self.tells_offsets,
            requests: columns.requests,
            gaps: columns.gaps,
            ids: columns.ids.into(),
            names: columns.names.into(),
            name_lens: columns.name_lens,
        };
        self.encoded = slab.encode_to_vec().into();
        debug_assert!(self.encoded.len() <= columns.encoded);
    }

    /// What is sent. It is closed.
    pub(crate) fn encoded(&self) -> Bytes {
        self.encoded.clone()
    }

    /// The events of a closed slab with their streams' positions, to count them anew without some.
    pub(crate) fn events(&self) -> Vec<(usize, Bytes)> {
        let slab = produce::Slab::decode(self.encoded()).unwrap_or_default(); // it is what was encoded
        let streams = slab.requests.iter().flat_map(|request| {
            let stream = self.shares[request.stream as usize].stream;
            std::iter::repeat_n(stream, request.events as usize)
        });
        let starts = std::iter::once(0).chain(slab.ends.iter().copied());
        let values = starts
            .zip(&slab.ends)
            .map(|(start, &end)| slab.values.slice(start as usize..end as usize));
        streams.zip(values).collect()
    }
}

impl Columns {
    /// Begins the part of a request.
    fn begin(&mut self, origin: &Origin<'_>, request: u64, stream: u32) {
        let (base_high, base_low) = origin.base.halves();
        self.requests.push(produce::Request {
            events: 0,
            stream,
            arrived_ms: origin.arrived_ms,
            base_high,
            base_low,
            client_key: shared(&origin.client_key),
            traceparent: shared(&origin.trace[0]),
            tracestate: shared(&origin.trace[1]),
        });
        self.encoded += REQUEST_ENCODED + origin.bytes();
        self.request = request;
        self.next_position = 0;
    }

    /// Adds an event of the last request. Returns the bytes that its id takes.
    fn append(&mut self, origin: &Origin<'_>, event: &Append<'_>, index: usize) -> usize {
        if let Some(request) = self.requests.last_mut() {
            request.events += 1;
        }
        self.values.extend_from_slice(event.value);
        let end = self.values.len() as u32;
        self.ends.push(end);
        self.encoded += event.bytes() + encoded_len_varint(end.into());
        // Most events have none of these.
        if event.key.is_some() || !self.key_lens.is_empty() {
            self.encoded += push_text(&mut self.keys, &mut self.key_lens, index, event.key);
        }
        if event.name.is_some() || !self.name_lens.is_empty() {
            self.encoded += push_text(&mut self.names, &mut self.name_lens, index, event.name);
        }
        let has_own_id = event.name.is_some() || !origin.client_key.is_empty();
        let gap = match has_own_id {
            true => 0,
            false => event.position - self.next_position,
        };
        if gap > 0 || !self.gaps.is_empty() {
            self.encoded += push(&mut self.gaps, index, gap);
        }
        self.next_position += gap + 1;
        if !has_own_id {
            return 0;
        }
        self.ids.extend_from_slice(&event.id.0);
        self.encoded += event.id.0.len();
        event.id.0.len()
    }
}

/// The same bytes. Most requests have none of these, for which nothing is called.
fn shared(bytes: &Bytes) -> Bytes {
    match bytes.is_empty() {
        true => Bytes::new(),
        false => bytes.clone(),
    }
}

/// Adds the text of event `index`, if it has one, to a column of texts and to that of their lengths. Returns by how much
/// longer the latter encodes to.
fn push_text(texts: &mut Vec<u8>, lens: &mut Vec<u32>, index: usize, text: Option<&[u8]>) -> usize {
    texts.extend_from_slice(text.unwrap_or_default());
    push(lens, index, text.map_or(0, |text| text.len() as u32 + 1))
}

/// Adds what event `index` has to a column that is empty as long as all have 0. Returns by how much longer it
/// encodes to.
fn push(column: &mut Vec<u32>, index: usize, value: u32) -> usize {
    let before = index - column.len(); // those had 0
    column.resize(index, 0);
    column.push(value);
    before + encoded_len_varint(value.into())
}

/// The slabs of a frame, as they are read.
#[cfg(test)]
pub(crate) fn decoded(frame: &produce::Frame) -> Vec<produce::Slab> {
    let slabs = frame.slabs.iter().cloned();
    slabs
        .map(|slab| produce::Slab::decode(slab).unwrap())
        .collect()
}
