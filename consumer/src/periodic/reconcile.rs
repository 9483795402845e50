//! Every second: is what Redis shows still what the archive holds?
//!
//! A ledger that was damaged, or whose archive was dropped, is begun again. A Redis that was emptied, was
//! away, or came back from an older state, has watermarks that are missing or behind; they are settled again,
//! on idle partitions too, and so is what is pending below the end of what is archived, whosever record that
//! end was. The ledgers of a topic that was deleted and made again are closed: settled to the end of time, so
//! that what was counted live and never reached the archive is taken out. The owner of a partition does all
//! of it; where two believe they are that, the ledger's compare-and-set makes it harmless.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use aguacero::{
    conditions::{Condition, Conditions},
    config::{Config, Stream},
    kafka::Described,
    ledger::{END, Look, Position, Standing},
    log_limiter,
    shutdown::Shutdown,
};
use tokio::sync::watch;

use crate::{
    archive::{Archive, Origin, explain_counters},
    metric,
    poll::{Assigned, Incarnations, Owned},
    settle::{Failure, NEW_BELOW, Settler},
};

/// What the log says while it fails.
const UNCOMPARED: &str = "the counters cannot be compared with the archive";
/// Why counters begin again where somebody has dropped what they count, and what can be done about it.
const MADE_AGAIN: &str = "the archive's collection was dropped and made again: what it held is archived no more. What Kafka \
                          still has comes back if the consumers are stopped, the group's offsets set to the earliest, and \
                          the consumers started";
const INTERVAL: Duration = Duration::from_secs(1);
/// How old the list may be of the positions that the archive has.
const LIST_EVERY: Duration = Duration::from_secs(10);
/// How long nothing must have come below a watermark before the counters are begun again.
const QUIET: Duration = Duration::from_secs(2);
/// Since when a stream must be behind to be told of.
const TELL_AFTER: Duration = Duration::from_secs(30);
/// A stream that is damaged again and again is begun again as often as this at most.
const RECOUNT_EVERY: Duration = Duration::from_secs(30);
/// This often without a pause: an operator may delete one key after another.
const RECOUNTS_AT_ONCE: u32 = 10;

/// Makes the ledgers of all streams agree with the archive again.
pub struct Reconciler {
    /// Kafka's id of the cluster.
    cluster: String,
    archive: Arc<Archive>,
    settler: Arc<Settler>,
    incarnations: Arc<Incarnations>,
    assigned: watch::Receiver<Assigned>,
    streams: Vec<Known>,
    /// Ledgers of incarnations that were not the topic's a second ago, and which one was.
    suspects: HashMap<(usize, Position), String>,
    /// Streams that are behind for long.
    unsettled: Conditions,
}

/// What was known of a stream's ledgers a second ago.
#[derive(Default)]
struct Known {
    generation: String,
    /// Those that Redis held. They only become more, unless Redis was emptied.
    in_redis: BTreeSet<Position>,
    /// Those that the archive has documents of, when it was last asked.
    in_archive: BTreeSet<Position>,
    /// The partitions that this process had then.
    owned: BTreeSet<Position>,
    asked: Option<Instant>,
    /// Since when it is not settled.
    behind: Option<Instant>,
    /// Why it was not even looked at.
    failure: Option<String>,
    /// How often it was begun again since then.
    recounts: Option<(Instant, u32)>,
}

impl Reconciler {
    /// Of the parts that it needs.
    #[must_use]
    pub fn new(
        cluster: String,
        archive: Arc<Archive>,
        settler: Arc<Settler>,
        incarnations: Arc<Incarnations>,
        assigned: watch::Receiver<Assigned>,
    ) -> Self {
        let streams = settler
            .config()
            .streams
            .iter()
            .map(|_| Known::default())
            .collect();
        Self {
            cluster,
            archive,
            settler,
            incarnations,
            assigned,
            streams,
            suspects: HashMap::new(),
            unsettled: Conditions::new("counters are behind the archive", metric::UNSETTLED),
        }
    }

    /// Looks every second until the shutdown.
    pub async fn run(mut self, shutdown: Shutdown) {
        loop {
            let round = tokio::select! {
                round = self.round() => round,
                () = shutdown.requested() => return,
            };
            match round {
                Ok(()) => log_limiter::ended(UNCOMPARED, ""),
                Err(error) => log_limiter::repeated(UNCOMPARED, "", &error),
            }
            tokio::select! {
                () = tokio::time::sleep(INTERVAL) => {}
                () = shutdown.requested() => return,
            }
        }
    }

