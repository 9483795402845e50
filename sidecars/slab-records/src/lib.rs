//! A gateway's slab, as whoever produces reads it: its columns ([`columns`]), and its records for the producer engine
//! ([`Job`]). It runs in the kafka-producer and, as WebAssembly, in the wasm-producer.
#![forbid(unsafe_code)]

pub mod columns;
mod job;

pub use job::Job;
