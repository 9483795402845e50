//! The ledger as it should be, in a few lines that know nothing of Redis.

use std::collections::HashMap;

use aguacero::{
    counts::Deltas,
    ledger::{Applied, Entry, Position, Settled},
};

use crate::fixture::PENDING_MAX;

/// Settled and pending, apart from each other.
#[derive(Default)]
pub(crate) struct Expected {
    watermark: HashMap<Position, i64>,
    /// The highest sequence of each run.
    seen: HashMap<u8, u64>,
    settled: Deltas,
    /// Somebody has asked to begin again.
    pub(crate) recount: bool,
    /// By last offset.
    pending: HashMap<Position, Vec<(i64, Deltas)>>,
}

impl Expected {
    /// A frame with one entry comes.
    pub(crate) fn live(&mut self, run: u8, sequence: u64, entry: &Entry) -> Applied {
        let seen = self.seen.entry(run).or_default();
        if sequence <= *seen {
            return Applied::Repeated;
        }
        *seen = sequence;
        let (mut pending, mut merged, mut settled) = (0, 0, 0);
        let position = &entry.position;
        if self
            .watermark
            .get(position)
            .is_some_and(|at| entry.first <= *at)
        {
            settled = 1;
        } else {
            let entries = self.pending.entry(position.clone()).or_default();
            if entries.len() < PENDING_MAX {
                entries.push((entry.last, entry.deltas.clone()));
                pending = 1;
            } else if let Some(newest) = entries.iter_mut().max_by_key(|(last, _)| *last) {
                newest.0 = newest.0.max(entry.last);
                add(&mut newest.1, &entry.deltas);
                merged = 1;
            }
        }
        Applied::Now {
            pending,
            merged,
            settled,
        }
    }

    /// A consumer settles.
    pub(crate) fn settle(
        &mut self,
        position: &Position,
        from: Option<i64>,
        to: i64,
        archived: &Deltas,
    ) -> Settled {
        if self.recount {
            return Settled::Damaged("recount".into());
        }
        let found = self.watermark.get(position).copied();
        if found != from {
            return Settled::Found(found);
        }
        if let Some(entries) = self.pending.get_mut(position) {
            entries.retain(|(last, _)| *last > to);
        }
        add(&mut self.settled, archived);
        self.watermark.insert(position.clone(), to);
        Settled::Done
    }

    /// All events, and those of each key of the first counter.
    pub(crate) fn shown(&self) -> (i64, HashMap<String, i64>) {
        let mut sum = self.settled.clone();
        for (_, deltas) in self.pending.values().flatten() {
            add(&mut sum, deltas);
        }
        let keys = sum.counters.into_iter().next().unwrap_or_default();
        let keys = keys.into_iter().map(|(key, n)| (key, n.cast_signed()));
        (sum.events.cast_signed(), keys.collect())
    }
}

fn add(to: &mut Deltas, deltas: &Deltas) {
    to.counters
        .resize_with(deltas.counters.len(), HashMap::default);
    to.merge(deltas.clone());
}
