//! From Kafka to the sink and back to Kafka as committed offsets: one thread, which never waits for
//! the sink.
//!
//! Records are appended to the batch that their partition has open ([`append`]). A partition whose sink
//! is free gives it what has come together in the meantime ([`flight`]): group commit, so nobody waits
//! for company. How far a partition is finished comes back over a channel, and is committed every
//! second and whenever the partition is taken away ([`rebalance`], [`offsets`]). While a sink stands
//! still its partition is paused and the thread goes on polling, so that the group keeps this process.
//! A topic that is made again is read from its beginning ([`topics`]).

mod append;
mod flight;
mod group;
mod headers;
mod offsets;
mod partition;
mod rebalance;
mod topics;

use std::{
    collections::HashMap,
    mem::ManuallyDrop,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use aguacero::{config::Config, shutdown::Shutdown};
use anyhow::Context;
use rdkafka::{
    TopicPartitionList,
    consumer::{BaseConsumer, CommitMode, Consumer},
    error::KafkaError,
};
use tokio::{runtime::Handle, sync::watch};

pub use group::client;
pub use offsets::{Committed, committed};

use crate::{
    batch::Source,
    incarnation::{Incarnations, View},
    metric,
    sink::Sink,
};
use flight::Done;
use group::Group;
use partition::Partition;

/// How long `poll` waits when there is nothing to do, and when the sink is about to answer.
const IDLE: Duration = Duration::from_millis(100);
const BUSY: Duration = Duration::from_millis(1);
/// Records that are taken before anything else is looked at.
const BURST: usize = 1000;
/// How long a partition may be full before it is paused: pausing drops what librdkafka has fetched
/// ahead, so a sink that is merely slower than Kafka is waited for instead.
const PATIENCE: Duration = Duration::from_millis(500);
/// Different errors of librdkafka that are logged in a minute, each once.
const COMPLAINTS_MAX: usize = 20;
/// How often offsets are committed.
const COMMIT_INTERVAL: Duration = Duration::from_secs(1);

/// A partition as the rest of the process sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owned {
    /// What its records are stamped with.
    pub source: Arc<Source>,
    /// Every record below is archived and settled.
    pub finished: Option<i64>,
    /// What the batch in flight is stamped with.
    pub in_flight: Option<Arc<Source>>,
}

/// The poll loop and everything that it knows.
pub struct Poller<S> {
    config: Arc<Config>,
    sink: Arc<S>,
    /// Where the sink runs.
    runtime: Handle,
    shutdown: Shutdown,
    consumer: Arc<BaseConsumer<Group>>,
    incarnations: Arc<Incarnations>,
    /// What the broker says about topics; marked as seen once it was acted upon.
    views: watch::Receiver<View>,
    partitions: HashMap<(usize, i32), Partition>,
    /// Rises with every [`Source`].
    epochs: u64,
    /// The incarnation in which each topic was met first.
    seen: HashMap<String, String>,
    /// From the sink; the sender is cloned for every batch.
    outcomes: mpsc::Receiver<Done>,
    done: mpsc::Sender<Done>,
    owned: watch::Sender<Vec<Owned>>,
    ticked: Instant,
    /// When each error was logged last: librdkafka repeats itself while the broker is away.
    complained: HashMap<String, Instant>,
}

/// Poll loops of this process so far: the epochs of each are above those of the ones before.
static LOOPS: AtomicU64 = AtomicU64::new(1);

