//! The kafka-producer sidecar, in the order of a slab's way through it.
//!
//! The gateway connects to a Unix socket ([`app`]) and opens one stream for each of its workers
//! ([`session`]). A slab ([`slab_records`]) is given to the [`client`] of Kafka that the configuration names: the [`engine`],
//! which makes one record batch of it, or [`librdkafka`], which takes it record by record. When it is known of every
//! record what became of it, the slab's receipt goes back ([`receipt`]). Nothing is ever sent twice from here: a client's
//! own retries are idempotent, and what it gives up is reported as stored, not stored or unknown. Only the gateway
//! sends again.
//!
//! The wasm-producer is the same process but for the engine, which it has in WebAssembly ([`engine::Machine`]).

pub mod app;
pub mod client;
pub mod engine;
mod librdkafka;
mod metric;
mod receipt;
mod session;
#[doc(hidden)]
pub mod stages;
mod topics;

pub use app::{App, Process};
pub use client::Client;
pub use receipt::Flight;
pub use topics::Known;
