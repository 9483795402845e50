//! What a record becomes: a document for the archive, or a dead letter.
//!
//! [`decode`] reads the records of a batch one by one. [`document`] is how the archive holds an event,
//! [`dead_letter`] how it keeps a record that it can never hold as one.

pub mod dead_letter;
pub mod document;
mod records;

pub use document::uuid;
pub use records::{Decoded, Event, Raw, decode, decode_as};
