//! The counters in Redis, made equal to the archive: after every batch, and whenever Redis turns out to
//! know less than it should.
//!
//! Counters are a view: the archive never waits for them. What a batch has archived is noted for its
//! positions ([`ahead`]), and a task for each that has something to settle moves its watermark on
//! ([`follow`]), with `ledger::settle`, which has to be told from where. In the usual case the watermark is where
//! this process left it, and the batch says all that the archive holds beyond it. Otherwise, and after Redis
//! was away, the archive is asked, in steps.

mod ahead;
mod connection;
mod follow;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use aguacero::{
    config::{Config, Stream},
    ledger::{END, LedgerError, Look, Position, Settled},
    log_limiter,
};
use tokio::sync::watch;

use ahead::Ahead;
pub use ahead::Written;
pub use connection::Connection;

use crate::{
    archive::{Archive, Origin, Totals, explain_counters, is_timeout},
    batch::Source,
    metric,
    poll::{Assigned, Owned},
};

/// A stream (its place in the configuration) and a position of it.
type Key = (usize, Position);

/// What the log says of counters that are counted again.
pub const NEW_BELOW: &str = "events came below the watermark";

/// Settles the streams of all partitions.
pub struct Settler {
    config: Arc<Config>,
    archive: Arc<Archive>,
    redis: Connection,
    /// By position.
    ahead: Mutex<HashMap<Key, Ahead>>,
    /// Tasks that settle now.
    active: watch::Sender<usize>,
    /// What is counted, by stream; none while it is not there.
    origins: Mutex<Vec<Option<Origin>>>,
    /// Streams whose archive has changed below a watermark, and when that was last seen.
    stale: Mutex<HashMap<usize, Instant>>,
    /// What this process has; none in a command.
    assigned: OnceLock<watch::Receiver<Assigned>>,
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
    /// A part of the ledger is not as it was left.
    #[error("Redis has lost {0}, or somebody else has changed it: the stream will be counted anew")]
    Damaged(String),
    /// Redis shows what was counted from another archive.
    #[error("{0}")]
    Foreign(String),
    /// The collection is not there.
    #[error("the collection of the archive is not there yet")]
    NoArchive,
}

impl Failure {
    /// Whether Redis holds what no script can work on: text where a number should be.
    fn is_for_ever(&self) -> bool {
        matches!(self, Self::Ledger(error @ LedgerError::Redis(_)) if !error.is_retryable())
    }

    /// Whether somebody took too long, so that less might go.
    fn is_timeout(&self) -> bool {
        match self {
            Self::Ledger(LedgerError::Redis(error)) => error.is_timeout(),
            Self::Archive(error) => is_timeout(error),
            _ => false,
        }
    }
}

/// What a call to settle has come to.
enum Progress {
    Done,
    Found(Option<i64>),
    Most(i64),
}

impl Settler {
    /// Connects when it is first needed.
    #[must_use]
    pub fn new(config: Arc<Config>, archive: Arc<Archive>) -> Self {
        let redis = Connection::new(&config.redis);
        let origins = Mutex::new(vec![None; config.streams.len()]);
        Self {
            config,
            archive,
            redis,
            ahead: Mutex::default(),
            active: watch::Sender::new(0),
            origins,
            stale: Mutex::default(),
            assigned: OnceLock::new(),
        }
    }

    /// What every process was started with.
    #[must_use]
    pub fn config(&self) -> &Arc<Config> {
        &self.config
    }

    /// Where Redis is asked directly.
    #[must_use]
    pub fn redis(&self) -> &Connection {
        &self.redis
    }

    /// Tells which partitions this process has; once.
    pub fn owns(&self, assigned: watch::Receiver<Assigned>) {
        _ = self.assigned.set(assigned);
    }

    /// What is counted from now on.
    pub fn count_from(&self, origins: Vec<Option<Origin>>) {
        *self.origins.lock().unwrap_or_else(PoisonError::into_inner) = origins;
    }

