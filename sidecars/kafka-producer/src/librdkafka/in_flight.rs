//! Slabs of which delivery reports are still to come.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aguacero_proto::produce::Outcome;

use crate::{receipt::Flight, topics::Known};

/// Which record of which slab a delivery report belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ticket {
    /// The slab's number in [`InFlight`].
    pub(crate) slab: u32,
    /// The record's position in it.
    pub(crate) record: u32,
}

/// The slabs of all streams that are on their way. Cheap to clone.
#[derive(Clone)]
pub(crate) struct InFlight {
    slabs: Arc<Mutex<slab::Slab<Flight>>>,
    topics: Known,
}

/// What became of one record.
pub(crate) enum Report {
    /// Stored at this offset, as the broker says.
    Stored(i64),
    /// Anything else, and why.
    Failed(Outcome, String),
}

impl Ticket {
    /// Both numbers in one, as librdkafka carries it.
    pub(crate) fn into_opaque(self) -> usize {
        const { assert!(usize::BITS >= 64) }
        (self.slab as usize) << 32 | self.record as usize
    }

    /// The reverse.
    pub(crate) fn from_opaque(opaque: usize) -> Self {
        Self {
            slab: (opaque >> 32) as u32,
            record: opaque as u32,
        }
    }
}

impl InFlight {
    pub(crate) fn new(topics: Known) -> Self {
        Self {
            slabs: Arc::default(),
            topics,
        }
    }

    /// A slab of which nothing is reported yet; its number.
    pub(crate) fn begin(&self, flight: Flight) -> u32 {
        // What a gateway may have in flight is far below four thousand million slabs.
        self.lock().insert(flight) as u32
    }

    /// Takes the report of a record; with the last one the receipt leaves.
    pub(crate) fn report(&self, ticket: Ticket, report: Report) {
        let number = ticket.slab as usize;
        let mut slabs = self.lock();
        let Some(flight) = slabs.get_mut(number) else {
            tracing::error!(?ticket, "a delivery report for no slab: this is a bug");
            return;
        };
        let record = ticket.record as usize;
        match report {
            Report::Stored(offset) => flight.stored(record..record + 1, offset),
            Report::Failed(outcome, detail) => flight.failed(record..record + 1, outcome, &detail),
        }
        if flight.is_complete() {
            let flight = slabs.remove(number);
            drop(slabs);
            flight.send(&self.topics, None);
        }
    }

    fn lock(&self) -> MutexGuard<'_, slab::Slab<Flight>> {
        self.slabs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
