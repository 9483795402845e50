//! Trying again what failed: how long to wait before, how often to say so, and when to give up.

use aguacero::log_limiter;
use std::{fmt::Display, time::Duration};

use anyhow::bail;
use tokio::time::{Instant, timeout_at};

const FIRST: Duration = Duration::from_millis(20);
const LAST: Duration = Duration::from_secs(2);

/// When a command gives up.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(30);
/// A century.
const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// Doubles from 20 ms to 2 s.
#[derive(Debug)]
pub struct Backoff {
    delay: Duration,
}

impl Backoff {
    /// Before the first failure.
    #[must_use]
    pub fn new() -> Self {
        Self { delay: FIRST }
    }

    /// Logs that `what` has failed `about` something, as often as [`log_limiter`] lets it, then waits, longer each time.
    pub async fn after(&mut self, what: &'static str, about: &str, error: &impl Display) {
        log_limiter::repeated(what, about, error);
        tokio::time::sleep(self.delay).await;
        self.delay = (2 * self.delay).min(LAST);
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new()
    }
}

/// Until when a store is tried to be reached.
#[derive(Debug, Clone, Copy)]
pub struct RetryLimit {
    limit: Duration,
    until: Instant,
}

impl RetryLimit {
    /// Never gives up: for a process that has nothing to do without its stores.
    #[must_use]
    pub fn endless() -> Self {
        Self::after(FOR_EVER)
    }

    /// For a command, at which somebody looks: 30 s from now.
    #[must_use]
    pub fn of_a_command() -> Self {
        Self::after(COMMAND_TIMEOUT)
    }

    /// So long from now.
    #[must_use]
    pub fn after(time: Duration) -> Self {
        Self {
            limit: time,
            until: Instant::now() + time,
        }
    }

    /// Tries until it succeeds; `what` tells the address. An error says that the limit is reached, and why
    /// the last attempt failed.
    pub async fn retry<T, E: Display, F: Future<Output = Result<T, E>>>(
        &self,
        what: &str,
        attempt: impl Fn() -> F,
    ) -> anyhow::Result<T> {
        let mut backoff = Backoff::new();
        loop {
            let why = match timeout_at(self.until, attempt()).await {
                Ok(Ok(done)) => return Ok(done),
                Ok(Err(error)) => error.to_string(),
                Err(_) => "no answer".to_owned(),
            };
            if Instant::now() >= self.until {
                bail!("{what} is away, given up after {:?}: {why}", self.limit);
            }
            let about = format!("waiting for {what}");
            backoff.after("a store is away", &about, &why).await;
        }
    }
}

/// Where `url` leads to: without a user's name and password, a database and options.
#[must_use]
pub fn hosts(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let rest = rest.rsplit_once('@').map_or(rest, |(_, hosts)| hosts);
    rest.split(['/', '?']).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_no_password() {
        for (url, address) in [
            ("redis://h:1/3", "h:1"),
            ("redis://:secret@h:1", "h:1"),
            ("mongodb://me:secret@a:1,b:2/?replicaSet=r", "a:1,b:2"),
            ("mongodb://me:se/cret@a:1", "a:1"),
            ("mongodb://a:1?tls=true", "a:1"),
        ] {
            assert_eq!(hosts(url), address);
        }
    }
}
