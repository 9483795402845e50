//! Group commit into Redis: while one pipeline is in flight the next one collects.

use std::{sync::Arc, time::Instant};

use aguacero::{
    config::Config,
    ledger::{self, Applied, Entry, LedgerError, Part},
};
use aguacero_proto::deltas::DeltaAck;
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};

use crate::{link::Link, metric, problem::Problem, session::Acks};

/// Frames in one pipeline. What sessions may have read and not yet handed over is bounded by bytes.
const PIPELINE_FRAMES_MAX: usize = 256;

/// A frame on its way to Redis. Dropped anywhere, it is simply not acknowledged.
pub(crate) struct Work {
    pub(crate) run: [u8; 16],
    pub(crate) sequence: u64,
    pub(crate) parts: Vec<(usize, Vec<Entry>)>,
    pub(crate) problems: Vec<Problem>,
    /// Where its acknowledgement goes.
    pub(crate) acks: Acks,
    /// Its share of the bytes that may wait; free as soon as it is in Redis.
    pub(crate) bytes: OwnedSemaphorePermit,
    /// Its share of the frames that its session may have open; free when the ack has been sent.
    pub(crate) slot: OwnedSemaphorePermit,
    pub(crate) waiting: metric::Waiting,
}

/// From the sessions to the applier. When it is full, sessions wait and stop reading.
pub(crate) fn queue() -> (mpsc::Sender<Work>, mpsc::Receiver<Work>) {
    mpsc::channel(PIPELINE_FRAMES_MAX)
}

/// The one task that talks to Redis.
pub(crate) struct Applier {
    config: Arc<Config>,
    link: Link,
}

impl Applier {
    pub(crate) fn new(config: Arc<Config>, ready: watch::Sender<bool>) -> Self {
        let link = Link::new(&config.redis, ready);
        Self { config, link }
    }

    /// Applies and acknowledges frames in the order in which they come, until nobody can send more.
    pub(crate) async fn run(mut self, mut waiting: mpsc::Receiver<Work>) {
        let mut works = Vec::new();
        loop {
            let idle = !self.link.is_up();
            let taken = tokio::select! {
                taken = waiting.recv_many(&mut works, PIPELINE_FRAMES_MAX) => taken,
                _ = self.link.up(), if idle => continue,
            };
            if taken == 0 {
                return;
            }
            let began = Instant::now();
            self.apply(&mut works).await;
            metric::pipeline(taken, began.elapsed());
            for work in works.drain(..) {
                self.acknowledge(work);
            }
        }
    }

    /// Returns when every part of every frame is in Redis, or refused for good.
    async fn apply(&mut self, works: &mut [Work]) {
        let config = Arc::clone(&self.config);
        let mut left = Left::of(&config, works);
        while !left.parts.is_empty() {
            let mut redis = self.link.up().await;
            let pending_max = config.redis_writer.pending_max;
            let failure = match ledger::live(&mut redis, pending_max, &left.parts).await {
                Ok(outcomes) => left.sort_out(outcomes, works),
                Err(error) => Some(error),
            };
            match failure {
                Some(error) => self.link.failed(&error).await,
                None => self.link.succeeded(),
            }
        }
    }

    fn acknowledge(&mut self, work: Work) {
        for problem in &work.problems {
            problem.report();
        }
        let ack = DeltaAck {
            sequence: work.sequence,
            problems: work.problems.iter().map(ToString::to_string).collect(),
        };
        drop((work.bytes, work.waiting));
        // The gateway may be gone; then it repeats the frame or a new run begins.
        _ = work.acks.send((ack, work.slot));
    }
}

/// Parts that are not in Redis yet, and beside each the frame that it belongs to.
struct Left<'a> {
    parts: Vec<Part<'a>>,
    owners: Vec<usize>,
}

impl<'a> Left<'a> {
    fn of(config: &'a Config, works: &mut [Work]) -> Self {
        let mut left = Self {
            parts: Vec::new(),
            owners: Vec::new(),
        };
        for (owner, work) in works.iter_mut().enumerate() {
            for (index, entries) in work.parts.drain(..) {
                left.owners.push(owner);
                left.parts.push(Part {
                    stream: &config.streams[index],
                    run: work.run,
                    sequence: work.sequence,
                    entries,
                });
            }
        }
        left
    }

    /// Keeps the parts that another try can help, and says why one is needed.
    fn sort_out(
        &mut self,
        outcomes: Vec<Result<Applied, LedgerError>>,
        works: &mut [Work],
    ) -> Option<LedgerError> {
        let mut failure = None;
        let parts = std::mem::take(&mut self.parts).into_iter();
        let owners = std::mem::take(&mut self.owners).into_iter();
        for ((part, owner), outcome) in parts.zip(owners).zip(outcomes) {
            match outcome {
                Ok(applied) => metric::applied(applied),
                Err(error) if error.is_retryable() => {
                    self.parts.push(part);
                    self.owners.push(owner);
                    failure = Some(error);
                }
                Err(error) => works[owner]
                    .problems
                    .push(Problem::ledger(part.stream, &error)),
            }
        }
        failure
    }
}
