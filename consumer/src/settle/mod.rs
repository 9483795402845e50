//! The counters in Redis, made equal to the archive: after every batch, and whenever Redis turns out to
//! know less than it should.
//!
//! `ledger::settle` moves a watermark from where the caller says that it is; here is where that
//! knowledge comes from. In the usual case the watermark is where this process left it, and the batch
//! that was just written says all that the archive holds beyond it. Otherwise the archive is asked.

mod advance;
mod connection;
mod memory;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use aguacero::{
    config::{Config, Stream},
    ledger::{LedgerError, Position},
    log_limiter,
};

use advance::Advance;
pub use connection::Connection;
use memory::Memory;
pub use memory::Written;

use crate::{archive::Archive, batch::Source, metric, retry::Backoff};

/// Settles the streams of all partitions.
pub struct Settler {
    config: Arc<Config>,
    archive: Arc<Archive>,
    redis: Connection,
    /// By stream and position: in which epoch, and up to where, this process settled last.
    left: Mutex<HashMap<(usize, Position), (u64, i64)>>,
    /// Streams whose archive has changed below a watermark, and when that was last seen.
    stale: Mutex<HashMap<usize, Instant>>,
}

/// Why something could not be settled for now.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Redis.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// MongoDB.
    #[error("MongoDB: {0}")]
    Archive(#[from] mongodb::error::Error),
}

impl Settler {
    /// Connects when it is first needed.
    #[must_use]
    pub fn new(config: Arc<Config>, archive: Arc<Archive>) -> Self {
        let redis = Connection::new(&config.redis);
        Self {
            config,
            archive,
            redis,
            left: Mutex::default(),
            stale: Mutex::default(),
        }
    }

    /// Where Redis is asked directly.
    #[must_use]
    pub fn redis(&self) -> &Connection {
        &self.redis
    }

    /// Where this process left the watermark in this epoch of the partition.
    #[must_use]
    pub fn left_at(&self, stream: &Stream, source: &Source) -> Option<i64> {
        let left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let &(epoch, at) = left.get(&(stream.index, source.position.clone()))?;
        (epoch == source.epoch).then_some(at)
    }

    fn leave_at(&self, stream: &Stream, source: &Source, at: i64) {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = left
            .entry((stream.index, source.position.clone()))
            .or_insert((source.epoch, at));
        if entry.0 < source.epoch || (entry.0 == source.epoch && entry.1 < at) {
            *entry = (source.epoch, at);
        }
    }

    /// Where the watermark is, as far as this process can know without settling. Waits for Redis.
    pub async fn watermark(&self, stream: &Stream, source: &Source) -> Option<i64> {
        if let Some(at) = self.left_at(stream, source) {
            return Some(at);
        }
        let mut backoff = Backoff::new();
        loop {
            match self
                .redis
                .watermarks(stream, std::slice::from_ref(&source.position))
                .await
            {
                Ok(found) => return found.first().copied().flatten(),
                Err(error) => {
                    backoff
                        .after("a watermark cannot be read", &stream.name, &error)
                        .await
                }
            }
        }
    }

    /// Settles `stream` up to `to`, the end of a batch that was just written, however long it takes.
    pub async fn settle_batch(
        &self,
        stream: &Stream,
        source: &Source,
        from: Option<i64>,
        to: i64,
        batch: &Written<'_>,
    ) {
        let new = batch.first_new(stream);
        let memory = self.left_at(stream, source).map(|left_at| Memory {
            archive: &self.archive,
            batch,
            left_at,
        });
        let mut advance = Advance {
            stream,
            position: &source.position,
            from,
            to,
            memory,
            found: from,
            tried: None,
        };
        let mut backoff = Backoff::new();
        while let Err(error) = self.advance(&mut advance).await {
            backoff
                .after("counters cannot be settled", &stream.name, &error)
                .await;
        }
        if advance.from == Some(to) {
            self.leave_at(stream, source, to);
        }
        if new.is_some_and(|new| advance.found >= Some(new)) {
            let detail = format!("of {}; the counters are begun again", source.position);
            log_limiter::repeated("events came below the watermark", &stream.name, &detail);
            self.mark_stale(stream);
        }
    }

    /// Settles from the archive alone, from `from` or wherever the watermark turns out to be.
    pub async fn settle_archived(
        &self,
        stream: &Stream,
        position: &Position,
        from: Option<i64>,
        to: i64,
    ) -> Result<(), Failure> {
        let mut advance = Advance {
            stream,
            position,
            from,
            to,
            memory: None,
            found: None,
            tried: None,
        };
        self.advance(&mut advance).await
    }

    /// The same, of a partition that this process has: it knows then where it left the watermark.
    pub async fn settle_owned(
        &self,
        stream: &Stream,
        source: &Source,
        from: Option<i64>,
        to: i64,
    ) -> Result<(), Failure> {
        self.settle_archived(stream, &source.position, from, to)
            .await?;
        self.leave_at(stream, source, to);
        Ok(())
    }

    fn mark_stale(&self, stream: &Stream) {
        self.stale
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(stream.index, Instant::now());
    }

    /// Streams to begin again, because nothing more has come below their watermarks for `quiet`.
    pub fn take_stale(&self, quiet: Duration) -> Vec<usize> {
        let mut stale = self.stale.lock().unwrap_or_else(PoisonError::into_inner);
        let streams: Vec<_> = stale
            .iter()
            .filter(|(_, seen)| seen.elapsed() >= quiet)
            .map(|(s, _)| *s)
            .collect();
        stale.retain(|stream, _| !streams.contains(stream));
        streams
    }

    /// Forgets everything that Redis shows of `stream`: whoever has a partition sees that its watermark
    /// is gone, and settles again.
    pub async fn clear(&self, stream: &Stream) -> Result<(), Failure> {
        let cleared = self.redis.clear(stream).await;
        if cleared.is_err() {
            self.mark_stale(stream);
        }
        cleared?;
        metrics::counter!(metric::RECOUNTED, "stream" => stream.name.clone()).increment(1);
        Ok(())
    }

    /// What every process was started with.
    #[must_use]
    pub fn config(&self) -> &Arc<Config> {
        &self.config
    }
}
