//! What became of a slab's events, as its receipt tells.

use aguacero_proto::produce::{self, Receipt};

use crate::metric::NotStored;

/// What became of a slab's events, for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) outcome: Outcome,
    /// Events with another outcome, by position in the slab, ascending.
    pub(crate) exceptions: Vec<(u32, Outcome)>,
    /// Why the outcome is not `Stored`.
    pub(crate) detail: String,
    /// Where the stored ones are, if anybody asked.
    pub(crate) places: Option<Box<Places>>,
}

/// Where the stored events of a slab are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Places {
    pub(crate) partition: i32,
    pub(crate) offsets: Offsets,
    /// Of each exception: how many events before it are stored.
    stored_before: Vec<usize>,
}

/// What became of a slab's events from one on, in their order; without end.
pub(crate) struct Events<'a> {
    verdict: &'a Verdict,
    next: u32,
    /// Those that `next` has not come to.
    exceptions: &'a [(u32, Outcome)],
    /// Stored events before `next`; counted only if anybody asked where they are.
    stored: usize,
}

/// Those of the stored events of a slab, in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Offsets {
    /// From this one on, without a gap.
    Row(i64),
    /// Each.
    Each(Vec<i64>),
    /// Nobody knows.
    Unknown,
}

impl Offsets {
    /// Of `stored` events, as a receipt tells them.
    pub(crate) fn of(receipt: &Receipt, stored: usize) -> Self {
        let Some((first, last)) = receipt.first.zip(receipt.last) else {
            return Self::Unknown;
        };
        if !receipt.offsets.is_empty() {
            let distances = receipt.offsets.iter();
            let each: Vec<_> = distances
                .scan(first, |offset, distance| {
                    *offset = offset.wrapping_add(*distance);
                    Some(*offset)
                })
                .collect();
            return match each.len() == stored {
                true => Self::Each(each),
                false => Self::Unknown,
            };
        }
        match last.checked_sub(first) == (stored as i64).checked_sub(1) {
            true => Self::Row(first),
            false => Self::Unknown, // of a kafka-producer that does not tell each
        }
    }
}

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// In the log.
    Stored,
    /// Certainly not in the log.
    NotStored,
    /// Certainly not in the log, and never will be.
    TooLarge,
    /// Nobody can know.
    Unknown,
}

impl Verdict {
    pub(crate) fn whole(outcome: Outcome, detail: impl Into<String>) -> Self {
        Self {
            outcome,
            exceptions: Vec::new(),
            detail: detail.into(),
            places: None,
        }
    }

    /// Notes where the stored events of a slab of `events` are, as its receipt tells.
    pub(super) fn place(&mut self, receipt: &Receipt, partition: i32, events: usize) {
        let mut before = 0; // of the exception before
        let mut next = 0;
        let stored_before: Vec<_> = self
            .exceptions
            .iter()
            .map(|(index, outcome)| {
                let index = *index as usize;
                if self.outcome == Outcome::Stored {
                    before += index.saturating_sub(next);
                }
                next = index + 1;
                let stored = before;
                before += usize::from(*outcome == Outcome::Stored);
                stored
            })
            .collect();
        if self.outcome == Outcome::Stored {
            before += events.saturating_sub(next);
        }
        self.places = Some(Box::new(Places {
            partition,
            offsets: Offsets::of(receipt, before),
            stored_before,
        }));
    }

    /// How many of a slab's `events` are not stored, or not known to be, and why; the slab was sent `attempts` times.
    pub(crate) fn not_stored(&self, events: usize, attempts: u32) -> [(NotStored, usize); 2] {
        let of = |wanted| {
            let exceptions = self.exceptions.iter().filter(|(_, o)| *o == wanted).count();
            let others = events.saturating_sub(self.exceptions.len());
            exceptions + if self.outcome == wanted { others } else { 0 }
        };
        let refused = match attempts {
            0 => NotStored::Unreachable,
            _ => NotStored::Refused,
        };
        [
            (refused, of(Outcome::NotStored)),
            (NotStored::Unconfirmed, of(Outcome::Unknown)),
        ]
    }

    /// What became of each event from position `first` on, and where those are that are stored: partition and offset, as
    /// far as that was asked for and is known.
    pub(crate) fn events_from(&self, first: u32) -> Events<'_> {
        let at = self.exceptions.partition_point(|(index, _)| *index < first);
        let (exceptions, places) = (&self.exceptions[at..], self.places.as_deref());
        let stored = places.map_or(0, |places| {
            // Those before the exception before `first`, that one itself, and those between the two.
            let Some(last) = at.checked_sub(1) else {
                return self.stored_of(first);
            };
            let (index, outcome) = self.exceptions[last];
            places.stored_before[last]
                + usize::from(outcome == Outcome::Stored)
                + self.stored_of(first - index - 1)
        });
        Events {
            verdict: self,
            next: first,
            exceptions,
            stored,
        }
    }

    /// How many of so many events are stored that are no exceptions.
    fn stored_of(&self, events: u32) -> usize {
        match self.outcome {
            Outcome::Stored => events as usize,
            _ => 0,
        }
    }
}

