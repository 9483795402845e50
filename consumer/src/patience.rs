//! How long the stores are waited for: by a process that runs for ever, and by somebody who wants one
//! thing and looks at the screen.

use std::{fmt::Display, time::Duration};

use anyhow::bail;
use tokio::time::{Instant, timeout_at};

use crate::backoff::Backoff;

/// How long a command waits that does one thing.
const ONE_THING: Duration = Duration::from_secs(30);
/// A century.
const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// Until when.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    until: Instant,
}

impl Patience {
    /// Of a process that has nothing to do without its stores.
    #[must_use]
    pub fn endless() -> Self {
        Self {
            until: Instant::now() + FOR_EVER,
        }
    }

    /// Of a command that does one thing.
    #[must_use]
    pub fn of_a_command() -> Self {
        Self {
            until: Instant::now() + ONE_THING,
        }
    }

    /// Tries until it succeeds; `what` tells the address.
    pub async fn until<T, E: Display, F: Future<Output = Result<T, E>>>(
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
                bail!("{what} is away, given up after {ONE_THING:?}: {why}");
            }
            backoff.after(&format!("waiting for {what}"), &why).await;
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
