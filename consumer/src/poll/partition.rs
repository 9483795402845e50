//! A partition that this process has: what waits, what is in flight, and how far it is finished.

use std::{collections::VecDeque, sync::Arc, time::Instant};

use aguacero::{ledger::Position, shutdown::Trigger};

use crate::{
    batch::{Batch, Source},
    sink::{Outcome, Resume},
};

/// Gaps that are remembered until it is known why: those beyond are taken for marks of transactions.
const GAPS_MAX: usize = 10_000;

/// Looks at a quiet partition that has more to read until that is probed: mostly it comes by itself.
pub(super) const PATIENCE: u32 = 1;

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
    /// The leader epoch of the last record below `finished`, if it is known.
    pub(super) leader_epoch: Option<i32>,
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
    /// Offsets that did not come, each gap from and to, until it is known why.
    pub(super) gaps: Vec<(i64, i64)>,
    /// The question about its log whose answer is still to come.
    pub(super) asked: Option<Asked>,
    /// `next` at the last tick, and how often it was the same since its log was looked at.
    pub(super) quiet: (Option<i64>, u32),
    /// Looks to come until what is behind `next`, and does not come, is probed.
    pub(super) patience: u32,
}

/// A question about a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Asked {
    /// Its number.
    pub(super) id: u64,
    /// So many gaps were there when it was put.
    pub(super) gaps: usize,
    /// Whether what comes next is probed.
    pub(super) probe: bool,
    /// The partition's `next` then.
    pub(super) next: Option<i64>,
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
    pub(super) leader_epoch: Option<i32>,
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
    /// The leader epoch of the record before, if it is known.
    pub(super) leader_epoch: Option<i32>,
    /// The group knows `offset`, from a commit of ours.
    pub(super) is_committed: bool,
    /// What the log has lost, from and to, and was not told yet.
    pub(super) cut: Option<(i64, i64)>,
    /// The incarnation was confirmed after the log was seen to end before `offset`.
    pub(super) is_confirmed: bool,
}