    /// What is counted of `stream`.
    #[must_use]
    pub fn origin(&self, stream: &Stream) -> Option<Origin> {
        let origins = self.origins.lock().unwrap_or_else(PoisonError::into_inner);
        origins.get(stream.index).cloned().flatten()
    }

    /// Notes what a batch that ends at `to` has archived of `stream`; it is settled soon, and nobody waits.
    pub fn archived(
        self: &Arc<Self>,
        stream: &Stream,
        source: &Source,
        to: i64,
        batch: &Written<'_>,
    ) {
        let key = (stream.index, source.position.clone());
        self.with(&key, |ahead| {
            ahead.enter(source.epoch);
            if ahead.epoch == source.epoch {
                ahead.append(&self.archive, stream, to, batch);
            }
        });
        self.start(key);
    }

    /// Has a position of ours settled up to `to` from the archive, wherever its watermark is.
    pub fn catch_up(self: &Arc<Self>, stream: &Stream, source: &Source, to: i64) {
        let key = (stream.index, source.position.clone());
        self.with(&key, |ahead| {
            ahead.enter(source.epoch);
            if ahead.epoch == source.epoch {
                ahead.settle_again(to);
            }
        });
        self.start(key);
    }

    /// Settles what the archive holds of a position that is gone, and closes it.
    pub fn close(self: &Arc<Self>, stream: &Stream, position: &Position) {
        let key = (stream.index, position.clone());
        self.with(&key, |ahead| {
            ahead.ask_archive(END, None);
            ahead.left = None;
        });
        self.start(key);
    }

    /// Where this process left the watermark in this epoch of the partition, if it is not about to move it.
    #[must_use]
    pub fn left_at(&self, stream: &Stream, source: &Source) -> Option<i64> {
        self.with(&(stream.index, source.position.clone()), |ahead| {
            ahead.left.filter(|_| ahead.epoch == source.epoch)
        })
    }

    /// Whether a position is being settled now.
    #[must_use]
    pub fn is_busy(&self, stream: &Stream, position: &Position) -> bool {
        self.with(&(stream.index, position.clone()), |ahead| ahead.running)
    }

    /// Waits until nothing is being settled, for at most `timeout`.
    pub async fn idle(&self, timeout: Duration) {
        let mut active = self.active.subscribe();
        let idle = active.wait_for(|n| *n == 0);
        if tokio::time::timeout(timeout, idle).await.is_err() {
            let detail = "whoever has the partitions next settles them from the archive";
            log_limiter::repeated("counters are left unsettled", "", &detail);
        }
    }

    /// Settles from the archive alone, from wherever the watermark turns out to be, until it is at `to`.
    pub async fn settle_archived(
        &self,
        stream: &Stream,
        position: &Position,
        to: i64,
    ) -> Result<(), Failure> {
        let step = self.config.consumer.settle_step;
        let (mut from, mut until) = (self.watermark(stream, position).await?, to);
        while from < Some(to) {
            let totals = self.archive.totals(stream, position, (from, until), step);
            let totals = totals.await?;
            until = to;
            match self.settle(stream, position, from, &totals).await? {
                Progress::Done => from = Some(totals.to),
                Progress::Found(at) => from = at,
                Progress::Most(most) => until = most,
            }
        }
        Ok(())
    }

    /// Says if Redis shows counters of `stream` that are somebody else's.
    pub async fn foreign(&self, stream: &Stream) -> Result<Option<String>, Failure> {
        let look = self.look(stream, &[]).await?;
        let (counted, ours) = (look.origin.as_deref(), self.origin(stream));
        let counted = counted.and_then(Origin::parse);
        let theirs = counted
            .zip(ours)
            .filter(|(counted, ours)| !counted.is_ours(ours));
        Ok(theirs.map(|(theirs, ours)| explain_counters(&stream.name, &theirs, &ours)))
    }