impl<S: Sink> Poller<S> {
    /// Joins the group, in the background. Call it inside the runtime that the sink shall run in.
    pub fn new(
        config: Arc<Config>,
        sink: Arc<S>,
        incarnations: Arc<Incarnations>,
        owned: watch::Sender<Vec<Owned>>,
        shutdown: Shutdown,
    ) -> anyhow::Result<Self> {
        let consumer = Arc::new(group::join(&config).context("joining the consumer group")?);
        let (done, outcomes) = mpsc::channel();
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
            owned,
            ticked: Instant::now(),
            complained: HashMap::new(),
            config,
        })
    }

    /// Polls until the shutdown, then finishes what is in flight and leaves; the outer error is a panic.
    ///
    /// A poll loop that panics is leaked: dropping its consumer waits for partitions to be given back,
    /// which nobody does any more, so the panic would never be told.
    pub fn run(self) -> thread::Result<anyhow::Result<()>> {
        let mut poller = ManuallyDrop::new(self);
        let result = catch_unwind(AssertUnwindSafe(|| poller.poll_and_leave()))?;
        poller.consumer.context().leave(); // also after an error: dropping it gives partitions back
        drop(ManuallyDrop::into_inner(poller));
        Ok(result)
    }

    fn poll_and_leave(&mut self) -> anyhow::Result<()> {
        self.consumer.subscribe(&self.config.written_topics())?;
        while !self.shutdown.is_requested() {
            self.wait()?;
            self.rebalance();
            self.collect();
            self.look_at_topics()?;
            self.hand_out();
            self.pause_and_resume();
            if self.ticked.elapsed() >= COMMIT_INTERVAL {
                self.tick();
            }
        }
        self.leave();
        Ok(())
    }

    /// For a record, or for the sink.
    fn wait(&mut self) -> anyhow::Result<()> {
        if self
            .partitions
            .values()
            .any(|p| p.full_since.is_some() && !p.paused)
        {
            if let Ok(done) = self.outcomes.recv_timeout(BUSY) {
                self.finish(done);
            }
            return Ok(());
        }
        let busy = self.partitions.values().any(|p| p.in_flight.is_some());
        let mut timeout = if busy { BUSY } else { IDLE };
        let consumer = self.consumer.clone();
        for _ in 0..BURST {
            match consumer.poll(timeout) {
                None => break,
                Some(Ok(message)) => {
                    if self.append(&message) {
                        break;
                    }
                }
                Some(Err(error @ KafkaError::MessageConsumptionFatal(_))) => {
                    return Err(error).context("polling Kafka");
                }
                Some(Err(error)) => {
                    consumer.context().bootstrap.note(&error);
                    self.complain(&error);
                }
            }
            timeout = Duration::ZERO;
        }
        let (context, brokers) = (consumer.context(), &self.config.kafka.brokers);
        context.bootstrap.mend(consumer.client(), brokers);
        Ok(())
    }

    fn complain(&mut self, error: &KafkaError) {
        self.complained
            .retain(|_, at| at.elapsed() < Duration::from_secs(60));
        if self.complained.len() < COMPLAINTS_MAX
            && !self.complained.contains_key(&error.to_string())
        {
            self.complained.insert(error.to_string(), Instant::now());
            tracing::warn!(%error, "polling Kafka");
        }
    }

    /// What one partition may have in memory.
    fn share(&self) -> usize {
        self.config.consumer.buffer_bytes_max / self.partitions.len().max(1)
    }

    fn pause_and_resume(&mut self) {
        let share = self.share();
        for partition in self.partitions.values_mut() {
            if partition.bytes() < share / 2 {
                partition.full_since = None;
            }
            let full = partition
                .full_since
                .is_some_and(|since| since.elapsed() > PATIENCE);
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

    /// What is done every second.
    fn tick(&mut self) {
        self.ticked = Instant::now();
        if self.consumer.context().take_commit_failed() {
            self.partitions
                .values_mut()
                .for_each(|p| p.committed = None);
        }
        self.commit(CommitMode::Async);
        self.publish();
        metrics::gauge!(metric::ASSIGNED).set(self.partitions.len() as f64);
        let paused = self.partitions.values().filter(|p| p.paused).count();
        metrics::gauge!(metric::PAUSED).set(paused as f64);
    }

    fn commit(&mut self, mode: CommitMode) {
        if let Err(error) = offsets::commit(
            &self.consumer,
            &self.config,
            self.partitions.values_mut(),
            mode,
        ) {
            tracing::warn!(%error, "committing offsets: trying again");
        }
    }

    fn publish(&self) {
        let owned = |p: &Partition| {
            let in_flight = p.in_flight.as_ref().map(|f| f.source.clone());
            Some(Owned {
                source: p.source.clone()?,
                finished: p.finished,
                in_flight,
            })
        };
        self.owned
            .send_replace(self.partitions.values().filter_map(owned).collect());
    }
}

fn stopped_gauge(topic: &str, partition: i32, stopped: bool) {
    let labels = [
        ("topic", topic.to_owned()),
        ("partition", partition.to_string()),
    ];
    metrics::gauge!(metric::STOPPED, &labels).set(f64::from(u8::from(stopped)));
}
