//! Partitions that come and go.

use aguacero::log_limiter;
use std::time::Instant;

use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{CommitMode, Consumer},
};

use super::{
    group::Change,
    offsets,
    partition::{Partition, ResumePoint},
    state::Poller,
};
use crate::{metric, sink::Sink};

impl<S: Sink> Poller<S> {
    /// Acts on what the group has decided.
    pub(super) fn rebalance(&mut self) {
        for change in self.consumer.context().take_changes() {
            let partitions = numbers(&change.partitions);
            metric::rebalanced();
            tracing::info!(given = change.given, partitions, "the group has decided");
            if change.given {
                self.given(&change)
            } else {
                self.taken(&change)
            }
            self.publish();
        }
    }

    fn given(&mut self, change: &Change) {
        let mut list = TopicPartitionList::with_capacity(change.partitions.len());
        for committed in self.committed(&change.partitions) {
            let Some(topic) = self
                .config
                .topics
                .iter()
                .position(|t| t.name == committed.topic)
            else {
                continue;
            };
            // It is paused until it is known where to begin.
            let resume_point = ResumePoint::from(&committed);
            let start = resume_point
                .offset
                .map_or(Offset::Beginning, Offset::Offset);
            _ = list
                .add_partition(&committed.topic, committed.partition)
                .set_offset(start);
            let partition = Partition::new(topic, committed.partition, resume_point);
            self.partitions
                .insert((topic, committed.partition), partition);
        }
        if let Err(error) = self.consumer.incremental_assign(&list) {
            tracing::error!(%error, "taking over partitions");
        }
        self.pause_and_resume();
        self.ask(false);
    }

    /// What the group has committed: asked until it is known, since nothing can be done without it.
    fn committed(&self, partitions: &[(String, i32)]) -> Vec<offsets::Committed> {
        while !self.shutdown.is_requested() {
            match offsets::committed(&self.consumer, partitions) {
                Ok(committed) => return committed,
                Err(error) => {
                    log_limiter::repeated("Kafka does not tell the committed offsets", "", &error);
                }
            }
        }
        Vec::new()
    }

    fn taken(&mut self, change: &Change) {
        let topics = &self.config.topics;
        let index = |name: &str| topics.iter().position(|t| t.name == name);
        let keys: Vec<_> = change
            .partitions
            .iter()
            .filter_map(|(name, n)| Some((index(name)?, *n)))
            .collect();
        // Others may have them already, if the group has thrown this process out.
        if !self.consumer.assignment_lost() {
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
                metric::stopped(&self.config.topics[key.0].name, key.1, false);
            }
        }
        if let Err(error) = self
            .consumer
            .incremental_unassign(&list)
            .or_else(|_| self.consumer.unassign())
        {
            tracing::error!(%error, "giving partitions up");
        }
    }

    /// Lets the sink finish what it has of these partitions, under the deadline.
    fn drain(&mut self, keys: &[(usize, i32)]) {
        let deadline = Instant::now() + self.config.consumer.drain_timeout;
        for key in keys {
            if let Some(partition) = self.partitions.get_mut(key) {
                partition.leaving = true;
                partition.forget_waiting();
            }
        }
        while keys
            .iter()
            .filter_map(|key| self.partitions.get(key))
            .any(|p| p.in_flight.is_some())
        {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.outcomes.recv_timeout(left) {
                Ok(done) => self.finish(done),
                Err(_) => {
                    let detail = "it did not finish in time, and will be done again";
                    log_limiter::repeated("a batch is abandoned", "", &detail);
                    return;
                }
            }
            self.hand_out(); // the partitions that stay go on
        }
    }

    /// The end: finishes what is in flight, commits, and leaves the group (unless this process has a
    /// name of its own there: then the group keeps its partitions for it).
    pub(super) fn leave(&mut self) {
        let keys: Vec<_> = self.partitions.keys().copied().collect();
        self.drain(&keys);
        self.commit(CommitMode::Sync);
        self.stopped.hold(Vec::new());
        self.consumer.context().leave();
    }
}

/// `messages: 0-2, 4; others: 1`
fn numbers(partitions: &[(String, i32)]) -> String {
    let mut sorted: Vec<_> = partitions.iter().map(|(t, n)| (t.as_str(), *n)).collect();
    sorted.sort_unstable();
    let next_to = |a: &(&str, i32), b: &(&str, i32)| a.0 == b.0 && a.1 + 1 == b.1;
    let mut text = String::new();
    let mut topic = "";
    for run in sorted.chunk_by(next_to) {
        let (Some(&(name, first)), Some(&(_, last))) = (run.first(), run.last()) else {
            continue;
        };
        if name != topic {
            let separator = if topic.is_empty() { "" } else { "; " };
            text += &format!("{separator}{name}: ");
            topic = name;
        } else {
            text += ", ";
        }
        text += &first.to_string();
        if last != first {
            text += &format!("-{last}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_told_by_topic_and_in_ranges() {
        let told = |partitions: &[(&str, i32)]| {
            let owned: Vec<_> = partitions
                .iter()
                .map(|(t, n)| ((*t).to_owned(), *n))
                .collect();
            numbers(&owned)
        };
        assert_eq!(told(&[]), "");
        assert_eq!(told(&[("a", 3)]), "a: 3");
        assert_eq!(
            told(&[("b", 1), ("a", 4), ("a", 0), ("a", 2), ("a", 1), ("b", 2)]),
            "a: 0-2, 4; b: 1-2"
        );
    }
}
