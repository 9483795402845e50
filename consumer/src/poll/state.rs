//! What the poll loop knows, and what the files beside share of it.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use aguacero::{conditions::Conditions, config::Config, log_limiter, shutdown::Shutdown};
use anyhow::Context as _;
use rdkafka::{
    TopicPartitionList,
    consumer::{BaseConsumer, CommitMode, Consumer as _},
};
use tokio::{
    runtime::Handle,
    sync::{Semaphore, watch},
};

use super::{
    group::{self, Group},
    incarnation::{Incarnations, View},
    logs::Answer,
    offsets,
    partition::{Done, Partition},
    run::BUSY,
};
use crate::{batch::Source, metric, sink::Sink};

/// How long a partition may be full before it is paused: pausing drops what librdkafka has fetched
/// ahead, so a sink that is merely slower than Kafka is waited for instead.
const PAUSE_AFTER: Duration = Duration::from_millis(500);

/// Questions about logs at the same time: those of a broker that does not answer take seconds.
const ASKED_MAX: usize = 16;

/// The partitions that the group has given to this process, as the rest of it sees them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Assigned {
    /// Those that are read.
    pub owned: Vec<Owned>,
    /// Those of which nobody knows yet, or any more, where to go on, as one without a leader: position in
    /// `Config::topics`, and number.
    pub uncertain: Vec<(usize, i32)>,
}

/// A partition that is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owned {
    /// What its records are stamped with.
    pub source: Arc<Source>,
    /// Every record below is archived and settled.
    pub finished: Option<i64>,
    /// The lowest offset that can come next: what is between `finished` and this waits or is in flight.
    pub next: Option<i64>,
    /// What the batch in flight is stamped with.
    pub in_flight: Option<Arc<Source>>,
}

/// The poll loop and everything that it knows.
pub struct Poller<S> {
    pub(super) config: Arc<Config>,
    pub(super) sink: Arc<S>,
    /// Where the sink runs.
    pub(super) runtime: Handle,
    pub(super) shutdown: Shutdown,
    pub(super) consumer: Arc<BaseConsumer<Group>>,
    pub(super) incarnations: Arc<Incarnations>,
    /// What the broker says about topics; marked as seen once it was acted upon.
    pub(super) views: watch::Receiver<View>,
    pub(super) partitions: HashMap<(usize, i32), Partition>,
    /// Rises with every [`Source`].
    pub(super) epochs: u64,
    /// The incarnation in which each topic was met first.
    pub(super) seen: HashMap<String, String>,
    /// From the sink; the sender is cloned for every batch.
    pub(super) outcomes: mpsc::Receiver<Done>,
    pub(super) done: mpsc::Sender<Done>,
    /// About logs; the sender is cloned for every question.
    pub(super) answers: mpsc::Receiver<Answer>,
    pub(super) heard: mpsc::Sender<Answer>,
    /// The questions that are asked take turns.
    pub(super) asking: Arc<Semaphore>,
    /// Questions put so far.
    pub(super) questions: u64,
    /// Something was met that cannot be read.
    pub(super) unreadable: bool,
    /// Topics (positions in `Config::topics`) that were seen compacted.
    pub(super) compacted: HashSet<usize>,
    pub(super) assigned: watch::Sender<Assigned>,
    pub(super) ticked: Instant,
    /// Partitions that have stopped.
    pub(super) stopped: Conditions,
    /// How long to wait for a record while the sink has something.
    pub(super) busy_wait: Duration,
}

/// Poll loops of this process so far: the epochs of each are above those of the ones before.
static LOOPS: AtomicU64 = AtomicU64::new(1);

impl<S: Sink> Poller<S> {
    /// Joins the group, in the background. Call it inside the runtime that the sink shall run in.
    pub fn new(
        config: Arc<Config>,
        sink: Arc<S>,
        incarnations: Arc<Incarnations>,
        assigned: watch::Sender<Assigned>,
        shutdown: Shutdown,
    ) -> anyhow::Result<Self> {
        let consumer = Arc::new(group::join(&config).context("joining the consumer group")?);
        let (done, outcomes) = mpsc::channel();
        let (heard, answers) = mpsc::channel();
        Ok(Self {
            consumer,
            sink,
            runtime: Handle::current(),
            shutdown,
            views: incarnations.subscribe(),
            incarnations,
            partitions: HashMap::new(),
            seen: HashMap::new(),
            epochs: LOOPS.fetch_add(1, Ordering::Relaxed) << 32,
            outcomes,
            done,
            answers,
            heard,
            asking: Arc::new(Semaphore::new(ASKED_MAX)),
            questions: 0,
            unreadable: false,
            compacted: HashSet::new(),
            assigned,
            ticked: Instant::now(),
            stopped: Conditions::new("a partition has stopped", metric::STOPPED),
            busy_wait: BUSY,
            config,
        })
    }

    /// What one partition may have in memory.
    pub(super) fn share(&self) -> usize {
        self.config.consumer.buffer_bytes_max / self.partitions.len().max(1)
    }

    /// Pauses the partitions that have had more than their share for some time, and resumes those that have
    /// room again.
    pub(super) fn pause_and_resume(&mut self) {
        let share = self.share();
        for partition in self.partitions.values_mut() {
            if partition.bytes() < share / 2 {
                partition.full_since = None;
            }
            let full = partition
                .full_since
                .is_some_and(|since| since.elapsed() > PAUSE_AFTER);
            let pause = full || partition.stopped || partition.source.is_none();
            if pause == partition.paused {
                continue;
            }
            let mut one = TopicPartitionList::with_capacity(1);
            one.add_partition(&self.config.topics[partition.topic].name, partition.number);
            let told = if pause {
                self.consumer.pause(&one)
            } else {
                self.consumer.resume(&one)
            };
            match told {
                Ok(()) => partition.paused = pause,
                Err(error) => tracing::debug!(%error, pause, "pausing or resuming"),
            }
        }
    }

    /// Commits what is finished; what fails is committed the next time.
    pub(super) fn commit(&mut self, mode: CommitMode) {
        if let Err(error) = offsets::commit(
            &self.consumer,
            &self.config,
            self.partitions.values_mut(),
            mode,
        ) {
            log_limiter::repeated("offsets cannot be committed", "", &error);
        }
    }

    /// Tells the rest of the process which partitions this one has, and how far they are.
    pub(super) fn publish(&self) {
        let mut assigned = Assigned::default();
        for partition in self.partitions.values() {
            let Some(source) = partition.source.clone() else {
                assigned.uncertain.push((partition.topic, partition.number));
                continue;
            };
            let in_flight = partition.in_flight.as_ref();
            assigned.owned.push(Owned {
                source,
                finished: partition.finished,
                next: partition.next,
                in_flight: in_flight.map(|f| f.source.clone()),
            });
        }
        self.assigned.send_replace(assigned);
    }
}
