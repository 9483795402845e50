//! From Kafka to the sink and back to Kafka as committed offsets: one thread, which never waits for
//! the sink.
//!
//! Records are appended to the batch that their partition has open. A partition whose sink is free gives
//! it what has come together in the meantime (group commit: nobody waits for company). How far a
//! partition is finished comes back over a channel, and is committed every second and whenever the
//! partition is taken away. While a sink stands still its partition is paused and the thread goes on
//! polling, so that the group keeps this process.

mod group;
mod offsets;
mod partition;
mod rebalance;

use std::{
    collections::HashMap,
    panic::AssertUnwindSafe,
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use aguacero::{config::Config, shutdown::Shutdown};
use anyhow::Context;
use futures_util::FutureExt;
use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, CommitMode, Consumer},
    error::KafkaError,
    message::{BorrowedMessage, Headers},
};
use tokio::{runtime::Handle, sync::watch};

pub use offsets::{Committed, committed};

use crate::{
    batch::{Batch, Source},
    incarnation::{Incarnations, View},
    metric,
    sink::{Outcome, Sink},
};
use group::Group;
use partition::{Doubt, InFlight, Partition};

/// How long `poll` waits when there is nothing to do, and when the sink is about to answer.
const IDLE: Duration = Duration::from_millis(100);
const BUSY: Duration = Duration::from_millis(1);
/// Records that are taken before anything else is looked at.
const BURST: usize = 1000;
/// How long a partition may be full before it is paused: pausing drops what librdkafka has fetched
/// ahead, so a sink that is merely slower than Kafka is waited for instead.
const PATIENCE: Duration = Duration::from_millis(500);
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
    runtime: Handle,
    shutdown: Shutdown,
    consumer: BaseConsumer<Group>,
    incarnations: Arc<Incarnations>,
    /// The latest view that was acted upon.
    views: watch::Receiver<View>,
    partitions: HashMap<(usize, i32), Partition>,
    /// Rises with every [`Source`].
    epochs: u64,
    outcomes: mpsc::Receiver<Done>,
    done: mpsc::Sender<Done>,
    owned: watch::Sender<Vec<Owned>>,
    ticked: Instant,
}

/// What the sink's task sends back.
struct Done {
    source: Arc<Source>,
    last: Option<i64>,
    outcome: Outcome,
}

impl<S: Sink> Poller<S> {
    /// Joins the group, in the background.
    pub fn new(
        config: Arc<Config>,
        sink: Arc<S>,
        incarnations: Arc<Incarnations>,
        owned: watch::Sender<Vec<Owned>>,
        shutdown: Shutdown,
    ) -> anyhow::Result<Self> {
        let consumer = group::join(&config).context("joining the consumer group")?;
        let (done, outcomes) = mpsc::channel();
        let mut views = incarnations.subscribe();
        views.mark_changed();
        Ok(Self {
            consumer,
            sink,
            runtime: Handle::current(),
            shutdown,
            views,
            incarnations,
            partitions: HashMap::new(),
            epochs: 0,
            outcomes,
            done,
            owned,
            ticked: Instant::now(),
            config,
        })
    }

