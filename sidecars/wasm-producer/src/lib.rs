//! The wasm-producer sidecar: the kafka-producer, with its engine as a WebAssembly module.
//!
//! Everything around the engine is the kafka-producer's own code: the stream of the gateway, receipts, topics, sockets and
//! TLS. The engine is a [`module`] that the configuration names by its SHA-256, compiled when the process starts. An
//! [`instance`] of it gets bytes and the time and nothing else; its memory is bounded, and so is the time of a call. The
//! [`machine`] is what the kafka-producer's driver takes for an engine: when the instance traps, everything in flight is
//! told unknown, and another begins; when the module is replaced, it begins when nothing is in flight.

mod instance;
mod machine;
mod metric;
mod module;
mod run;

pub use run::{check, run};