    async fn watermark(
        &self,
        stream: &Stream,
        position: &Position,
    ) -> Result<Option<i64>, Failure> {
        let look = self.look(stream, std::slice::from_ref(position)).await?;
        Ok(look.of.first().and_then(|p| p.watermark))
    }

    /// How the stream's ledger stands.
    pub async fn look(&self, stream: &Stream, positions: &[Position]) -> Result<Look, Failure> {
        Ok(self.redis.look(stream, positions).await?)
    }

    async fn settle(
        &self,
        stream: &Stream,
        position: &Position,
        from: Option<i64>,
        totals: &Totals,
    ) -> Result<Progress, Failure> {
        let origin = self.origin(stream).ok_or(Failure::NoArchive)?;
        let name = origin.to_string();
        let settled = self.redis.settle(stream, position, from, totals, &name);
        Ok(match settled.await? {
            Settled::Done => Progress::Done,
            Settled::Found(at) => Progress::Found(at),
            Settled::Step(most) => Progress::Most(most),
            Settled::Damaged(part) => return Err(Failure::Damaged(part)),
            Settled::Origin(found) => return Err(foreign(stream, &found, &origin)),
        })
    }

    /// The archive has got something new below a watermark: the stream has to be counted anew. It is noted
    /// in Redis, so that it holds also if this process is killed now. A partition that this process has no
    /// longer is somebody else's, who has settled what this one had archived.
    async fn new_below(&self, stream: &Stream, position: &Position, epoch: u64) {
        if !self.has(position, epoch) {
            return;
        }
        let detail = format!("of {position}; the counters are begun again");
        log_limiter::repeated(NEW_BELOW, &stream.name, &detail);
        self.mark_stale(stream);
        self.want_recount(stream, NEW_BELOW).await;
    }

    async fn want_recount(&self, stream: &Stream, why: &str) {
        if let Err(error) = self.redis.want_recount(stream, why).await {
            log_limiter::repeated("Redis cannot be told to count anew", &stream.name, &error);
        }
    }

    /// Whether this process still has the partition; a command has none, and need not.
    fn has(&self, position: &Position, epoch: u64) -> bool {
        let is_ours = |o: &Owned| o.source.position == *position && o.source.epoch == epoch;
        let assigned = self.assigned.get();
        assigned.is_none_or(|assigned| assigned.borrow().owned.iter().any(is_ours))
    }

    fn mark_stale(&self, stream: &Stream) {
        self.stale
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(stream.index, Instant::now());
    }

    /// When something last came below a watermark of the stream.
    #[must_use]
    pub fn stale_since(&self, stream: &Stream) -> Option<Duration> {
        let stale = self.stale.lock().unwrap_or_else(PoisonError::into_inner);
        stale.get(&stream.index).map(Instant::elapsed)
    }

    /// Forgets everything that Redis shows of `stream`, if it is still of `generation`: whoever has a partition
    /// sees that its watermark is gone, and settles again. Says whether it did.
    pub async fn begin_again(
        &self,
        stream: &Stream,
        generation: Option<&str>,
    ) -> Result<bool, Failure> {
        let origin = self.origin(stream).map(|o| o.to_string());
        let cleared = self
            .redis
            .clear(stream, generation, origin.as_deref())
            .await?;
        if cleared {
            metrics::counter!(metric::RECOUNTED, "stream" => stream.name.clone()).increment(1);
        }
        let mut stale = self.stale.lock().unwrap_or_else(PoisonError::into_inner);
        stale.remove(&stream.index);
        Ok(cleared)
    }
}

/// Redis shows `found`: an earlier collection of the same archive, or somebody else's.
fn foreign(stream: &Stream, found: &str, ours: &Origin) -> Failure {
    match Origin::parse(found) {
        Some(found) if found.is_ours(ours) => Failure::Damaged("the origin".into()),
        Some(found) => Failure::Foreign(explain_counters(&stream.name, &found, ours)),
        None => Failure::Damaged("the origin".into()),
    }
}