impl Iterator for Events<'_> {
    type Item = (Outcome, Option<(i32, Option<i64>)>);

    fn next(&mut self) -> Option<Self::Item> {
        let outcome = match self.exceptions {
            [(index, outcome), rest @ ..] if *index == self.next => {
                self.exceptions = rest;
                *outcome
            }
            _ => self.verdict.outcome,
        };
        self.next = self.next.wrapping_add(1);
        if outcome != Outcome::Stored {
            return Some((outcome, None));
        }
        let rank = self.stored;
        self.stored += 1;
        let place = self.verdict.places.as_deref().map(|places| {
            let offset = match &places.offsets {
                Offsets::Row(first) => first.checked_add(rank as i64),
                Offsets::Each(each) => each.get(rank).copied(),
                Offsets::Unknown => None,
            };
            (places.partition, offset)
        });
        Some((outcome, place))
    }
}

/// Whether a slab that was sent `attempts` times can still become stored as a whole. An event that is
/// too large never can.
pub(super) fn another_attempt_helps(receipt: &Receipt, attempts: u32) -> bool {
    let exceptions = receipt.exceptions.iter().map(|e| e.outcome);
    let mut outcomes = exceptions.chain([receipt.outcome]);
    outcomes.any(|wire| match produce::Outcome::try_from(wire) {
        Ok(produce::Outcome::Stored | produce::Outcome::TooLarge) => false,
        Ok(produce::Outcome::NotStored) => attempts > 1,
        Ok(produce::Outcome::Unknown) | Err(_) => true,
    })
}

/// The verdict that a receipt gives a slab which was sent `attempts` times.
pub(super) fn verdict(receipt: &Receipt, attempts: u32) -> Verdict {
    let outcome = |wire: i32| match produce::Outcome::try_from(wire) {
        Ok(produce::Outcome::Stored) => Outcome::Stored,
        // Not stored by this attempt: what an earlier one did, nobody knows.
        Ok(produce::Outcome::TooLarge) if attempts <= 1 => Outcome::TooLarge,
        Ok(produce::Outcome::NotStored) if attempts <= 1 => Outcome::NotStored,
        _ => Outcome::Unknown,
    };
    let exceptions = receipt
        .exceptions
        .iter()
        .map(|e| (e.index, outcome(e.outcome)));
    let mut exceptions: Vec<_> = exceptions.collect();
    exceptions.sort_by_key(|(index, _)| *index);
    exceptions.dedup_by_key(|(index, _)| *index);
    let first = receipt.exceptions.first().map(|e| e.detail.clone());
    Verdict {
        outcome: outcome(receipt.outcome),
        exceptions,
        detail: if receipt.detail.is_empty() {
            first.unwrap_or_default()
        } else {
            receipt.detail.clone()
        },
        places: None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn outcome() -> impl Strategy<Value = Outcome> {
        prop::sample::select(vec![
            Outcome::Stored,
            Outcome::NotStored,
            Outcome::TooLarge,
            Outcome::Unknown,
        ])
    }

    proptest! {
        #[test]
        fn each_event_has_its_outcome_and_each_stored_one_its_place(
            of_slab in outcome(), events in prop::collection::vec(prop::option::of(outcome()), 1..60), first in 0_u32..60,
        ) {
            let exceptions: Vec<_> = (0..).zip(&events).filter_map(|(i, e)| Some((i, (*e)?))).collect();
            let mut verdict = Verdict { exceptions, ..Verdict::whole(of_slab, "") };
            let outcomes: Vec<_> = events.iter().map(|e| e.unwrap_or(of_slab)).collect();
            let stored = |events: &[Outcome]| events.iter().filter(|o| **o == Outcome::Stored).count() as i64;
            let all = stored(&outcomes);
            let receipt = Receipt { first: Some(100), last: Some(99 + all), ..Receipt::default() };
            for asked in [false, true] {
                if asked {
                    verdict.place(&receipt, 7, events.len());
                }
                let first = first as usize % events.len();
                let found = verdict.events_from(first as u32).zip(first..events.len());
                for ((outcome, place), i) in found {
                    let offset = 100 + stored(&outcomes[..i]);
                    let expected = (asked && outcome == Outcome::Stored).then_some((7, Some(offset)));
                    prop_assert_eq!((outcome, place), (outcomes[i], expected));
                }
            }
        }
    }

    /// It ends within minutes only if it costs as much as there are events and exceptions, not one times the other.
    #[test]
    fn events_of_which_half_failed_are_gone_through_once() {
        const EVENTS: u32 = 400_000;
        let receipt = Receipt {
            outcome: produce::Outcome::Stored.into(),
            first: Some(0),
            last: Some(i64::from(EVENTS) / 2 - 1),
            exceptions: (0..EVENTS / 2)
                .map(|i| produce::Exception {
                    index: 2 * i,
                    outcome: produce::Outcome::NotStored.into(),
                    ..produce::Exception::default()
                })
                .collect(),
            ..Receipt::default()
        };
        let mut verdict = verdict(&receipt, 1);
        verdict.place(&receipt, 0, EVENTS as usize);
        // As one request, and as a request for each event.
        let whole = verdict.events_from(0).take(EVENTS as usize);
        let each = (0..EVENTS).map(|i| verdict.events_from(i).next().unwrap());
        let expected = (0..EVENTS).map(|i| match i % 2 {
            0 => (Outcome::NotStored, None),
            _ => (Outcome::Stored, Some((0, Some(i64::from(i / 2))))),
        });
        assert!(whole.eq(expected.clone()));
        assert!(each.eq(expected));
    }
}