/// Where to begin in a log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Start {
    /// None: at the beginning, wherever that is.
    pub(super) offset: Option<i64>,
    /// The leader epoch of the record before, if it is known: the broker finds where the logs agree.
    pub(super) leader_epoch: Option<i32>,
    /// Records that retention has deleted before they were read, from and to.
    pub(super) deleted: Option<(i64, i64)>,
    /// Records that the log had and has no more, from and to.
    pub(super) cut: Option<(i64, i64)>,
    /// The offset that somebody else has set.
    pub(super) set_by_others: Option<i64>,
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
            leader_epoch: None,
            committed: None,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            in_flight: None,
            full_since: None,
            stopped: false,
            leaving: false,
            paused: false,
            gaps: Vec::new(),
            asked: None,
            quiet: (None, 0),
            patience: PATIENCE,
        }
    }

    /// Its records are of `incarnation` from now on, and begin at `start`.
    pub(super) fn adopt(&mut self, incarnation: &str, epoch: u64, start: &Start) {
        let position = Position {
            incarnation: incarnation.to_owned(),
            partition: self.number,
        };
        self.source = Some(Arc::new(Source {
            topic: self.topic,
            position,
            epoch,
        }));
        (self.next, self.finished) = (start.offset, start.offset);
        self.leader_epoch = start.leader_epoch;
        let resumed = self.resume_point.is_committed && start.set_by_others.is_none();
        self.committed = self.resume_point.offset.filter(|_| resumed);
        self.stopped = false;
    }

    /// Nobody knows any more what its records belong to.
    pub(super) fn suspend(&mut self, resume_point: ResumePoint) {
        self.forget_waiting();
        self.source = None;
        self.resume_point = resume_point;
        self.gaps.clear();
        self.asked = None; // what was asked says nothing about what is there now
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

    /// The sink has finished every record up to `last`.
    pub(super) fn finish(&mut self, last: Option<i64>, leader_epoch: Option<i32>) {
        if let Some(last) = last {
            self.finished = Some(last + 1);
            self.leader_epoch = leader_epoch.or(self.leader_epoch);
        }
    }

    /// It goes no further than the record at `at`, which is told to the group as well.
    pub(super) fn stop(&mut self, at: i64) {
        (self.next, self.finished, self.stopped) = (Some(at), Some(at), true);
        self.committed = None;
        self.forget_waiting();
    }

    /// Whether every record below `next` is finished.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.in_flight.is_none() && self.finished == self.next
    }

    /// The offsets from `next` to before `came` did not come.
    pub(super) fn missed(&mut self, next: i64, came: i64) {
        if self.gaps.len() < GAPS_MAX {
            self.gaps.push((next, came));
        }
    }

    /// Nothing below `next` will come any more.
    pub(super) fn skip_to(&mut self, next: i64) {
        (self.next, self.finished, self.leader_epoch) = (Some(next), Some(next), None);
    }

    /// Where to go on with what is not finished, once the incarnation is confirmed by question `round`.
    pub(super) fn unfinished(&self, round: u64) -> ResumePoint {
        ResumePoint {
            round,
            incarnation: self.source.as_ref().map(|s| s.position.incarnation.clone()),
            offset: self.finished,
            leader_epoch: self.leader_epoch,
            ..ResumePoint::default()
        }
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
    /// Goes where the sink wants it, which may know better than the group.
    pub(super) fn follow(&mut self, incarnation: &str, resume: Resume) {
        let (next, leader_epoch) = match resume {
            Resume::Committed => return,
            Resume::Beginning => (None, None),
            Resume::At { next, leader_epoch } => (Some(next), leader_epoch),
        };
        self.is_committed &= self.offset == next;
        self.incarnation = Some(incarnation.to_owned());
        (self.offset, self.leader_epoch) = (next, leader_epoch);
    }

    /// Where to begin in the log of `incarnation`, which has the offsets from `first` to before `end`.
    pub(super) fn start(&self, incarnation: &str, (first, end): (i64, i64)) -> Start {
        let same = self
            .incarnation
            .as_ref()
            .is_none_or(|known| known == incarnation);
        let Some(offset) = self.offset.filter(|_| same) else {
            return Start::default();
        };
        if self.incarnation.is_none() {
            return Start {
                offset: Some(offset.clamp(first, end.max(first))),
                set_by_others: Some(offset),
                ..Start::default()
            };
        }
        let (cut, leader_epoch) = (self.cut, self.leader_epoch);
        if offset < first {
            return Start {
                offset: Some(first),
                deleted: Some((offset, first)),
                cut,
                ..Start::default()
            };
        }
        if offset <= end {
            return Start {
                offset: Some(offset),
                leader_epoch,
                cut,
                ..Start::default()
            };
        }
        // Without an epoch nobody can say where the logs agree: all of it is read again.
        let from = leader_epoch.map(|_| end);
        Start {
            offset: from,
            leader_epoch,
            cut: Some((cut.map_or(offset, |(from, _)| from), from.unwrap_or(first))),
            ..Start::default()
        }
    }

    /// Whether the log seems to have lost its tail, or belongs to a topic that was made again.
    pub(super) fn is_beyond(&self, end: i64) -> bool {
        self.incarnation.is_some() && self.offset.is_some_and(|offset| offset > end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(incarnation: Option<&str>, leader_epoch: Option<i32>) -> ResumePoint {
        ResumePoint {
            incarnation: incarnation.map(Into::into),
            offset: Some(7),
            leader_epoch,
            ..ResumePoint::default()
        }
    }

    #[test]
    fn an_offset_holds_only_in_the_incarnation_that_it_was_committed_in() {
        let log = (0, 10);
        assert_eq!(of(Some("a"), None).start("a", log).offset, Some(7));
        assert_eq!(of(Some("a"), None).start("b", log), Start::default());
        // Set by a person, who knows which topic it is.
        let set = of(None, None).start("b", log);
        assert_eq!((set.offset, set.set_by_others), (Some(7), Some(7)));
        assert_eq!(ResumePoint::default().start("b", log), Start::default());
    }

    #[test]
    fn an_offset_that_the_log_does_not_have_is_told_and_nothing_that_it_has_is_skipped() {
        let ours = of(Some("a"), Some(3));
        let start = ours.start("a", (9, 20));
        assert_eq!((start.offset, start.deleted), (Some(9), Some((7, 9))));
        let start = ours.start("a", (0, 5));
        assert_eq!((start.offset, start.cut), (Some(5), Some((7, 5))));
        assert_eq!(
            start.leader_epoch,
            Some(3),
            "the broker finds where they agree"
        );
        // Nobody can say where.
        let start = of(Some("a"), None).start("a", (2, 5));
        assert_eq!((start.offset, start.cut), (None, Some((7, 2))));
        // Somebody else's offset: at the end, or at the beginning.
        assert_eq!(of(None, None).start("a", (0, 5)).offset, Some(5));
        assert_eq!(of(None, None).start("a", (9, 20)).offset, Some(9));
    }
}
