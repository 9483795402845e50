//! From Kafka into MongoDB, and the counters in Redis made exact.
//!
//! # The journey of a record
//! The poll loop ([`poll`]) appends it to its partition's [`batch`]. As soon as the partition's last
//! batch is done, this one goes to the [`sink`], which here is the [`archiver`]: every record is
//! [`decode`]d into a document or a dead letter, the documents are inserted into the [`archive`] under
//! their events' ids. Then, and only then, does the poll loop commit the offsets. What that adds to the
//! counters is counted from the very documents, and the counters in Redis are [`settle`]d to it by and by.
//!
//! Beside it, some things are checked every second ([`periodic`]), and an operator can look at dead letters,
//! replay them, and count a stream's archive anew ([`commands`]).
//!
//! # Where to begin
//! The modules below are in reading order: how the process starts, a record's way, what goes on beside it,
//! and what all of them use.
//!
//! # What is promised
//! - **An offset is committed only when every record below it is archived, with the majority and in the
//!   journal, or is a dead letter.** Whoever is killed in between, the records are read
//!   again, and the archive knows them by their ids.
//! - **The archive holds an event once.** The same id with another value is a dead letter, and so is what a rule of
//!   the archive's collection refuses.
//! - **Nothing is skipped.** A MongoDB that is away is waited for; a record of a later release or of an
//!   undeclared stream stops its partition, and only that one.
//! - **What Redis shows becomes what the archive holds**: after every batch, and within seconds after
//!   Redis was away, was emptied or has lost a part, after the archive's collection was dropped or a topic
//!   was made again. Nothing that is archived waits for it.

pub mod app;
pub mod process;
pub mod stores;

pub mod poll;

pub mod batch;
pub mod sink;

pub mod archiver;
pub mod decode;

pub mod archive;
pub mod settle;

pub mod postgres;
pub mod transaction;

pub mod tables;

pub mod periodic;

pub mod commands;

pub mod metric;
pub mod retry;

pub use app::App;
pub use commands::rebuild::rebuild;
