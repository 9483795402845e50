//! A slab: the events of one topic-partition that travel together, and the requests that wait for
//! its receipt.

use std::{rc::Rc, time::Instant};

use aguacero::{config::Stream, counts::Deltas, id::EventId};
use aguacero_proto::produce::{self, Run};
use bytes::Bytes;
use smallvec::SmallVec;
use tokio::sync::oneshot;

use crate::batch::{append::Append, verdict::Verdict};

/// A slab's place in the gateway, from its first event to its receipt.
pub(crate) struct Slab {
    pub(crate) id: u64,
    /// Position of its topic-partition in the lane.
    pub(crate) slot: usize,
    pub(crate) opened: Instant,
    /// Bytes that count against the bounds.
    pub(crate) bytes: usize,
    /// How often it was sent.
    pub(crate) attempts: u32,
    /// The frame that it is counted in.
    pub(crate) frame: Option<u64>,
    /// What its events add to the counters of each stream.
    pub(crate) deltas: SmallVec<[(usize, Deltas); 1]>,
    /// Somebody wants to know where each event is.
    pub(crate) tells_offsets: bool,
    columns: Columns,
    waiting: Vec<Waiting>,
}

/// The columns of [`produce::Slab`], as they grow.
#[derive(Default)]
struct Columns {
    values: Vec<u8>,
    ends: Vec<u32>,
    keys: Vec<u8>,
    key_lens: Vec<u32>,
    streams: Vec<(usize, String)>,
    runs: Vec<Run>,
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
            deltas: SmallVec::new(),
            tells_offsets: false,
            columns: Columns::default(),
            waiting: Vec::new(),
        }
    }

    /// Number of events.
    pub(crate) fn len(&self) -> usize {
        self.columns.ends.len()
    }

    /// Bytes of its values.
    pub(crate) fn value_bytes(&self) -> usize {
        self.columns.values.len()
    }

    /// Appends an event and returns its position.
    pub(crate) fn append(&mut self, event: &Append<'_>) -> u32 {
        let index = self.len() as u32;
        let columns = &mut self.columns;
        columns.values.extend_from_slice(event.value);
        columns.ends.push(columns.values.len() as u32);
        if event.key.is_some() || !columns.key_lens.is_empty() {
            columns.key_lens.resize(index as usize, 0); // those before had none
            columns
                .keys
                .extend_from_slice(event.key.unwrap_or_default());
            columns
                .key_lens
                .push(event.key.map_or(0, |key| key.len() as u32 + 1));
        }
        columns.run(event);
        self.count(event.stream, &event.counter_keys);
        self.bytes += event.bytes();
        index
    }

    fn count(&mut self, stream: &Stream, keys: &[Option<&str>]) {
        let known = self.deltas.iter().position(|(s, _)| *s == stream.index);
        let at = known.unwrap_or_else(|| {
            self.deltas.push((stream.index, Deltas::none(stream)));
            self.deltas.len() - 1
        });
        self.deltas[at].1.count_keys(keys);
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

    /// What is sent. The slab keeps everything, since it may have to be sent again.
    pub(crate) fn wire(&mut self, topic: &str, partition: i32) -> produce::Slab {
        let columns = &self.columns;
        produce::Slab {
            id: self.id,
            topic: topic.to_owned(),
            partition,
            values: Bytes::copy_from_slice(&columns.values),
            ends: columns.ends.clone(),
            keys: Bytes::copy_from_slice(&columns.keys),
            key_lens: columns.key_lens.clone(),
            streams: columns
                .streams
                .iter()
                .map(|(_, name)| name.clone())
                .collect(),
            runs: columns.runs.clone(),
            tell_offsets: self.tells_offsets,
        }
    }

    /// The events with their streams' positions, to count them anew without some.
    pub(crate) fn events(&self) -> impl Iterator<Item = (usize, &[u8])> {
        let streams = self.columns.runs.iter().flat_map(|run| {
            std::iter::repeat_n(
                self.columns.streams[run.stream as usize].0,
                run.count as usize,
            )
        });
        let starts = std::iter::once(0).chain(self.columns.ends.iter().copied());
        let values = starts
            .zip(&self.columns.ends)
            .map(|(start, &end)| &self.columns.values[start as usize..end as usize]);
        streams.zip(values)
    }
}

impl Columns {
    /// Adds the event's id to the last run if it follows it, or begins a run.
    fn run(&mut self, event: &Append<'_>) {
        let known = self
            .streams
            .iter()
            .position(|(index, _)| *index == event.stream.index);
        let stream = known.unwrap_or_else(|| {
            self.streams
                .push((event.stream.index, event.stream.name.clone()));
            self.streams.len() - 1
        }) as u32;
        let traceparent = event.traceparent.cloned().unwrap_or_default();
        if let Some(last) = self.runs.last_mut()
            && last.stream == stream
            && last.arrived_ms == event.arrived_ms
            && last.client_key == event.client_key
            && last.traceparent == traceparent
            && event.id
                == EventId::from_halves(last.base_high, last.base_low).plus(last.count.into())
        {
            last.count += 1;
            return;
        }
        let (base_high, base_low) = event.id.halves();
        self.runs.push(Run {
            base_high,
            base_low,
            count: 1,
            stream,
            arrived_ms: event.arrived_ms,
            client_key: Bytes::copy_from_slice(event.client_key),
            traceparent,
        });
    }
}
