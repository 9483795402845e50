//! What stands between the poll loop and a store: a batch goes in, an outcome comes out.

use std::future::Future;

use aguacero::ledger::Position;

use crate::batch::{Batch, Source};

/// Makes batches permanent. MongoDB is one; another store needs only this.
///
/// The poll loop gives a sink one batch of a partition at a time, in order, and drops the future when
/// the partition is taken away: what was begun may then be finished or not, and another consumer
/// writes the same records again.
pub trait Sink: Send + Sync + 'static {
    /// Writes the batch, however long it takes: a store that is away is waited for. After
    /// [`Outcome::Finished`] the offsets are committed, and nobody reads these records again.
    fn write(&self, batch: Batch) -> impl Future<Output = Outcome> + Send;

    /// Where to begin to read a partition of the topic, asked whenever that is begun, however long it takes.
    fn resume(&self, topic: &str, position: &Position) -> impl Future<Output = Resume> + Send {
        _ = (topic, position);
        async { Resume::Committed }
    }

    /// The highest offset of a partition of which the store holds a record; none if it holds none, or does not say.
    fn last_archived(&self, source: &Source) -> impl Future<Output = Option<i64>> + Send {
        _ = source;
        async { None }
    }

    /// What an operator can do where a partition has stopped, if the cause cannot be mended.
    fn way_past(&self, topic: &str, partition: i32, at: i64) -> String {
        format!("To pass it over: consumer dead-letters pass-over {topic}/{partition}/{at}")
    }

    /// Where to go on if somebody wants the record at `at`, which this sink cannot handle, to be passed over.
    fn passed_over(&self, source: &Source, at: i64) -> impl Future<Output = Option<i64>> + Send {
        _ = (source, at);
        async { None }
    }
}

/// Where to begin to read a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resume {
    /// At the offset that the group has committed.
    Committed,
    /// At the beginning, whatever the group has committed.
    Beginning,
    /// At an offset, whatever the group has committed.
    At {
        /// The first record to read.
        next: i64,
        /// The leader epoch of the record before, if it is known.
        leader_epoch: Option<i32>,
    },
}

/// What became of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Every record is where it belongs.
    Finished,
    /// Every record below `at` is where it belongs. The one at `at` cannot be handled by this
    /// process: its partition stops there, and nothing is lost.
    Stopped {
        /// Offset of the record.
        at: i64,
        /// Why, and what to do about it.
        why: String,
    },
    /// Nothing was written, because the topic may have been made again: ask the broker first.
    Unsure,
}
