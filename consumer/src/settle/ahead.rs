//! What is archived of one position and not settled yet.
//!
//! A batch that was just written says all that the archive holds beyond the place where this process left
//! the watermark, so that nobody has to ask it. It is kept as segments, each small enough for one call to
//! Redis. Where that is not so, or too much has come together, the archive is asked instead.

use std::{collections::VecDeque, time::Instant};

use aguacero::{config::Stream, counts::Deltas, ledger::END};

use crate::{
    archive::{Archive, Archived, EventOutcome, KEYS_MAX},
    decode::Event,
};

/// Keys that are kept for one position, in all segments; beyond, the archive is asked.
const KEPT_KEYS_MAX: usize = 40 * KEYS_MAX;

/// A batch and what became of it.
#[derive(Debug, Clone, Copy)]
pub struct Written<'a> {
    /// The batch.
    pub events: &'a [Event],
    /// What became of it.
    pub archived: &'a Archived,
}

/// What the archive holds above the segment before, and up to `to`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) to: i64,
    pub(super) deltas: Deltas,
    /// The lowest offset at which the archive has something new.
    pub(super) first_new: Option<i64>,
}

/// State of one position of a stream.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    /// Which time it is that this process has the partition.
    pub(super) epoch: u64,
    /// Where this process left the watermark; none: Redis has to be asked.
    pub(super) left: Option<i64>,
    /// The archive is to be asked up to here, before the segments.
    pub(super) unknown: Option<i64>,
    pub(super) segments: VecDeque<Segment>,
    /// Of what is to be asked for: the lowest offset at which the archive has something new.
    pub(super) first_new: Option<i64>,
    /// The archive has got something new below what is settled.
    pub(super) below: bool,
    /// Where a call should have moved the watermark whose answer was lost.
    pub(super) tried: Option<i64>,
    /// Offsets that the archive is asked for in one step; halved when that takes too long.
    pub(super) step: i64,
    /// At most so many.
    pub(super) step_max: i64,
    /// As far as the next step may go, since more is pending than one call takes out.
    pub(super) most: Option<i64>,
    /// Somebody settles it now.
    pub(super) running: bool,
    /// Not before then, since the last attempt has failed.
    pub(super) not_before: Option<Instant>,
}

impl Ahead {
    /// A new beginning, if `epoch` is one.
    pub(super) fn enter(&mut self, epoch: u64) {
        if epoch > self.epoch {
            let running = self.running;
            *self = Self {
                epoch,
                step: self.step,
                step_max: self.step_max,
                running,
                ..Self::default()
            };
        }
    }

    /// Where the watermark will be once all of this is settled, if that is known.
    fn end(&self) -> Option<i64> {
        let last = self.segments.back().map(|s| s.to);
        last.or(self.unknown).or(self.left)
    }

    /// Whether there is nothing to do.
    pub(super) fn is_empty(&self) -> bool {
        self.unknown.is_none() && self.segments.is_empty() && !self.below
    }

    /// Takes in what a batch that ends at `to` says.
    pub(super) fn append(
        &mut self,
        archive: &Archive,
        stream: &Stream,
        to: i64,
        written: &Written<'_>,
    ) {
        let Some(from) = self
            .end()
            .filter(|from| written.archived.unmatched <= Some(*from))
        else {
            return self.ask_archive(to, written.first_new(stream));
        };
        // Only where Kafka has lost the end of a log is a batch below what was settled.
        self.below |= written.first_new(stream).is_some_and(|new| new <= from);
        if from >= to {
            return;
        }
        written.segments(archive, stream, from, to, &mut self.segments);
        let keys = self.segments.iter().map(|s| s.deltas.keys()).sum::<usize>();
        if keys > KEPT_KEYS_MAX {
            self.forget_segments();
        }
    }

    /// What is settled up to `to` is read from the archive.
    pub(super) fn ask_archive(&mut self, to: i64, first_new: Option<i64>) {
        self.forget_segments();
        self.unknown = self.unknown.max(Some(to));
        self.note_new(first_new);
    }

    /// Redis has forgotten it: the archive is asked up to `to`, or as far as this process has settled. Who says `to` has
    /// looked a moment ago, and a batch may have been archived, settled and forgotten since, of which nothing else is left
    /// here.
    pub(super) fn settle_again(&mut self, to: i64) {
        let settled = self.left.filter(|left| *left != END);
        self.ask_archive(settled.map_or(to, |left| left.max(to)), None);
        self.left = None;
    }

    /// The same for whatever there is.
    pub(super) fn forget_segments(&mut self) {
        for segment in std::mem::take(&mut self.segments) {
            self.unknown = self.unknown.max(Some(segment.to));
            self.note_new(segment.first_new);
        }
    }

    fn note_new(&mut self, first_new: Option<i64>) {
        self.first_new = match (self.first_new, first_new) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
    }
}

impl Written<'_> {
    /// The lowest offset at which the archive has something new of `stream`.
    fn first_new(&self, stream: &Stream) -> Option<i64> {
        let outcomes = self.events.iter().zip(&self.archived.outcomes);
        outcomes
            .filter(|(e, outcome)| e.stream == stream.index && **outcome == EventOutcome::New)
            .map(|(e, _)| e.offset)
            .next()
    }

    /// What the archive holds above `from` and up to `to`, which the batch knows.
    fn segments(
        &self,
        archive: &Archive,
        stream: &Stream,
        from: i64,
        to: i64,
        into: &mut VecDeque<Segment>,
    ) {
        let Self { events, archived } = self;
        let ours = |(i, offset): &(usize, i64)| {
            events[*i].stream == stream.index && from < *offset && *offset <= to
        };
        let mut placed: Vec<_> = archived.placed.iter().copied().filter(ours).collect();
        placed.sort_unstable_by_key(|(_, offset)| *offset);
        let counting = archive.counting(stream);
        let empty = || Segment {
            to,
            deltas: Deltas::none(stream),
            first_new: None,
        };
        let mut open = empty();
        let mut before = from;
        for (i, offset) in placed {
            if open.deltas.keys() >= KEYS_MAX && offset > before {
                open.to = before;
                into.push_back(std::mem::replace(&mut open, empty()));
            }
            counting.count(stream, &events[i].document, &mut open.deltas);
            if archived.outcomes[i] == EventOutcome::New {
                open.first_new.get_or_insert(offset);
            }
            before = offset;
        }
        into.push_back(open);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_settled_and_forgotten_is_settled_again_by_whoever_looked_before() {
        let mut ahead = Ahead {
            left: Some(168),
            ..Ahead::default()
        };
        ahead.settle_again(132);
        assert_eq!((ahead.unknown, ahead.left), (Some(168), None));
        ahead.settle_again(200);
        assert_eq!(ahead.unknown, Some(200));
        // A closed position says nothing of how far it was archived.
        let mut closed = Ahead {
            left: Some(END),
            ..Ahead::default()
        };
        closed.settle_again(132);
        assert_eq!(closed.unknown, Some(132));
    }
}
