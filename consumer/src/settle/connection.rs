//! A connection to Redis that is made again after it failed.

use std::time::{Duration, Instant};

use aguacero::{
    config::{Redis, Stream},
    ledger::{self, LedgerError, Look, Position, Settled, Shown},
};
use redis::{ErrorKind, aio::MultiplexedConnection};
use tokio::sync::Mutex;

use crate::archive::Totals;

/// A Redis that saves to disk or settles a lot takes its time; every call may be repeated.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Until a Redis that has failed is asked again: of many that ask at once, one waits for it.
const RECONNECT_AFTER: Duration = Duration::from_millis(500);

/// Shared by all partitions; their calls go out together.
pub struct Connection {
    redis: Redis,
    state: Mutex<State>,
}

enum State {
    New,
    Open(MultiplexedConnection),
    Failed(Instant),
}

impl Connection {
    /// Connects when it is first needed.
    #[must_use]
    pub fn new(redis: &Redis) -> Self {
        Self {
            redis: redis.clone(),
            state: Mutex::new(State::New),
        }
    }

    /// Whether Redis answers.
    pub async fn ping(&self) -> Result<(), LedgerError> {
        let mut con = self.get().await?;
        let pong = redis::cmd("PING").query_async(&mut con).await;
        self.checked(pong.map_err(LedgerError::from)).await
    }

    /// `ledger::look`
    pub async fn look(&self, stream: &Stream, positions: &[Position]) -> Result<Look, LedgerError> {
        let mut con = self.get().await?;
        self.checked(ledger::look(&mut con, stream, positions).await)
            .await
    }

    /// `ledger::check`
    pub async fn check(&self, stream: &Stream) -> Result<Option<String>, LedgerError> {
        let mut con = self.get().await?;
        self.checked(ledger::check(&mut con, stream).await).await
    }

    /// `ledger::settle`
    pub async fn settle(
        &self,
        stream: &Stream,
        position: &Position,
        from: Option<i64>,
        totals: &Totals,
        origin: &str,
    ) -> Result<Settled, LedgerError> {
        let mut con = self.get().await?;
        let range = (from, totals.to);
        let deltas = &totals.deltas;
        let settled = ledger::settle(&mut con, stream, position, range, deltas, Some(origin)).await;
        self.checked(settled).await
    }

    /// `ledger::want_recount`
    pub async fn want_recount(&self, stream: &Stream, why: &str) -> Result<(), LedgerError> {
        let mut con = self.get().await?;
        self.checked(ledger::want_recount(&mut con, stream, why).await)
            .await
    }

    /// `ledger::clear`
    pub async fn clear(
        &self,
        stream: &Stream,
        generation: Option<&str>,
        origin: Option<&str>,
    ) -> Result<bool, LedgerError> {
        let mut con = self.get().await?;
        self.checked(ledger::clear(&mut con, stream, generation, origin).await)
            .await
    }

    /// `ledger::shown`
    pub async fn shown(&self, stream: &Stream) -> Result<Shown, LedgerError> {
        let mut con = self.get().await?;
        self.checked(ledger::shown(&mut con, stream).await).await
    }

    async fn get(&self) -> Result<MultiplexedConnection, LedgerError> {
        let mut state = self.state.lock().await;
        match &*state {
            State::Open(con) => return Ok(con.clone()),
            State::Failed(at) if at.elapsed() < RECONNECT_AFTER => {
                let why = "it has failed a moment ago";
                return Err(redis::RedisError::from((ErrorKind::Io, why)).into());
            }
            State::Failed(_) | State::New => {}
        }
        match ledger::connect(&self.redis, RESPONSE_TIMEOUT).await {
            Ok(con) => {
                *state = State::Open(con.clone());
                Ok(con)
            }
            Err(error) => {
                *state = State::Failed(Instant::now());
                Err(error)
            }
        }
    }

    /// Connects anew after a failure that may be the connection's.
    async fn checked<T>(&self, result: Result<T, LedgerError>) -> Result<T, LedgerError> {
        if result.as_ref().is_err_and(LedgerError::is_retryable) {
            *self.state.lock().await = State::Failed(Instant::now());
        }
        result
    }
}
