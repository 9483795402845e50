//! How many bytes may be on their way to Kafka, of all workers together.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// The budget, shared by the workers. A request takes from it before its events are appended, and what they hold is
/// given back with the receipts.
#[derive(Debug, Clone)]
pub(crate) struct Budget {
    max: usize,
    taken: Arc<AtomicUsize>,
}

impl Budget {
    pub(crate) fn new(max: usize) -> Self {
        Self {
            max,
            taken: Arc::default(),
        }
    }

    /// Takes `bytes`, if anything is left. Whoever comes then has all that it needs: else what is larger than the
    /// budget, or than the part that others leave, would never be taken whole. So one request at a time is beyond
    /// the bound.
    pub(crate) fn take(&self, bytes: usize) -> bool {
        let more = |taken| (taken < self.max).then_some(taken + bytes);
        let taken = self
            .taken
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        taken.is_ok()
    }

    /// What was taken for `estimated` bytes is for `bytes` now.
    pub(crate) fn correct(&self, estimated: usize, bytes: usize) {
        // Wraps where it is less, as the counter does.
        let difference = bytes.wrapping_sub(estimated);
        self.taken.fetch_add(difference, Ordering::Relaxed);
    }

    pub(crate) fn give_back(&self, bytes: usize) {
        self.taken.fetch_sub(bytes, Ordering::Relaxed);
    }

    #[cfg(test)]
    pub(super) fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }
}
