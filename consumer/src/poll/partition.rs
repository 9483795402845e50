//! A partition that this process has: what waits, what is in flight, and how far it is finished.

use std::{collections::VecDeque, sync::Arc, time::Instant};

use aguacero::ledger::Position;

use super::flight::InFlight;
use crate::batch::{Batch, Source};

/// State of a partition, from the moment that the group gives it until it takes it away.
pub(super) struct Partition {
    /// Position in `Config::topics`.
    pub(super) topic: usize,
    /// Its number.
    pub(super) number: i32,
    /// The incarnation that its records are stamped with; none while that is uncertain.
    pub(super) source: Option<Arc<Source>>,
    /// While it is uncertain.
    pub(super) doubt: Doubt,
    /// The lowest offset that can come next, if one is known.
    pub(super) next: Option<i64>,
    /// Every record below is finished.
    pub(super) finished: Option<i64>,
    /// What the group knows of `finished`.
    pub(super) committed: Option<i64>,
    /// Batches that wait, the last of which is being filled.
    waiting: VecDeque<Batch>,
    waiting_bytes: usize,
    /// The batch that the sink has.
    pub(super) in_flight: Option<InFlight>,
    /// When it had more than its share; none while it has less.
    pub(super) full_since: Option<Instant>,
    /// The sink can go no further.
    pub(super) stopped: bool,
    /// It is being taken away.
    pub(super) leaving: bool,
    /// As librdkafka was told.
    pub(super) paused: bool,
}

/// What is known while the incarnation is not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Doubt {
    /// The first question to the broker whose answer ends it.
    pub(super) round: u64,
    /// The incarnation that `resume` is an offset of; none: whichever there is.
    pub(super) incarnation: Option<String>,
    /// Where to go on if it is still there; none: at the beginning.
    pub(super) resume: Option<i64>,
}

impl Partition {
    pub(super) fn new(topic: usize, number: i32, doubt: Doubt) -> Self {
        Self {
            topic,
            number,
            source: None,
            doubt,
            next: None,
            finished: None,
            committed: None,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            in_flight: None,
            full_since: None,
            stopped: false,
            leaving: false,
            paused: false,
        }
    }

    /// Its records are of `incarnation` from now on.
    pub(super) fn adopt(&mut self, incarnation: &str, epoch: u64, start: Option<i64>) {
        let position = Position {
            incarnation: incarnation.to_owned(),
            partition: self.number,
        };
        self.source = Some(Arc::new(Source {
            topic: self.topic,
            position,
            epoch,
        }));
        (self.next, self.finished, self.committed) = (start, start, start);
        self.stopped = false;
    }

    /// Nobody knows any more what its records belong to.
    pub(super) fn hold(&mut self, doubt: Doubt) {
        self.forget_waiting();
        self.source = None;
        self.doubt = doubt;
    }

    /// The batch to append to, which is below both bounds.
    pub(super) fn open(&mut self, records_max: usize, bytes_max: usize) -> Option<&mut Batch> {
        let source = self.source.as_ref()?;
        if self
            .waiting
            .back()
            .is_none_or(|b| b.len() >= records_max || b.size() >= bytes_max)
        {
            self.waiting.push_back(Batch::new(source.clone()));
        }
        self.waiting.back_mut()
    }

    pub(super) fn appended(&mut self, offset: i64, bytes: usize) {
        self.next = Some(offset + 1);
        self.waiting_bytes += bytes;
    }

    /// The batch that the sink should have next.
    pub(super) fn take(&mut self) -> Option<Batch> {
        if self.in_flight.is_some() || self.stopped || self.leaving {
            return None;
        }
        let batch = self.waiting.pop_front()?;
        self.waiting_bytes = self.waiting_bytes.saturating_sub(batch.size());
        Some(batch)
    }

    pub(super) fn forget_waiting(&mut self) {
        self.waiting.clear();
        self.waiting_bytes = 0;
        self.full_since = None;
    }

    /// Bytes that wait or are in flight.
    pub(super) fn bytes(&self) -> usize {
        self.waiting_bytes + self.in_flight.as_ref().map_or(0, |f| f.bytes)
    }
}
