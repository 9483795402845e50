//! The connection to Redis, which comes back.

use std::time::Duration;

use aguacero::{
    config::Redis,
    ledger::{self, LedgerError},
    log_limiter,
};
use redis::aio::MultiplexedConnection;
use tokio::sync::watch;

use crate::metric;

/// How long one pipeline may take. Beyond it its outcome is unknown and it is repeated, which the
/// ledger makes harmless; so this is long enough for a Redis that is only busy.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);

/// What the log says while it is away.
const UNANSWERED: &str = "Redis does not take deltas: frames wait";

const PAUSE_FIRST: Duration = Duration::from_millis(20);
const PAUSE_LAST: Duration = Duration::from_secs(2);

/// Connects when it is needed and for as long as it takes.
pub(crate) struct Link {
    redis: Redis,
    connection: Option<MultiplexedConnection>,
    /// Before the next attempt; doubles until something succeeds.
    pause: Duration,
    /// Becomes true when Redis has been seen, and stays so.
    seen: watch::Sender<bool>,
}

impl Link {
    pub(crate) fn new(redis: &Redis, seen: watch::Sender<bool>) -> Self {
        metric::redis_connected(false);
        Self {
            redis: redis.clone(),
            connection: None,
            pause: PAUSE_FIRST,
            seen,
        }
    }

    pub(crate) fn is_up(&self) -> bool {
        self.connection.is_some()
    }

    /// The connection, as soon as there is one. May be dropped and called again.
    pub(crate) async fn up(&mut self) -> MultiplexedConnection {
        loop {
            if let Some(connection) = &self.connection {
                return connection.clone();
            }
            match ledger::connect(&self.redis, RESPONSE_TIMEOUT).await {
                Ok(connection) => self.connected(connection),
                Err(error) => self.failed(&error).await,
            }
        }
    }

    fn connected(&mut self, connection: MultiplexedConnection) {
        self.connection = Some(connection);
        self.seen.send_replace(true);
        metric::redis_connected(true);
        tracing::debug!("connected to Redis");
    }

    /// Gives the connection up, and waits a little before the next one. Said once, not each time.
    pub(crate) async fn failed(&mut self, error: &LedgerError) {
        metric::redis_failed();
        metric::redis_connected(false);
        self.connection = None;
        log_limiter::repeated(UNANSWERED, "", error);
        let pause = self.pause;
        self.pause = (2 * pause).min(PAUSE_LAST);
        tokio::time::sleep(pause).await;
    }

    /// Redis has taken a whole pipeline.
    pub(crate) fn succeeded(&mut self) {
        self.pause = PAUSE_FIRST;
        log_limiter::ended(UNANSWERED, "");
    }
}
