//! The poll loop: takes records, and looks at everything else in between.

use aguacero::{conditions::Condition, log_limiter};
use std::{
    mem::ManuallyDrop,
    panic::{AssertUnwindSafe, catch_unwind},
    thread,
    time::{Duration, Instant},
};

use anyhow::Context;
use rdkafka::{
    consumer::{CommitMode, Consumer},
    error::KafkaError,
};

use super::{partition::Partition, probe::is_unreadable, state::Poller};
use crate::{metric, sink::Sink};

/// How long `poll` waits when there is nothing to do.
const IDLE: Duration = Duration::from_millis(100);
/// The same while the sink has something: as long as it has been waited for already, within these bounds. A wait costs
/// as much as three records.
pub(super) const BUSY: Duration = Duration::from_millis(1);
const BUSY_MAX: Duration = Duration::from_millis(4);
/// Records that are taken before anything else is looked at.
const BURST: usize = 1000;
/// How often offsets are committed.
const COMMIT_INTERVAL: Duration = Duration::from_secs(1);

impl<S: Sink> Poller<S> {
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
        self.consumer.subscribe(&self.config.topic_names())?;
        while !self.shutdown.is_requested() {
            self.wait()?;
            self.rebalance();
            if self.collect() {
                self.busy_wait = BUSY;
            }
            self.look_at_topics()?;
            self.hear();
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
        let is_busy =
            |p: &Partition| p.in_flight.is_some() || p.source.is_none() && p.asked.is_some();
        let busy = self.partitions.values().any(is_busy);
        let mut timeout = if busy { self.busy_wait } else { IDLE };
        let consumer = self.consumer.clone();
        for i in 0..BURST {
            match consumer.poll(timeout) {
                None if i == 0 && busy => {
                    self.busy_wait = (2 * self.busy_wait).min(BUSY_MAX);
                    break;
                }
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
                    self.unreadable |= error.rdkafka_error_code().is_some_and(is_unreadable);
                    consumer.context().bootstrap.note(&error);
                    // By its text: librdkafka repeats itself while the broker is away.
                    log_limiter::repeated("Kafka cannot be polled", &error.to_string(), &"");
                }
            }
            timeout = Duration::ZERO;
        }
        let (context, brokers) = (consumer.context(), &self.config.kafka.brokers);
        context.bootstrap.mend(consumer.client(), brokers);
        Ok(())
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
        self.ask(true);
        self.publish();
        self.tell_stopped();
        metrics::gauge!(metric::ASSIGNED).set(self.partitions.len() as f64);
        let paused = self.partitions.values().filter(|p| p.paused).count();
        metrics::gauge!(metric::PAUSED).set(paused as f64);
    }

    /// Tells which partitions have stopped, until somebody lets them go on.
    fn tell_stopped(&mut self) {
        let stopped = self.partitions.values().filter(|p| p.stopped);
        let sink = &self.sink;
        let condition = |p: &Partition| {
            let (topic, at) = (&self.config.topics[p.topic].name, p.finished.unwrap_or(0));
            let number = p.number;
            Condition {
                labels: vec![("topic", topic.clone()), ("partition", number.to_string())],
                words: format!(
                    "topic {topic}, partition {number} has stopped at offset {at}: the log says why. {}",
                    sink.way_past(topic, number, at)
                ),
                value: 1.0,
            }
        };
        self.stopped.hold(stopped.map(condition).collect());
    }
}
