//! How much was stored lately: the measure of what may wait.

use std::time::{Duration, Instant};

/// Bytes stored in the last window, estimated from two buckets: the one that fills, and as much of the
/// one before as the window still reaches.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    began: Instant,
    before: usize,
    bytes: usize,
}

impl Pace {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            began: now,
            before: 0,
            bytes: 0,
        }
    }

    /// So many bytes were stored.
    pub(crate) fn note(&mut self, bytes: usize, now: Instant, window: Duration) {
        self.roll(now, window);
        self.bytes += bytes;
    }

    /// Bytes stored within `window` before `now`.
    pub(crate) fn recent(&mut self, now: Instant, window: Duration) -> usize {
        self.roll(now, window);
        let elapsed = now.saturating_duration_since(self.began);
        let share = 1.0 - elapsed.as_secs_f64() / window.as_secs_f64();
        self.bytes + (self.before as f64 * share.clamp(0.0, 1.0)) as usize
    }

    fn roll(&mut self, now: Instant, window: Duration) {
        let elapsed = now.saturating_duration_since(self.began);
        if elapsed < window {
            return;
        }
        let is_next = elapsed < 2 * window;
        self.before = if is_next { self.bytes } else { 0 };
        self.began = if is_next { self.began + window } else { now };
        self.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn what_was_stored_counts_for_a_window_and_fades() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut pace = Pace::new(start);
        for ms in 0..1000 {
            pace.note(10, at(ms), SECOND);
        }
        assert_eq!(pace.recent(at(999), SECOND), 10_000);
        let faded = pace.recent(at(1500), SECOND);
        assert!((4_990..=5_010).contains(&faded), "{faded}");
        assert_eq!(pace.recent(at(2000), SECOND), 0);
        pace.note(7, at(60_000), SECOND);
        assert_eq!(pace.recent(at(60_001), SECOND), 7);
    }
}
