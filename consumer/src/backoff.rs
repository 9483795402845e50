//! How long to wait before trying again, and how often to say so.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(20);
const LAST: Duration = Duration::from_secs(2);

/// Doubles from 20 ms to 2 s.
#[derive(Debug)]
pub struct Backoff {
    delay: Duration,
    failures: u32,
}

impl Backoff {
    /// Before the first failure.
    #[must_use]
    pub fn new() -> Self {
        Self {
            delay: FIRST,
            failures: 0,
        }
    }

    /// Logs every failure whose number is a power of two, then waits, longer each time.
    pub async fn after(&mut self, what: &str, error: &impl std::fmt::Display) {
        self.failures += 1;
        if self.failures.is_power_of_two() {
            tracing::warn!(%error, failures = self.failures, "{what}: trying again");
        }
        tokio::time::sleep(self.delay).await;
        self.delay = (2 * self.delay).min(LAST);
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new()
    }
}
