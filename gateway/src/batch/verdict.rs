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
        match last - first + 1 == stored as i64 {
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

    /// The partition and the offset of a stored event, as far as they were asked for and are known.
    pub(crate) fn place_of(&self, event: u32) -> Option<(i32, Option<i64>)> {
        let places = self.places.as_deref()?;
        let before = self.exceptions.iter();
        let missing = before
            .take_while(|(index, _)| *index < event)
            .filter(|(_, outcome)| *outcome != Outcome::Stored);
        let rank = event as usize - missing.count();
        let offset = match &places.offsets {
            Offsets::Row(first) => Some(first + rank as i64),
            Offsets::Each(each) => each.get(rank).copied(),
            Offsets::Unknown => None,
        };
        Some((places.partition, offset))
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

    pub(crate) fn of(&self, event: u32) -> Outcome {
        let found = self
            .exceptions
            .binary_search_by_key(&event, |(index, _)| *index);
        found.map_or(self.outcome, |at| self.exceptions[at].1)
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
    exceptions.sort_unstable_by_key(|(index, _)| *index);
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