    /// One look at every stream. What fails for one of them does not keep the others waiting.
    async fn round(&mut self) -> Result<(), Failure> {
        let config = self.settler.config().clone();
        let owned = self.assigned.borrow_and_update().owned.clone();
        let mut result = Ok(());
        match self.archive.origins(&self.cluster).await {
            Ok(origins) => self.settler.count_from(origins),
            Err(error) => result = Err(error.into()),
        }
        let mut looked = Vec::new();
        for stream in &config.streams {
            let ours: Vec<_> = owned
                .iter()
                .filter(|o| o.source.topic == stream.topic)
                .collect();
            match self.reconcile(stream, &ours).await {
                Ok(Some(gone)) => looked.push((stream, ours, gone)),
                Ok(None) => {}
                Err(error) => {
                    self.behind(stream, true);
                    self.streams[stream.index].failure = Some(error.to_string());
                    result = result.and(Err(error));
                }
            }
        }
        self.tell(&config);
        // Asked after the ledgers were looked at: an incarnation that has a ledger was there before.
        let view = self.incarnations.after().await;
        let before = std::mem::take(&mut self.suspects);
        for (stream, ours, others) in looked {
            if let Some(topic) = view.topics.get(&config.topic_of(stream).name) {
                let closed = self.close_gone(stream, topic, &ours, others, &before);
                result = result.and(closed.await);
            }
        }
        result
    }

    /// Looks at the stream's ledgers, and has those of this process's partitions settled that are not.
    /// Returns how the others stand; none if the stream is begun again.
    async fn reconcile(
        &mut self,
        stream: &Stream,
        ours: &[&Owned],
    ) -> Result<Option<Vec<(Position, Standing)>>, Failure> {
        let Some(origin) = self.settler.origin(stream) else {
            return Ok(None); // it is made in a moment
        };
        let mut positions: Vec<_> = ours.iter().map(|o| o.source.position.clone()).collect();
        let known = &self.streams[stream.index];
        let others = known.in_redis.union(&known.in_archive).cloned();
        positions.extend(others);
        let look = self.settler.look(stream, &positions).await?;
        metric::pending(&stream.name, look.pending);
        if self.begin_again(stream, &look, &origin).await? {
            return Ok(None);
        }
        self.list(stream, &look, ours).await?;
        self.settler.go_on(stream);
        let mut unsettled = false;
        for (owned, standing) in ours.iter().zip(&look.of) {
            unsettled |= self.catch_up(stream, owned, standing).await?;
        }
        self.behind(stream, unsettled);
        self.streams[stream.index].failure = None;
        let others = positions.into_iter().zip(look.of).skip(ours.len());
        Ok(Some(others.collect()))
    }

    /// Begins the stream again if its ledger was damaged or if it counts what is there no more. Says whether
    /// there is nothing else to do about it for now.
    async fn begin_again(
        &mut self,
        stream: &Stream,
        look: &Look,
        origin: &Origin,
    ) -> Result<bool, Failure> {
        let counted = look.origin.as_deref().map(Origin::parse);
        let foreign = match &counted {
            Some(Some(counted)) => !counted.is_ours(origin),
            _ => false,
        };
        metric::foreign(&stream.name, foreign);
        if let (true, Some(Some(counted))) = (foreign, &counted) {
            return Err(Failure::Foreign(explain_counters(
                &stream.name,
                counted,
                origin,
            )));
        }
        let made_again = counted.is_some_and(|counted| counted.as_ref() != Some(origin));
        let why = match (&look.damage, &look.recount) {
            (Some(part), _) => format!("Redis has lost {part}, or somebody else has changed it"),
            (None, Some(why)) => why.clone(),
            (None, None) if self.settler.stale_since(stream).is_some() => NEW_BELOW.to_owned(),
            (None, None) if made_again => MADE_AGAIN.to_owned(),
            (None, None) => return Ok(false),
        };
        let waits = self.settler.stale_since(stream).is_some_and(|s| s < QUIET);
        if waits || !self.may_recount(stream) {
            return Ok(true);
        }
        log_limiter::repeated("counters are begun again", &stream.name, &why);
        let generation = Some(look.generation.as_str());
        self.settler.begin_again(stream, generation).await?;
        self.streams[stream.index].asked = None;
        Ok(true)
    }

    fn may_recount(&mut self, stream: &Stream) -> bool {
        let recounts = &mut self.streams[stream.index].recounts;
        let (since, n) = recounts
            .filter(|(since, _)| since.elapsed() < RECOUNT_EVERY)
            .unwrap_or((Instant::now(), 0));
        if n < RECOUNTS_AT_ONCE {
            *recounts = Some((since, n + 1));
        }
        n < RECOUNTS_AT_ONCE
    }

