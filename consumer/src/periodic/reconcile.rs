//! Every second: is what Redis shows still what the archive holds?
//!
//! A Redis that was emptied, or came back from an older state, has watermarks that are missing or
//! behind; they are settled again, on idle partitions too. The ledgers of a topic that was deleted and
//! made again are closed: settled to the end of time, so that what was counted live and never reached
//! the archive is taken out. The owner of a partition does both for it; where two believe they are
//! that, the ledger's compare-and-set makes it harmless.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use aguacero::{
    config::Stream,
    kafka::Described,
    ledger::{END, Position},
    log_limiter,
    shutdown::Shutdown,
};
use tokio::sync::watch;

use crate::{
    archive::Archive,
    poll::{Incarnations, Owned},
    settle::{Failure, Settler},
};

/// What the log says while it fails.
const UNCOMPARED: &str = "the counters cannot be compared with the archive";
const INTERVAL: Duration = Duration::from_secs(1);
/// How long nothing must have come below a watermark before the counters are begun again.
const QUIET: Duration = Duration::from_secs(2);

/// Makes the ledgers of all streams agree with the archive again.
pub struct Reconciler {
    archive: Arc<Archive>,
    settler: Arc<Settler>,
    incarnations: Arc<Incarnations>,
    owned: watch::Receiver<Vec<Owned>>,
    streams: Vec<Known>,
    /// Ledgers of incarnations that were not the topic's a second ago, and which one was.
    suspects: HashMap<(usize, Position), String>,
}

/// What was known of a stream's ledgers a second ago.
#[derive(Default)]
struct Known {
    /// Those that Redis held. They only become more, unless Redis was emptied.
    in_redis: BTreeSet<Position>,
    /// Those that the archive has documents of, when it was last asked.
    in_archive: BTreeSet<Position>,
    /// The partitions that this process had then.
    owned: BTreeSet<Position>,
    asked: bool,
}

impl Reconciler {
    /// Of the parts that it needs.
    #[must_use]
    pub fn new(
        archive: Arc<Archive>,
        settler: Arc<Settler>,
        incarnations: Arc<Incarnations>,
        owned: watch::Receiver<Vec<Owned>>,
    ) -> Self {
        let streams = settler
            .config()
            .streams
            .iter()
            .map(|_| Known::default())
            .collect();
        Self {
            archive,
            settler,
            incarnations,
            owned,
            streams,
            suspects: HashMap::new(),
        }
    }

