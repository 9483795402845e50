//! Partitions that come and go, and topics that are made again.

use std::time::{Duration, Instant};

use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, CommitMode, Consumer},
};

use super::{
    Doubt, Partition, Poller,
    group::{Change, Group},
    offsets, stopped_gauge,
};
use crate::{metric, sink::Sink};

/// A seek may take a round trip to the broker.
const SEEK_TIMEOUT: Duration = Duration::from_secs(2);

impl<S: Sink> Poller<S> {
    /// Acts on what the group has decided.
    pub(super) fn rebalance(&mut self) {
        for change in self.consumer.context().take_changes() {
            let partitions = &change.partitions;
            tracing::info!(given = change.given, ?partitions, "the group has decided");
            if change.given { self.given(&change) } else { self.taken(&change) }
            self.publish();
        }
    }

    fn given(&mut self, change: &Change) {
        let Some(committed) = self.committed(&change.partitions) else { return };
        let mut list = TopicPartitionList::with_capacity(committed.len());
        let view = self.views.borrow().clone();
        for committed in &committed {
            let Some(topic) = self.config.topics.iter().position(|t| t.name == committed.topic) else { continue };
            let mut partition = Partition::new(topic, committed.partition, Doubt::from(committed));
            if let Some(described) = view.topics.get(&committed.topic) {
                let start = partition.doubt.start(&described.incarnation);
                self.epochs += 1;
                partition.adopt(&described.incarnation, self.epochs, start);
            }
            if let Some(next) = partition.next {
                let lost = report_lost(&self.consumer, &committed.topic, committed.partition, next, i64::MAX);
                partition.next = Some(next + lost);
            }
            let start = partition.next.map_or(Offset::Beginning, Offset::Offset);
            _ = list.add_partition(&committed.topic, committed.partition).set_offset(start);
            self.partitions.insert((topic, committed.partition), partition);
        }
        if let Err(error) = self.consumer.incremental_assign(&list) {
            tracing::error!(%error, "taking over partitions");
        }
        self.pause_and_resume();
    }

    /// What the group has committed: asked until it is known, since nothing can be done without it.
    fn committed(&self, partitions: &[(String, i32)]) -> Option<Vec<offsets::Committed>> {
        while !self.shutdown.is_requested() {
            match offsets::committed(&self.consumer, partitions) {
                Ok(committed) => return Some(committed),
                Err(error) => tracing::warn!(%error, "asking for the committed offsets: trying again"),
            }
        }
        None
    }

    fn taken(&mut self, change: &Change) {
        let lost = self.consumer.assignment_lost();
        let topics = &self.config.topics;
        let named = change.partitions.iter().filter_map(|(name, n)| Some((topics.iter().position(|t| t.name == *name)?, *n)));
        let keys: Vec<_> = named.collect();
        for key in &keys {
            if let Some(partition) = self.partitions.get_mut(key) {
                partition.leaving = true;
                partition.forget_waiting();
            }
        }
        if !lost {
            self.drain(&keys);
            self.commit(CommitMode::Sync);
        }
        let mut list = TopicPartitionList::with_capacity(change.partitions.len());
        for (topic, partition) in &change.partitions {
            list.add_partition(topic, *partition);
        }
        for key in keys {
            // What is still in flight is abandoned here: whoever has the partition next does it again.
            if self.partitions.remove(&key).is_some_and(|p| p.stopped) {
                stopped_gauge(&self.config.topics[key.0].name, key.1, false);
            }
        }
        if let Err(error) = self.consumer.incremental_unassign(&list).or_else(|_| self.consumer.unassign()) {
            tracing::error!(%error, "giving partitions up");
        }
    }

    /// Waits until the sink has finished what it has of these partitions, under the deadline.
    fn drain(&mut self, keys: &[(usize, i32)]) {
        let deadline = Instant::now() + self.config.consumer.drain_timeout;
        let busy = |partitions: &std::collections::HashMap<_, Partition>| {
            keys.iter().filter_map(|key| partitions.get(key)).any(|p| p.in_flight.is_some())
        };
        while busy(&self.partitions) {
            let Some(left) = deadline.checked_duration_since(Instant::now()) else {
                tracing::warn!("a batch did not finish in time and is abandoned; it will be done again");
                return;
            };
            if let Ok(done) = self.outcomes.recv_timeout(left) {
                self.finish(done);
            }
            self.hand_out();
        }
    }

    /// The end: finishes what is in flight, commits, and leaves the group (unless this process has a
    /// name of its own there: then the group keeps its partitions for it).
    pub(super) fn leave(mut self) {
        let keys: Vec<_> = self.partitions.keys().copied().collect();
        for partition in self.partitions.values_mut() {
            partition.leaving = true;
            partition.forget_waiting();
        }
        self.drain(&keys);
        self.commit(CommitMode::Sync);
        self.consumer.context().leave();
    }

    /// Acts on what the broker said about the topics.
    pub(super) fn look_at_topics(&mut self) {
        if !self.views.has_changed().unwrap_or(false) {
            return;
        }
        let view = self.views.borrow_and_update().clone();
        for partition in self.partitions.values_mut() {
            let topic = &self.config.topics[partition.topic].name;
            let Some(described) = view.topics.get(topic) else { continue };
            let start = match &partition.source {
                Some(source) if source.position.incarnation == described.incarnation => continue,
                None if view.round < partition.doubt.round => continue,
                Some(source) => {
                    let was = &source.position.incarnation;
                    tracing::warn!(topic, partition = partition.number, was, is = described.incarnation, "the topic was made again");
                    None
                }
                None => partition.doubt.start(&described.incarnation),
            };
            partition.hold(Doubt { round: 0, incarnation: Some(described.incarnation.clone()), resume: start });
            let offset = start.map_or(Offset::Beginning, Offset::Offset);
            if let Err(error) = self.consumer.seek(topic, partition.number, offset, SEEK_TIMEOUT) {
                tracing::warn!(%error, topic, partition = partition.number, "seeking: trying again");
                continue;
            }
            self.epochs += 1;
            partition.adopt(&described.incarnation, self.epochs, start);
        }
        self.publish();
    }
}

impl Doubt {
    /// Where to begin, now that the incarnation is known; none: at the beginning.
    fn start(&self, incarnation: &str) -> Option<i64> {
        let same = self.incarnation.as_ref().is_none_or(|known| known == incarnation);
        self.resume.filter(|_| same)
    }
}

/// Says so if Kafka has deleted records between `next`, which should have come, and `came`, and how many.
pub(super) fn report_lost(consumer: &BaseConsumer<Group>, topic: &str, partition: i32, next: i64, came: i64) -> i64 {
    let lost = match offsets::log_range(consumer, topic, partition) {
        Ok((first, _)) => (first.min(came) - next).max(0),
        Err(error) => {
            tracing::warn!(%error, topic, partition, "asking where the log begins");
            return 0;
        }
    };
    if lost > 0 {
        tracing::error!(
            topic, partition, next, lost,
            "Kafka has deleted records that were not archived: its retention is shorter than this process was behind"
        );
        let labels = [("topic", topic.to_owned()), ("partition", partition.to_string())];
        metrics::counter!(metric::LOST, &labels).increment(lost.unsigned_abs());
    }
    lost
}

