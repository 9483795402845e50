//! Into PostgreSQL exactly once: what is made of a batch's events, which events these were, and how far the partition is
//! finished go into one transaction.
//!
//! In reading order: a record's fields become [`Cell`]s ([`event`]); [`sink`] opens the transaction, leaves out what was
//! taken before ([`taken`]), hands the others to an [`Apply`] and narrows a refusal down to its event ([`refusal`]), keeps
//! what cannot be stored ([`dead_letters`]) and the offset ([`offsets`]), and commits.
//!
//! # What is promised
//! - **An event is applied once**, whoever is killed: its id lies in `aguacero.events` from the same commit on.
//! - **Nothing is skipped**: a partition is read from the offset in `aguacero.offsets`, whatever the group has committed.
//!   A server that is away is waited for. A database that was put back to an earlier state is filled from there.
//! - **What PostgreSQL refuses is a dead letter** with its message, in `aguacero.dead_letters`, while the others go in.

mod dead_letters;
mod event;
mod offsets;
mod refusal;
mod repeats;
mod schema;
mod sink;
mod taken;

use std::future::Future;

use deadpool_postgres::Transaction;

use crate::batch::Source;

pub use dead_letters::{StoredLetter, count, list, next, pass_over};
pub use event::{Cell, Event, Row};
pub use refusal::{Said, is_refusal, told};
pub use schema::{SCHEMA, missing};
pub use sink::{Retried, TransactionSink, told_of_pool};

/// What is done with new events, inside the transaction that also keeps the offsets.
pub trait Apply: Send + Sync + 'static {
    /// Whether events of this stream (position in `Config::streams`) concern it; others are passed by.
    fn wants(&self, stream: usize) -> bool;

    /// `events` are those of a batch that were not taken before, in the order of their offsets, each id once.
    ///
    /// Called again, perhaps with a part of them, if the transaction could not be committed or an event of them was
    /// refused; what was done before is rolled back then. An error of PostgreSQL that is about the data ([`is_refusal`])
    /// makes a dead letter of the event that causes it, every other is waited for.
    fn apply(
        &self,
        transaction: &Transaction<'_>,
        source: &Source,
        events: &[&Event],
    ) -> impl Future<Output = Result<(), tokio_postgres::Error>> + Send;

    /// After a commit; a process that is killed before this is not called again for it.
    fn committed(&self) -> impl Future<Output = ()> + Send {
        async {}
    }
}
