//! At a slow pace: do the counters that were settled agree with the archive, and what is shown with what was
//! settled?
//!
//! A ledger that was damaged shows so at once (see [`super::reconcile`]). Here is looked for what does not:
//! a figure that somebody else has changed, documents that somebody has deleted, an event that was archived
//! below a watermark just before a process was killed. Each partition is looked at when this process gets it,
//! and every `consumer.audit_interval_ms`.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use aguacero::{
    config::Stream,
    ledger::{Position, Standing},
    log_limiter,
    shutdown::Shutdown,
};
use tokio::sync::watch;

use crate::{
    archive::Archive,
    metric,
    poll::Assigned,
    settle::{Failure, Settler},
};

const INTERVAL: Duration = Duration::from_secs(1);
/// Offsets of which the documents are counted in one step, in less than a second.
const STEP: i64 = 200_000;
/// What the log says of a stream that has to be counted anew.
const DIFFERS: &str = "the counters differ from the archive";

/// Compares.
pub struct Auditor {
    archive: Arc<Archive>,
    settler: Arc<Settler>,
    assigned: watch::Receiver<Assigned>,
    /// In which epoch of its partition, and when, a position was compared.
    compared: HashMap<(usize, Position), (u64, Instant)>,
    /// When a stream's figures were.
    checked: HashMap<usize, Instant>,
}

impl Auditor {
    /// Of the parts that it needs.
    #[must_use]
    pub fn new(
        archive: Arc<Archive>,
        settler: Arc<Settler>,
        assigned: watch::Receiver<Assigned>,
    ) -> Self {
        Self {
            archive,
            settler,
            assigned,
            compared: HashMap::new(),
            checked: HashMap::new(),
        }
    }

    /// Compares until the shutdown. What cannot be compared now is told by whoever settles.
    pub async fn run(mut self, shutdown: Shutdown) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(INTERVAL) => {}
                () = shutdown.requested() => return,
            }
            let config = self.settler.config().clone();
            for stream in &config.streams {
                let compared = tokio::select! {
                    compared = self.stream(stream) => compared,
                    () = shutdown.requested() => return,
                };
                if let Err(error) = compared {
                    tracing::debug!(stream = stream.name, %error, "not compared");
                }
            }
        }
    }

    async fn stream(&mut self, stream: &Stream) -> Result<(), Failure> {
        let interval = self.settler.config().consumer.audit_interval;
        let assigned = self.assigned.borrow().clone();
        let ours = assigned
            .owned
            .iter()
            .filter(|o| o.source.topic == stream.topic);
        let epochs: HashMap<i32, u64> = ours
            .map(|o| (o.source.position.partition, o.source.epoch))
            .collect();
        let Some(origin) = self.settler.origin(stream).filter(|_| !epochs.is_empty()) else {
            return Ok(());
        };
        let look = self.settler.look(stream, &[]).await?;
        if look
            .origin
            .is_none_or(|counted| counted != origin.to_string())
        {
            return Ok(()); // somebody else's, or not begun yet
        }
        let checked = self.checked.get(&stream.index);
        if checked.is_none_or(|at| at.elapsed() >= interval) {
            self.checked.insert(stream.index, Instant::now());
            if let Some(counter) = self.settler.redis().check(stream).await? {
                let why = format!("the figures of {counter} are not what was added to them");
                return self.differs(stream, &why).await;
            }
        }
        for position in look.positions {
            let Some(&epoch) = epochs.get(&position.partition) else {
                continue;
            };
            let key = (stream.index, position);
            let compared = self.compared.get(&key);
            let is_due = |(e, at): &(u64, Instant)| *e != epoch || at.elapsed() >= interval;
            if compared.is_none_or(is_due) && self.position(stream, &key.1).await? {
                self.compared.insert(key, (epoch, Instant::now()));
            }
        }
        Ok(())
    }

    /// Says whether it was compared; what is being settled, or damaged, is not.
    async fn position(&self, stream: &Stream, position: &Position) -> Result<bool, Failure> {
        let look = self
            .settler
            .look(stream, std::slice::from_ref(position))
            .await?;
        let standing = look.of.first().copied().unwrap_or_default();
        let Standing {
            watermark: Some(to),
            events: Some(settled),
            ..
        } = standing
        else {
            return Ok(false);
        };
        if look.damage.is_some() || look.recount.is_some() {
            return Ok(false);
        }
        let highest = self.archive.highest(stream, position).await?;
        let end = highest.map_or(-1, |highest| highest.min(to));
        let (mut from, mut archived) = (-1, 0);
        while from < end {
            let started = Instant::now();
            let until = end.min(from + STEP);
            archived += self
                .archive
                .count(stream, position, (Some(from), until))
                .await?;
            from = until;
            // Nobody waits for it: MongoDB has at least as long for the others.
            tokio::time::sleep(started.elapsed()).await;
        }
        metrics::counter!(metric::AUDITED, "stream" => stream.name.clone()).increment(1);
        if archived == settled {
            return Ok(true);
        }
        let now = self.settler.look(stream, &[]).await?;
        if now.generation == look.generation && now.damage.is_none() {
            let why = format!(
                "of {position} up to offset {to} the archive holds {archived} events, and {settled} were settled"
            );
            self.differs(stream, &why).await?;
        }
        Ok(true)
    }

    async fn differs(&self, stream: &Stream, why: &str) -> Result<(), Failure> {
        log_limiter::repeated(DIFFERS, &stream.name, &why);
        Ok(self.settler.redis().want_recount(stream, why).await?)
    }
}