    /// Which ledgers there are. The archive is asked when Redis may have forgotten some, and now and then: what a
    /// process writes that is killed or has lost the partition may come late, and of a topic that is gone by then.
    async fn list(&mut self, stream: &Stream, look: &Look, ours: &[&Owned]) -> Result<(), Failure> {
        let in_redis: BTreeSet<_> = look.positions.iter().cloned().collect();
        let owned: BTreeSet<_> = ours.iter().map(|o| o.source.position.clone()).collect();
        let known = &mut self.streams[stream.index];
        let forgotten = !known.in_redis.is_subset(&in_redis);
        if forgotten && known.generation == look.generation {
            let detail = "they are settled again";
            log_limiter::repeated("Redis has lost ledgers", &stream.name, &detail);
        }
        let is_recent = known.asked.is_some_and(|at| at.elapsed() < LIST_EVERY);
        let is_same = known.generation == look.generation && known.owned == owned;
        if forgotten || !is_recent || !is_same {
            known.in_archive = self.archive.positions(stream).await?.into_iter().collect();
            known.asked = Some(Instant::now());
        }
        known.generation.clone_from(&look.generation);
        (known.in_redis, known.owned) = (in_redis, owned);
        Ok(())
    }

    /// Has a partition settled whose watermark is not where this process left it, or that has something
    /// pending below the end of what is archived. Says whether it is behind.
    async fn catch_up(
        &self,
        stream: &Stream,
        owned: &Owned,
        standing: &Standing,
    ) -> Result<bool, Failure> {
        let source = &owned.source;
        let last = owned.finished.map(|next| next - 1);
        let Some(last) = last.filter(|last| *last >= 0) else {
            return Ok(false);
        };
        let at = standing.watermark;
        if at >= Some(last) {
            return Ok(false);
        }
        let is_as_left = at.is_some() && at == self.settler.left_at(stream, source);
        let is_pending = standing.pending.is_some_and(|ends| ends <= last);
        if is_as_left && !is_pending {
            return Ok(false);
        }
        if self.settler.is_busy(stream, &source.position) {
            return Ok(true);
        }
        // Kafka may have lost the end of a log that is archived.
        let highest = match at {
            None => self.archive.highest(stream, &source.position).await?,
            Some(_) => None,
        };
        let beyond = highest.filter(|highest| owned.next.is_some_and(|next| *highest >= next));
        self.settler
            .catch_up(stream, source, beyond.unwrap_or(last));
        Ok(true)
    }

    /// Tells of the streams that have been behind for long.
    fn tell(&mut self, config: &Config) {
        let long = |known: &Known| known.behind.is_some_and(|at| at.elapsed() >= TELL_AFTER);
        let known = config.streams.iter().zip(&self.streams);
        let behind = known.filter(|(_, known)| long(known));
        let condition = |(stream, known): (&Stream, &Known)| Condition {
            labels: vec![("stream", stream.name.clone())],
            words: match &known.failure {
                Some(failure) => format!("stream {}: {failure}", stream.name),
                None => format!("stream {} is being settled from the archive", stream.name),
            },
            value: 1.0,
        };
        self.unsettled.hold(behind.map(condition).collect());
    }

    fn behind(&mut self, stream: &Stream, is_behind: bool) {
        let behind = &mut self.streams[stream.index].behind;
        *behind = is_behind.then(|| behind.unwrap_or_else(Instant::now));
        let seconds = behind.map_or(0.0, |since| since.elapsed().as_secs_f64());
        metric::counters_behind(&stream.name, seconds);
    }

    /// Closes the ledgers of incarnations that are gone, once that was seen twice, a second apart.
    async fn close_gone(
        &mut self,
        stream: &Stream,
        topic: &Described,
        ours: &[&Owned],
        others: Vec<(Position, Standing)>,
        before: &HashMap<(usize, Position), String>,
    ) -> Result<(), Failure> {
        let of_us = |p: &Position| {
            ours.iter()
                .any(|o| o.source.position.partition == p.partition % topic.partitions.max(1))
        };
        for (position, standing) in others {
            let is_closed = standing.watermark == Some(END);
            if !of_us(&position) {
                continue;
            }
            if position.incarnation == topic.incarnation {
                if is_closed {
                    tracing::error!(stream = stream.name, %position, "the ledger of a topic that is there was closed");
                    self.settler.begin_again(stream, None).await?;
                }
                continue;
            }
            if is_closed || ours.iter().any(|o| o.uses(&position.incarnation)) {
                continue;
            }
            let key = (stream.index, position);
            let is_gone = before.get(&key) == Some(&topic.incarnation);
            if is_gone && !self.settler.is_busy(stream, &key.1) {
                tracing::info!(stream = stream.name, position = %key.1, "closing the ledger of a topic that is gone, or is not the stream's any more");
                self.settler.close(stream, &key.1);
            }
            self.suspects.insert(key, topic.incarnation.clone());
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
