//! What became of each event of a batch, from what the archive has under its id after the write.

use std::collections::HashSet;

use aguacero::config::{OnIdConflict, Stream};

use super::{refused::Refusal, stored::Stored, value::same_event};
use crate::{batch::Source, decode::Event};

/// What the archive holds of a batch's events, after the write.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Archived {
    /// Of each event.
    pub outcomes: Vec<EventOutcome>,
    /// The documents that are stored with a place in the batch's partition: index of an event that says
    /// the same, and the offset that is stored.
    pub placed: Vec<(usize, i64)>,
    /// The highest stored offset of a document in the batch's partition that no event of the batch
    /// says the same as.
    pub unmatched: Option<i64>,
    /// Why MongoDB does not take the events whose outcome is that.
    pub refused: Vec<(usize, Refusal)>,
}

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventOutcome {
    /// The archive has it from here.
    New,
    /// The archive had it, with an equal value.
    Repeat,
    /// The archive has another value under its id.
    Conflict,
    /// The same, where the stream wants no more than the first (`on_id_conflict = "first"`).
    NotFirst,
    /// MongoDB does not take it.
    Refused,
}

/// What the archive has under an id, once a document was to be written there.
#[derive(Debug, Clone)]
pub(super) enum Held {
    /// That document.
    Ours,
    /// One that was there.
    Other(Box<Stored>),
    /// Not that document, and why that will be so.
    Refused(Box<Refusal>),
}

/// A batch after the write.
pub(super) struct Batch<'a> {
    pub(super) streams: &'a [Stream],
    pub(super) source: &'a Source,
    pub(super) events: &'a [Event],
    /// Of each event, the first one with its id and its collection.
    pub(super) first: &'a [usize],
    /// Of each event that was to be written.
    pub(super) held: &'a [Option<Held>],
    /// Events that say the same as what the archive has, in other bytes.
    pub(super) equal: &'a HashSet<usize>,
}

impl Batch<'_> {
    /// What stands under the id of event `i`: by its own attempt, else by that of the first with its id.
    fn held(&self, i: usize) -> Option<&Held> {
        self.held[i].as_ref().or(self.held[self.first[i]].as_ref())
    }

    /// The document that event `i` has met in the archive, if the client sent other bytes then. One that somebody
    /// else has put there equals no event: it is in no counter.
    pub(super) fn has_met_other_bytes(&self, i: usize) -> bool {
        let Some(Held::Other(stored)) = self.held(i) else {
            return false;
        };
        let hash = stored.hash.as_deref();
        hash.is_some_and(|hash| hash != &self.events[i].hash[..])
    }

    /// What became of event `i`; if its document is stored with a place in the batch's partition, its offset.
    fn outcome(&self, i: usize) -> (EventOutcome, Option<i64>) {
        let (event, first) = (&self.events[i], &self.events[self.first[i]]);
        let stream = &self.streams[event.stream];
        let conflict = match stream.on_id_conflict {
            OnIdConflict::DeadLetter => EventOutcome::Conflict,
            OnIdConflict::First => EventOutcome::NotFirst,
        };
        match self.held(i) {
            Some(Held::Refused(_)) => (EventOutcome::Refused, None),
            Some(Held::Other(stored)) => match stored.hash.as_deref() {
                None => (EventOutcome::Conflict, None),
                Some(hash) if hash == &event.hash[..] || self.equal.contains(&i) => {
                    let here = stored.is_in(self.source) && stored.stream == stream.name;
                    (EventOutcome::Repeat, here.then_some(stored.offset))
                }
                Some(_) => (conflict, None),
            },
            _ if self.held[i].is_some() => (EventOutcome::New, Some(event.offset)),
            _ if first.hash == event.hash || same_event(&first.document, &event.document) => {
                (EventOutcome::Repeat, None)
            }
            _ => (conflict, None),
        }
    }

    pub(super) fn archived(&self) -> Archived {
        let mut archived = Archived {
            outcomes: Vec::with_capacity(self.events.len()),
            ..Archived::default()
        };
        // By the first event with the id: a document that one of the batch says the same as.
        let mut known = vec![false; self.events.len()];
        for i in 0..self.events.len() {
            let (outcome, offset) = self.outcome(i);
            if let Some(offset) = offset
                && !std::mem::replace(&mut known[self.first[i]], true)
            {
                archived.placed.push((i, offset));
            }
            if let Some(Held::Refused(refusal)) = self.held(i) {
                archived.refused.push((i, (**refusal).clone()));
            }
            archived.outcomes.push(outcome);
        }
        for (held, first) in self.held.iter().zip(self.first) {
            if let Some(Held::Other(stored)) = held
                && !known[*first]
                && stored.is_in(self.source)
            {
                archived.unmatched = archived.unmatched.max(Some(stored.offset));
            }
        }
        archived
    }
}

#[cfg(test)]
#[path = "outcome_tests.rs"]
mod tests;
