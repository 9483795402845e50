//! `consumer tables`: events as rows of PostgreSQL, each once.
//!
//! A stream that declares a `table` has one. [`migrate`] makes and extends it, [`rows`] writes into it, in the transaction
//! of [`crate::transaction`] that also keeps the offsets.

mod copy;
pub mod migrate;
pub mod rows;

pub use rows::Rows;
