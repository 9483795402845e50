//! What a batch that was just written says about the archive, so that nobody has to ask it.

use aguacero::{config::Stream, counts::Deltas};

use crate::{
    archive::{Archive, Archived, EventOutcome},
    decode::Event,
};

/// A batch and what became of it.
#[derive(Debug, Clone, Copy)]
pub struct Written<'a> {
    /// The batch.
    pub events: &'a [Event],
    /// What became of it.
    pub archived: &'a Archived,
}

/// What the archive holds beyond the place where this process left the watermark: nothing of the
/// partition but what the batch has met.
pub(super) struct Memory<'a> {
    pub(super) archive: &'a Archive,
    pub(super) batch: &'a Written<'a>,
    pub(super) left_at: i64,
}

impl Memory<'_> {
    /// What the archive holds above `from` and up to `to`, if the batch knows it.
    pub(super) fn deltas(&self, stream: &Stream, from: i64, to: i64) -> Option<Deltas> {
        let Written { events, archived } = self.batch;
        if from != self.left_at || archived.unmatched > Some(from) {
            return None;
        }
        let counting = self.archive.counting(stream);
        let mut deltas = Deltas::none(stream);
        for &(i, offset) in &archived.placed {
            if events[i].stream == stream.index && from < offset && offset <= to {
                counting.count(stream, &events[i].document, &mut deltas);
            }
        }
        Some(deltas)
    }
}

impl Written<'_> {
    /// The lowest offset at which the archive has something new of `stream`.
    #[must_use]
    pub fn first_new(&self, stream: &Stream) -> Option<i64> {
        let outcomes = self.events.iter().zip(&self.archived.outcomes);
        outcomes
            .filter(|(e, outcome)| e.stream == stream.index && **outcome == EventOutcome::New)
            .map(|(e, _)| e.offset)
            .next()
    }
}
