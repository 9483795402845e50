//! How long to wait before trying again.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(20);
const LAST: Duration = Duration::from_secs(2);

/// Doubles from 20 ms to 2 s.
#[derive(Debug)]
pub struct Backoff(Duration);

impl Backoff {
    /// Before the first failure.
    #[must_use]
    pub fn new() -> Self {
        Self(FIRST)
    }

    /// Waits, and longer the next time.
    pub async fn wait(&mut self) {
        tokio::time::sleep(self.0).await;
        self.0 = (2 * self.0).min(LAST);
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new()
    }
}
