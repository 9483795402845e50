//! Batches on their way through the sink, one for each partition.

use std::{
    panic::AssertUnwindSafe,
    sync::{Arc, mpsc},
};

use aguacero::shutdown::Shutdown;
use futures_util::FutureExt;

use super::{
    partition::{Done, InFlight},
    state::Poller,
};
use crate::{
    batch::{Batch, Source},
    metric,
    sink::{Outcome, Sink},
};

impl<S: Sink> Poller<S> {
    /// Gives every sink that is free what its partition has.
    pub(super) fn hand_out(&mut self) {
        for partition in self.partitions.values_mut() {
            let Some(batch) = partition.take() else {
                continue;
            };
            metric::polled(&self.config.topics[partition.topic].name, batch.len());
            let (trigger, abandoned) = Shutdown::new();
            let (source, bytes) = (batch.source.clone(), batch.size());
            partition.in_flight = Some(InFlight::new(source, bytes, trigger));
            self.runtime.spawn(write(
                self.sink.clone(),
                batch,
                abandoned,
                self.done.clone(),
            ));
        }
    }

    /// Whether the sink has answered.
    pub(super) fn collect(&mut self) -> bool {
        let mut any = false;
        while let Ok(done) = self.outcomes.try_recv() {
            self.finish(done);
            any = true;
        }
        any
    }

    pub(super) fn finish(&mut self, done: Done) {
        let key = (done.source.topic, done.source.position.partition);
        let ours = |source: &Arc<Source>| source.epoch == done.source.epoch;
        // Of a partition that was taken away, perhaps to come back: no longer ours.
        let Some(partition) = self.partitions.get_mut(&key) else {
            return;
        };
        if !partition
            .in_flight
            .as_ref()
            .is_some_and(|f| ours(&f.source))
        {
            return;
        }
        partition.in_flight = None;
        // Of a topic that was made again: says nothing about the one that is there.
        if !partition.source.as_ref().is_some_and(ours) {
            return;
        }
        match done.outcome {
            Outcome::Finished => partition.finish(done.last, done.leader_epoch),
            Outcome::Stopped { at, why } => {
                let topic = &self.config.topics[key.0].name;
                let why = format!("{why}. {}", self.sink.way_past(topic, key.1, at));
                partition.leader_epoch = done.leader_epoch.or(partition.leader_epoch);
                self.stop(key, at, &why);
            }
            Outcome::Unsure => {
                let unfinished = partition.unfinished(self.incarnations.next_round());
                partition.suspend(unfinished);
            }
        }
    }
}

/// A batch on its way through the sink. A bug in the sink stops the partition, not the process.
async fn write<S: Sink>(sink: Arc<S>, batch: Batch, abandoned: Shutdown, done: mpsc::Sender<Done>) {
    let (source, first, last) = (batch.source.clone(), batch.first(), batch.last());
    let leader_epoch = batch.leader_epoch;
    let outcome = tokio::select! {
        () = abandoned.requested() => return,
        outcome = AssertUnwindSafe(sink.write(batch)).catch_unwind() => outcome,
    };
    let outcome = outcome.unwrap_or_else(|_| Outcome::Stopped {
        at: first.unwrap_or_default(),
        why:
            "a bug in the consumer (see the panic above): report it, with the record at this offset"
                .into(),
    });
    // An error means that the poll loop has ended.
    _ = done.send(Done {
        source,
        last,
        leader_epoch,
        outcome,
    });
}