    /// Looks every second until the shutdown.
    pub async fn run(mut self, shutdown: Shutdown) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(INTERVAL) => {}
                () = shutdown.requested() => return,
            }
            let round = tokio::select! {
                round = self.round() => round,
                () = shutdown.requested() => return,
            };
            match round {
                Ok(()) => log_limiter::ended(UNCOMPARED, ""),
                Err(error) => log_limiter::repeated(UNCOMPARED, "", &error),
            }
        }
    }

    /// One look at every stream. What fails for one of them does not keep the others waiting.
    async fn round(&mut self) -> Result<(), Failure> {
        let config = self.settler.config().clone();
        let owned = self.owned.borrow_and_update().clone();
        let mut result = Ok(());
        for stream in self.settler.take_stale(QUIET) {
            let name = &config.streams[stream].name;
            log_limiter::repeated("counters are begun again", name, &"from the archive");
            result = result.and(self.settler.clear(&config.streams[stream]).await);
        }
        let mut listed = Vec::new();
        for stream in &config.streams {
            let ours: Vec<_> = owned
                .iter()
                .filter(|o| o.source.topic == stream.topic)
                .collect();
            match self.reconcile(stream, &ours).await {
                Ok(()) => listed.push((stream, ours)),
                Err(error) => result = result.and(Err(error)),
            }
        }
        // Asked after the ledgers were listed: an incarnation that has a ledger was there before.
        let view = self.incarnations.after().await;
        let before = std::mem::take(&mut self.suspects);
        for (stream, ours) in listed {
            if let Some(topic) = view.topics.get(&config.topic_of(stream).name) {
                result = result.and(self.close_gone(stream, topic, &ours, &before).await);
            }
        }
        result
    }

    /// Lists the stream's ledgers, and settles those of this process's partitions that Redis has lost.
    async fn reconcile(&mut self, stream: &Stream, ours: &[&Owned]) -> Result<(), Failure> {
        self.list(stream, ours).await?;
        let positions: Vec<_> = ours.iter().map(|o| o.source.position.clone()).collect();
        let watermarks = self.settler.redis().watermarks(stream, &positions).await?;
        for (owned, at) in ours.iter().zip(watermarks) {
            self.catch_up(stream, owned, at).await?;
        }
        Ok(())
    }

    /// Which ledgers there are. The archive is asked when Redis may have forgotten some.
    async fn list(&mut self, stream: &Stream, ours: &[&Owned]) -> Result<(), Failure> {
        let in_redis: BTreeSet<_> = self
            .settler
            .redis()
            .positions(stream)
            .await?
            .into_iter()
            .collect();
        let owned: BTreeSet<_> = ours.iter().map(|o| o.source.position.clone()).collect();
        let known = &mut self.streams[stream.index];
        let forgotten = !known.in_redis.is_subset(&in_redis);
        if forgotten {
            let detail = "they are settled again";
            log_limiter::repeated("Redis has lost ledgers", &stream.name, &detail);
        }
        if forgotten || !known.asked || known.owned != owned {
            known.in_archive = self.archive.positions(stream).await?.into_iter().collect();
        }
        (known.in_redis, known.owned, known.asked) = (in_redis, owned, true);
        Ok(())
    }

    /// Settles what Redis has lost of a partition: it knows none of it, or less than this process left.
    async fn catch_up(
        &self,
        stream: &Stream,
        owned: &Owned,
        at: Option<i64>,
    ) -> Result<(), Failure> {
        let Some(last) = owned
            .finished
            .map(|next| next - 1)
            .filter(|last| *last >= 0)
        else {
            return Ok(());
        };
        let left = self.settler.left_at(stream, &owned.source);
        if at >= Some(last) || (at.is_some() && at == left) {
            return Ok(());
        }
        self.settler
            .settle_owned(stream, &owned.source, at, last)
            .await
    }

    /// Closes the ledgers of incarnations that are gone, once that was seen twice, a second apart.
    async fn close_gone(
        &mut self,
        stream: &Stream,
        topic: &Described,
        ours: &[&Owned],
        before: &HashMap<(usize, Position), String>,
    ) -> Result<(), Failure> {
        let known = &self.streams[stream.index];
        let of_us = |p: &&Position| {
            ours.iter()
                .any(|o| o.source.position.partition == p.partition % topic.partitions.max(1))
        };
        let positions: Vec<_> = known
            .in_redis
            .union(&known.in_archive)
            .filter(of_us)
            .cloned()
            .collect();
        let watermarks = self.settler.redis().watermarks(stream, &positions).await?;
        for (position, at) in positions.into_iter().zip(watermarks) {
            if position.incarnation == topic.incarnation {
                if at == Some(END) {
                    tracing::error!(stream = stream.name, %position, "the ledger of a topic that is there was closed");
                    self.settler.clear(stream).await?;
                }
                continue;
            }
            if at == Some(END) || ours.iter().any(|o| o.uses(&position.incarnation)) {
                continue;
            }
            let key = (stream.index, position);
            if before.get(&key) == Some(&topic.incarnation) {
                tracing::info!(stream = stream.name, position = %key.1, "closing the ledger of a topic that is gone");
                self.settler
                    .settle_archived(stream, &key.1, at, END)
                    .await?;
            } else {
                self.suspects.insert(key, topic.incarnation.clone());
            }
        }
        Ok(())
    }
}

impl Owned {
    /// Whether something is still stamped with `incarnation`.
    fn uses(&self, incarnation: &str) -> bool {
        let sources = [Some(&self.source), self.in_flight.as_ref()];
        sources
            .into_iter()
            .flatten()
            .any(|s| s.position.incarnation == incarnation)
    }
}