    /// Polls until the shutdown, then finishes what is in flight and leaves.
    pub fn run(mut self) -> anyhow::Result<()> {
        let mut topics: Vec<_> = self.config.streams.iter().map(|s| self.config.topic_of(s).name.as_str()).collect();
        topics.sort_unstable();
        topics.dedup();
        self.consumer.subscribe(&topics)?;
        while !self.shutdown.is_requested() {
            self.wait()?;
            self.rebalance();
            self.collect();
            self.look_at_topics();
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
        let pressed = self.partitions.values().any(|p| p.full_since.is_some() && !p.paused);
        if pressed {
            if let Ok(done) = self.outcomes.recv_timeout(BUSY) {
                self.finish(done);
            }
            return Ok(());
        }
        let busy = self.partitions.values().any(|p| p.in_flight.is_some());
        let mut timeout = if busy { BUSY } else { IDLE };
        for _ in 0..BURST {
            match self.consumer.poll(timeout) {
                None => break,
                Some(Ok(message)) => {
                    if append(&self.config, &self.incarnations, &mut self.partitions, &self.consumer, &message) {
                        break;
                    }
                }
                Some(Err(error @ KafkaError::MessageConsumptionFatal(_))) => return Err(error).context("polling Kafka"),
                Some(Err(error)) => tracing::warn!(%error, "polling Kafka"),
            }
            timeout = Duration::ZERO;
        }
        Ok(())
    }

    fn collect(&mut self) {
        while let Ok(done) = self.outcomes.try_recv() {
            self.finish(done);
        }
    }

    fn finish(&mut self, done: Done) {
        let key = (done.source.topic, done.source.position.partition);
        // Of a partition that was taken away, or of an earlier time that it was here: no longer ours.
        let Some(partition) = self.partitions.get_mut(&key) else { return };
        if partition.in_flight.as_ref().is_none_or(|f| f.source.epoch != done.source.epoch) {
            return;
        }
        partition.in_flight = None;
        if partition.source.as_ref().is_none_or(|s| s.epoch != done.source.epoch) {
            return;
        }
        match done.outcome {
            Outcome::Finished => partition.finished = done.last.map(|last| last + 1).or(partition.finished),
            Outcome::Stopped { at, why } => {
                let topic = &self.config.topics[key.0].name;
                tracing::error!(topic, partition = key.1, offset = at, "the partition stops here: {why}");
                stopped_gauge(topic, key.1, true);
                (partition.finished, partition.stopped) = (Some(at), true);
                partition.forget_waiting();
            }
            Outcome::Unsure => {
                let doubt = Doubt {
                    round: self.incarnations.next_round(),
                    incarnation: Some(done.source.position.incarnation.clone()),
                    resume: partition.finished,
                };
                partition.hold(doubt);
            }
        }
    }

    /// Gives every sink that is free what its partition has.
    fn hand_out(&mut self) {
        for partition in self.partitions.values_mut() {
            let Some(batch) = partition.take() else { continue };
            let (trigger, abandoned) = Shutdown::new();
            partition.in_flight =
                Some(InFlight { source: batch.source.clone(), bytes: batch.size(), _abandon: trigger });
            self.runtime.spawn(write(self.sink.clone(), batch, abandoned, self.done.clone()));
        }
    }

    fn pause_and_resume(&mut self) {
        let share = self.config.consumer.buffer_bytes_max / self.partitions.len().max(1);
        for partition in self.partitions.values_mut() {
            if partition.bytes() < share / 2 {
                partition.full_since = None;
            }
            let full = partition.full_since.is_some_and(|since| since.elapsed() > PATIENCE);
            let pause = full || partition.stopped || partition.source.is_none();
            if pause != partition.paused {
                let one = list_of(&self.config, partition, Offset::Invalid);
                let told = if pause { self.consumer.pause(&one) } else { self.consumer.resume(&one) };
                match told {
                    Ok(()) => partition.paused = pause,
                    Err(error) => tracing::debug!(%error, pause, "pausing or resuming"),
                }
            }
        }
    }

    /// What is done every second.
    fn tick(&mut self) {
        self.ticked = Instant::now();
        if self.consumer.context().take_commit_failed() {
            self.partitions.values_mut().for_each(|p| p.committed = None);
        }
        self.commit(CommitMode::Async);
        self.publish();
        metrics::gauge!(metric::ASSIGNED).set(self.partitions.len() as f64);
        let paused = self.partitions.values().filter(|p| p.paused).count();
        metrics::gauge!(metric::PAUSED).set(paused as f64);
    }

    fn commit(&mut self, mode: CommitMode) {
        if let Err(error) = offsets::commit(&self.consumer, &self.config, self.partitions.values_mut(), mode) {
            tracing::warn!(%error, "committing offsets: trying again");
        }
    }

    fn publish(&self) {
        let owned = |p: &Partition| {
            let in_flight = p.in_flight.as_ref().map(|f| f.source.clone());
            Some(Owned { source: p.source.clone()?, finished: p.finished, in_flight })
        };
        self.owned.send_replace(self.partitions.values().filter_map(owned).collect());
    }
}

/// A batch on its way through the sink. A bug in the sink stops the partition, not the process.
async fn write<S: Sink>(sink: Arc<S>, batch: Batch, abandoned: Shutdown, done: mpsc::Sender<Done>) {
    let (source, first, last) = (batch.source.clone(), batch.first(), batch.last());
    let outcome = tokio::select! {
        () = abandoned.requested() => return,
        outcome = AssertUnwindSafe(sink.write(batch)).catch_unwind() => outcome,
    };
    let outcome = outcome.unwrap_or_else(|_| Outcome::Stopped {
        at: first.unwrap_or_default(),
        why: "a bug in the consumer (see the panic above): report it with the record at this offset".into(),
    });
    // An error means that the poll loop has ended.
    _ = done.send(Done { source, last, outcome });
}

/// Appends a record to its partition's batch; true when the partition has its share.
fn append(
    config: &Config,
    incarnations: &Incarnations,
    partitions: &mut HashMap<(usize, i32), Partition>,
    consumer: &BaseConsumer<Group>,
    message: &BorrowedMessage<'_>,
) -> bool {
    let share = config.consumer.buffer_bytes_max / partitions.len().max(1);
    let Some(topic) = config.topics.iter().position(|t| t.name == message.topic()) else { return false };
    let Some(partition) = partitions.get_mut(&(topic, message.partition())) else { return false };
    let Some(source) = partition.source.clone() else { return false };
    if partition.stopped || partition.leaving {
        return false;
    }
    let offset = message.offset();
    match partition.next {
        Some(next) if offset < next => {
            let (topic, partition_number) = (message.topic(), message.partition());
            tracing::error!(topic, partition = partition_number, next, offset, "Kafka's log has gone back: asking whether the topic was made again");
            let round = incarnations.next_round();
            let incarnation = Some(source.position.incarnation.clone());
            partition.hold(Doubt { round, incarnation, resume: Some(offset) });
            return false;
        }
        Some(next) if offset > next => {
            rebalance::report_lost(consumer, message.topic(), message.partition(), next, offset);
        }
        _ => {}
    }
    let (records_max, bytes_max) = (config.consumer.batch_records_max, config.consumer.batch_bytes_max);
    let Some(batch) = partition.open(records_max, bytes_max.min(share)) else { return false };
    let before = batch.size();
    let timestamp_ms = message.timestamp().to_millis().unwrap_or_default();
    let headers = message.headers();
    let headers = headers.iter().flat_map(|h| h.iter()).map(|h| (h.key, h.value));
    batch.push((offset, timestamp_ms), message.key(), message.payload(), headers);
    let bytes = batch.size() - before;
    partition.appended(offset, bytes);
    let full = partition.bytes() >= share;
    if full {
        partition.full_since.get_or_insert_with(Instant::now);
    }
    full
}

fn list_of(config: &Config, partition: &Partition, offset: Offset) -> TopicPartitionList {
    let mut list = TopicPartitionList::with_capacity(1);
    let mut element = list.add_partition(&config.topics[partition.topic].name, partition.number);
    _ = element.set_offset(offset);
    list
}

fn stopped_gauge(topic: &str, partition: i32, stopped: bool) {
    let labels = [("topic", topic.to_owned()), ("partition", partition.to_string())];
    metrics::gauge!(metric::STOPPED, &labels).set(f64::from(u8::from(stopped)));
}
