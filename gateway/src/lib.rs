//! The gateway, in the order of an event's way through it; each folder is a stage.
//!
//! A [`worker`] is one thread with a runtime of its own; it owns its connections, its open slabs and its streams to
//! the producers, so that an event crosses no thread in here.
//!
//! 1. [`connection`]: accepted, secured, served as HTTP/1.1 or HTTP/2, closed.
//! 2. [`request`]: routed to a stream, let in by its key, its body read and expanded under limits.
//! 3. [`intake`]: the body is split into events, each is judged and given an id; when all are judged, the good
//!    ones are appended.
//! 4. [`batch`]: slabs of events leave in frames, and receipts come back.
//! 5. [`answer`]: the receipts decide what the client is told.
//! 6. [`live`]: what was stored is told to the counters.
//!
//! **A 200 means that every event of the request is in Kafka, written by all in-sync replicas.** 4xx
//! and 503 mean that it certainly is not, 504 that nobody can know; the answer carries the
//! `Idempotency-Key` under which sending the same body again is harmless.

pub mod app;
mod worker;

mod connection;

mod request;

mod intake;

mod batch;

mod answer;

mod live;

mod file_watch;
#[doc(hidden)]
pub mod fuzzing;
pub mod keys_command;
mod metric;
mod on_drop;
#[doc(hidden)]
pub mod stages;

pub use app::App;
