//! The kafka-producer sidecar, in the order of a slab's way through it.
//!
//! The gateway connects to a Unix socket ([`app`]) and opens one stream for each of its workers
//! ([`session`]). Every record of a slab ([`columns`]) is given to librdkafka at once, with its partition
//! ([`produce`], [`records`]); when the last delivery report of a slab has come ([`reports`]), its receipt goes back
//! ([`receipt`]). Nothing is ever sent twice from here: librdkafka's own retries are idempotent, and
//! what it gives up is reported as stored, not stored or unknown. Only the gateway sends again.

pub mod app;
mod client;
mod columns;
mod engine;
mod librdkafka;
mod metric;
mod receipt;
mod session;
#[doc(hidden)]
pub mod stages;
mod topics;

pub use app::App;
