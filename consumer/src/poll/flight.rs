//! Batches on their way through the sink, one for each partition.

use std::{
    panic::AssertUnwindSafe,
    sync::{Arc, mpsc},
};

use aguacero::shutdown::{Shutdown, Trigger};
use futures_util::FutureExt;

use super::{Poller, append::count_polled, partition::Doubt, stopped_gauge};
use crate::{
    batch::{Batch, Source},
    sink::{Outcome, Sink},
};

/// A batch that the sink has. Dropping it tells the sink to let go.
pub(super) struct InFlight {
    pub(super) source: Arc<Source>,
    pub(super) bytes: usize,
    _abandon: Trigger,
}

/// What the sink's task sends back.
pub(super) struct Done {
    source: Arc<Source>,
    last: Option<i64>,
    outcome: Outcome,
}

impl<S: Sink> Poller<S> {
    /// Gives every sink that is free what its partition has.
    pub(super) fn hand_out(&mut self) {
        for partition in self.partitions.values_mut() {
            let Some(batch) = partition.take() else {
                continue;
            };
            count_polled(&self.config.topics[partition.topic].name, batch.len());
            let (trigger, abandoned) = Shutdown::new();
            let (source, bytes) = (batch.source.clone(), batch.size());
            partition.in_flight = Some(InFlight {
                source,
                bytes,
                _abandon: trigger,
            });
            self.runtime.spawn(write(
                self.sink.clone(),
                batch,
                abandoned,
                self.done.clone(),
            ));
        }
    }

    pub(super) fn collect(&mut self) {
        while let Ok(done) = self.outcomes.try_recv() {
            self.finish(done);
        }
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
            Outcome::Finished => {
                partition.finished = done.last.map(|last| last + 1).or(partition.finished)
            }
            Outcome::Stopped { at, why } => {
                let topic = &self.config.topics[key.0].name;
                tracing::error!(
                    topic,
                    partition = key.1,
                    offset = at,
                    "the partition stops here: {why}"
                );
                stopped_gauge(topic, key.1, true);
                (partition.finished, partition.stopped) = (Some(at), true);
                partition.forget_waiting();
            }
            Outcome::Unsure => {
                let incarnation = Some(done.source.position.incarnation.clone());
                let resume = partition.finished;
                partition.hold(Doubt {
                    round: self.incarnations.next_round(),
                    incarnation,
                    resume,
                });
            }
        }
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
        why:
            "a bug in the consumer (see the panic above): report it, with the record at this offset"
                .into(),
    });
    // An error means that the poll loop has ended.
    _ = done.send(Done {
        source,
        last,
        outcome,
    });
}
