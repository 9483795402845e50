//! The redis-writer sidecar, in the order of a frame's way through it.
//!
//! The gateway connects to a Unix socket ([`app`]) with one WebSocket for each of its workers
//! (`session`) and sends frames of deltas: what the receipts of the last moments add to the
//! counters. A frame is checked against the declared streams (`frame`), waits until those before it
//! are in Redis, and is applied with all others that are ready by then, in one pipeline (`apply`).
//! Only then is it acknowledged.
//!
//! Frames may be lost, repeated and applied late: the ledger ([`aguacero::ledger`]) makes a repeated
//! one harmless, and the consumer's settle makes up for the others. So nothing is stored here. While
//! Redis is away, frames wait up to the bounds in `session`, then the socket is no longer read, and
//! the gateway merges what it has not sent.

pub mod app;
mod apply;
mod frame;
mod handshake;
mod link;
mod metric;
mod problem;
mod session;
#[doc(hidden)]
pub mod stages;
mod wire;

pub use app::App;
