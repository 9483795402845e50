//! A partition that this process has: what waits, what is in flight, and how far it is finished.

use std::{collections::VecDeque, sync::Arc, time::Instant};

use aguacero::{ledger::Position, shutdown::Trigger};

use crate::{
    batch::{Batch, Source},
    sink::Outcome,
};

/// State of a partition, from the moment that the group gives it until it takes it away.
pub(super) struct Partition {
    /// Position in `Config::topics`.
    pub(super) topic: usize,
    /// Its number.
    pub(super) number: i32,
    /// The incarnation that its records are stamped with; none while that is uncertain.
    pub(super) source: Option<Arc<Source>>,
    /// Where to go on, while it is uncertain.
    pub(super) resume_point: ResumePoint,
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

/// A batch that the sink has. Dropping it tells the sink to let go.
pub(super) struct InFlight {
    pub(super) source: Arc<Source>,
    pub(super) bytes: usize,
    _abandon: Trigger,
}

impl InFlight {
    /// Of a batch from `source` with so many bytes; `abandon` is fired when this is dropped.
    pub(super) fn new(source: Arc<Source>, bytes: usize, abandon: Trigger) -> Self {
        Self {
            source,
            bytes,
            _abandon: abandon,
        }
    }
}

/// What the sink's task sends back.
pub(super) struct Done {
    pub(super) source: Arc<Source>,
    pub(super) last: Option<i64>,
    pub(super) outcome: Outcome,
}

/// Where to go on reading once the broker has confirmed which incarnation the topic has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ResumePoint {
    /// The first question to the broker whose answer confirms it.
    pub(super) round: u64,
    /// The incarnation that `offset` is one of; none: whichever there is.
    pub(super) incarnation: Option<String>,
    /// The first record to read if it is still there; none: at the beginning.
    pub(super) offset: Option<i64>,
}

impl Partition {
    pub(super) fn new(topic: usize, number: i32, resume_point: ResumePoint) -> Self {
        Self {
            topic,
            number,
            source: None,
            resume_point,
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
    pub(super) fn suspend(&mut self, resume_point: ResumePoint) {
        self.forget_waiting();
        self.source = None;
        self.resume_point = resume_point;
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

impl ResumePoint {
    /// Where to begin, now that the incarnation is known; none: at the beginning.
    pub(super) fn start(&self, incarnation: &str) -> Option<i64> {
        let same = self
            .incarnation
            .as_ref()
            .is_none_or(|known| known == incarnation);
        self.offset.filter(|_| same)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_holds_only_in_the_incarnation_that_it_was_committed_in() {
        let of = |incarnation: Option<&str>| ResumePoint {
            round: 0,
            incarnation: incarnation.map(Into::into),
            offset: Some(7),
        };
        assert_eq!(of(Some("a")).start("a"), Some(7));
        assert_eq!(of(Some("a")).start("b"), None);
        // Set by a person, who knows which topic it is.
        assert_eq!(of(None).start("b"), Some(7));
        assert_eq!(ResumePoint::default().start("b"), None);
    }
}
