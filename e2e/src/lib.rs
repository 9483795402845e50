//! The harness of the end-to-end tests: the four real processes on real Kafka, MongoDB and Redis, and `consumer tables`
//! on real PostgreSQL where a test wants it.
//!
//! A test starts a [`Pipeline`] from a file of the repository or from one of its own. Topics, ports,
//! sockets, consumer group and databases are that test's alone, so tests run side by side. It sends
//! requests ([`client`], [`load`]), does to the processes whatever it wants to ([`process`]), and looks
//! at what the stores hold ([`kafka`], [`archive`], [`shown`], [`postgres`]). [`Pipeline::exact`] is the promise that
//! most tests end with. Nobody sleeps for luck: whatever takes its time is waited for
//! ([`eventually()`]), under a deadline.

pub mod archive;
pub mod bodies;
pub mod chaos;
pub mod client;
pub mod console;
mod declaration;
mod eventually;
mod exact;
pub mod frames;
mod interrupt;
pub mod json;
pub mod kafka;
pub mod load;
pub mod oracle;
pub mod outage;
pub mod overload;
mod pipeline;
pub mod postgres;
pub mod process;
pub mod progress;
pub mod redis_away;
mod repository;
pub mod rolling;
pub mod rows;
pub mod seed;
mod services;
pub mod shown;
pub mod wire;

pub use client::{Answer, Client, Request, raw};
pub use eventually::{DEADLINE, eventually, once};
pub use interrupt::unless_interrupted;
pub use pipeline::{Builder, Link, Pipeline, Pod, wasm_module};
pub use process::{Kind, Process};
pub use repository::{ON_THREE_BROKERS, edited, repository};
pub use services::Services;
