//! A request's interest in a slab: which of its events are in there, and the way to learn what became of them.

use std::rc::Rc;

use smallvec::SmallVec;
use tokio::sync::oneshot;

use crate::{
    answer::outcomes::{Outcomes, RecordOutcome},
    batch::{
        lane::Lane,
        verdict::{Outcome, Verdict},
    },
};

/// Where an event was appended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) slab: u64,
    pub(crate) event: u32,
}

/// Those of a request: most have one event.
pub(crate) type Tickets = SmallVec<[Ticket; 1]>;

/// A request's events in one slab, and the way to learn what became of them.
pub(crate) struct Ticket {
    slab: u64,
    /// Position of the first one in the slab; the others follow, since a request appends in one go.
    first: u32,
    /// Their positions in the request's body.
    records: SmallVec<[u32; 1]>,
    verdict: Option<oneshot::Receiver<Rc<Verdict>>>,
}

impl Ticket {
    /// Notes that record `index` of the body was appended at `place`.
    pub(crate) fn note(tickets: &mut Tickets, place: Place, index: u32) {
        match tickets.iter_mut().rev().find(|t| t.slab == place.slab) {
            Some(ticket) => ticket.records.push(index),
            None => tickets.push(Self {
                slab: place.slab,
                first: place.event,
                records: SmallVec::from_elem(index, 1),
                verdict: None,
            }),
        }
    }

    /// Registers with the slab.
    pub(crate) fn attach(&mut self, lane: &mut Lane) {
        self.verdict = lane.wait(self.slab);
    }

    /// Waits for the verdict and notes what became of each record. Given up before it has, it can be waited for again.
    pub(crate) async fn await_receipt(&mut self, outcomes: &mut Outcomes) {
        let verdict = match &mut self.verdict {
            Some(verdict) => verdict.await.ok(),
            None => None,
        };
        // None: whoever should have told has vanished, so nobody can know.
        let lost = || {
            Rc::new(Verdict::whole(
                Outcome::Unknown,
                "the gateway lost track of it",
            ))
        };
        let verdict = verdict.unwrap_or_else(lost);
        let mut why: Option<Rc<str>> = None; // one for all
        let became = verdict.events_from(self.first);
        for (record, (outcome, place)) in self.records.iter().copied().zip(became) {
            if let Some(places) = &mut outcomes.places {
                places[record as usize].at = place;
            }
            outcomes.records[record as usize] = match outcome {
                Outcome::Stored => RecordOutcome::Stored,
                Outcome::NotStored => {
                    let why = why.get_or_insert_with(|| verdict.detail.as_str().into());
                    RecordOutcome::NotStored(Rc::clone(why))
                }
                Outcome::TooLarge => RecordOutcome::TooLarge(None),
                Outcome::Unknown => RecordOutcome::Unknown,
            };
        }
    }
}
