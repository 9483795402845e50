//! Which events are accepted: one judgement for the gateway that answers 200 and the consumer that
//! archives, so that what is accepted can be archived.
//!
//! [`Decoder::decode`] holds for every stream: strict JSON, an object, and nothing that MongoDB could
//! not hold unchanged. [`fit`](fit::fit) holds an event against the fields that its stream declares.

mod decode;
pub mod fit;
pub mod grammar;
mod large;
mod plain;
mod unstorable;

pub use decode::{Array, DEPTH_MAX, Decoder, Document, Value, blank, string_end, trim};

/// Why an event is not accepted, for the client who can mend it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Whose rule it breaks.
    pub kind: Kind,
    /// The field at fault, as the event names it.
    pub field: Option<String>,
    /// Byte in the event where it was noticed.
    pub offset: Option<usize>,
    /// What is wrong and how to mend it.
    pub detail: String,
}

/// Whose rule a refused event breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Not JSON (RFC 8259), or not UTF-8.
    Malformed,
    /// JSON, but it does not fit the stream or cannot be archived unchanged.
    Unfit,
    /// More bytes than an event may have.
    TooLarge,
}

impl Refusal {
    /// Not JSON, noticed at `offset`.
    pub fn malformed(offset: usize, detail: impl Into<String>) -> Self {
        Self {
            kind: Kind::Malformed,
            field: None,
            offset: Some(offset),
            detail: detail.into(),
        }
    }

    /// JSON that does not fit.
    pub fn unfit(field: Option<&str>, detail: impl Into<String>) -> Self {
        Self {
            kind: Kind::Unfit,
            field: field.map(Into::into),
            offset: None,
            detail: detail.into(),
        }
    }

    fn at(mut self, offset: usize) -> Self {
        self.offset = Some(offset);
        self
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.detail)
    }
}
