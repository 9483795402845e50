//! Whether repeats are likely: after one, they are looked for in the next batches before these are written, as a try that
//! fails leaves dead rows in PostgreSQL.

use std::sync::atomic::{AtomicU32, Ordering};

/// Batches after a repeat.
const LOOKS: u32 = 100;

/// How many of them are left.
#[derive(Debug, Default)]
pub(super) struct Repeats(AtomicU32);

impl Repeats {
    /// For the next batch.
    pub(super) fn are_likely(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }

    /// Whether a batch had one.
    pub(super) fn were_seen(&self, seen: bool) {
        let left = |left: u32| match seen {
            true => Some(LOOKS),
            false => left.checked_sub(1),
        };
        _ = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_repeat_they_are_looked_for_until_there_are_none_for_long() {
        let repeats = Repeats::default();
        assert!(!repeats.are_likely());
        repeats.were_seen(true);
        for _ in 0..LOOKS {
            assert!(repeats.are_likely());
            repeats.were_seen(false);
        }
        assert!(!repeats.are_likely());
        repeats.were_seen(false);
        assert!(!repeats.are_likely());
    }
}
