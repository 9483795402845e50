//! A connection to Redis that is made again after it failed.

use std::time::Duration;

use aguacero::{
    config::{Redis, Stream},
    ledger::{self, LedgerError, Position, Settled, Shown},
};
use redis::aio::MultiplexedConnection;
use tokio::sync::Mutex;

use crate::archive::Totals;

/// A Redis that saves to disk or settles a lot takes its time; every call may be repeated.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Shared by all partitions; their calls go out together.
pub struct Connection {
    redis: Redis,
    open: Mutex<Option<MultiplexedConnection>>,
}

impl Connection {
    /// Connects when it is first needed.
    #[must_use]
    pub fn new(redis: &Redis) -> Self {
        Self {
            redis: redis.clone(),
            open: Mutex::new(None),
        }
    }

    /// Whether Redis answers.
    pub async fn ping(&self) -> Result<(), LedgerError> {
        let mut con = self.get().await?;
        let pong = redis::cmd("PING").query_async(&mut con).await;
        self.checked(pong.map_err(LedgerError::from)).await
    }

    /// `ledger::watermarks`
    pub async fn watermarks(
        &self,
        stream: &Stream,
        positions: &[Position],
    ) -> Result<Vec<Option<i64>>, LedgerError> {
        let mut con = self.get().await?;
        self.checked(ledger::watermarks(&mut con, stream, positions).await)
            .await
    }

    /// `ledger::positions`
    pub async fn positions(&self, stream: &Stream) -> Result<Vec<Position>, LedgerError> {
        let mut con = self.get().await?;
        self.checked(ledger::positions(&mut con, stream).await)
            .await
    }

    /// `ledger::settle`
    pub async fn settle(
        &self,
        stream: &Stream,
        position: &Position,
        from: Option<i64>,
        totals: &Totals,
    ) -> Result<Settled, LedgerError> {
        let mut con = self.get().await?;
        let settled =
            ledger::settle(&mut con, stream, position, from, totals.to, &totals.deltas).await;
        self.checked(settled).await
    }

    /// `ledger::clear`
    pub async fn clear(&self, stream: &Stream) -> Result<(), LedgerError> {
        let mut con = self.get().await?;
        self.checked(ledger::clear(&mut con, stream).await).await
    }

    /// `ledger::shown`
    pub async fn shown(&self, stream: &Stream) -> Result<Shown, LedgerError> {
        let mut con = self.get().await?;
        self.checked(ledger::shown(&mut con, stream).await).await
    }

    async fn get(&self) -> Result<MultiplexedConnection, LedgerError> {
        let mut open = self.open.lock().await;
        if let Some(con) = &*open {
            return Ok(con.clone());
        }
        let con = ledger::connect(&self.redis, RESPONSE_TIMEOUT).await?;
        Ok(open.insert(con).clone())
    }

    /// Connects anew after a failure that may be the connection's.
    async fn checked<T>(&self, result: Result<T, LedgerError>) -> Result<T, LedgerError> {
        if result.as_ref().is_err_and(LedgerError::is_retryable) {
            *self.open.lock().await = None;
        }
        result
    }
}
