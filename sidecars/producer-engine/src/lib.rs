//! A Kafka producer as pure state, without input, output, threads, clocks or `unsafe`.
//!
//! Whoever drives it gives it slabs ([`Slab`]), bytes that came from brokers, connections that opened and were lost, and
//! the time; it gives bytes for brokers, connections that it wants, receipts ([`Receipt`]) and the next deadline. So it can
//! be simulated with a random history for each seed, fuzzed, and compiled to WebAssembly.
//!
//! A slab's way through it: [`Engine::submit`] → a [`partition`]'s queue → a record batch ([`batch`]) in a Produce request
//! ([`protocol`]) → a [`connection`] to the partition's leader ([`cluster`]) → the broker's answer, judged by [`error`] →
//! its [`Receipt`].
//!
//! What it promises:
//! - An event is told stored only with the offset that the broker told for it.
//! - It is told not stored only if no byte of any attempt left, or a broker said of every attempt that it appended nothing.
//! - Everything else is told unknown.
//! - Batches of a partition enter its log in the order in which they were submitted, and each once, for as long as their
//!   receipts have not told otherwise.
#![forbid(unsafe_code)]

pub mod batch;
pub mod cluster;
pub mod compression;
pub mod connection;
pub mod engine;
pub mod error;
pub mod partition;
pub mod protocol;
pub mod receipt;
pub mod sasl;
pub mod settings;
pub mod slab;

pub use cluster::Address;
pub use compression::Compression;
pub use connection::ConnectionId;
pub use engine::{Action, Engine, Notice};
pub use receipt::{Outcome, Part, Receipt};
pub use settings::{Sasl, Settings};
pub use slab::{Record, Slab};

/// Time since a moment that whoever drives the engine has chosen; it never goes back.
pub type Time = std::time::Duration;
