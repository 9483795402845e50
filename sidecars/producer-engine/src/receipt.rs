//! What became of a slab.

use std::ops::Range;

use uuid::Uuid;

/// What became of a slab, in parts that together cover every record of it, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt<S> {
    /// The slab.
    pub slab: S,
    /// Mostly one: a slab is one record batch, unless that would be larger than its topic allows.
    pub parts: Vec<Part>,
}

/// What became of consecutive records of a slab.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Positions in the slab.
    pub records: Range<usize>,
    /// What became of them.
    pub outcome: Outcome,
}

/// What became of records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// In the log: the first of them at this offset, each other one after the one before.
    Stored {
        /// As the broker told it.
        offset: i64,
        /// The id of the topic that the broker was asked by, and so the one that it wrote to; none where it does not take
        /// ids (before Kafka 4.1).
        topic: Option<Uuid>,
    },
    /// Not in the log, and why.
    NotStored(Reason),
    /// Not in the log, and never will be: larger than the topic allows.
    TooLarge(Reason),
    /// Perhaps in the log, perhaps not, and why nobody knows.
    Unknown(Reason),
}

/// Why records are not stored, or not known to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// Kafka's name of an error, or one of [`codes`].
    pub code: &'static str,
    /// What a person should know beside it.
    pub message: Option<String>,
}

/// Reasons that no broker has told.
pub mod codes {
    /// The time of a slab has passed before it left.
    pub const TIMED_OUT: &str = "TIMED_OUT";
    /// A connection was lost on which it had left.
    pub const CONNECTION_LOST: &str = "CONNECTION_LOST";
    /// So many bytes wait already as may.
    pub const QUEUE_FULL: &str = "QUEUE_FULL";
    /// No such topic or partition is known.
    pub const NOT_KNOWN: &str = "NOT_KNOWN";
    /// The broker has stored it and has not said where.
    pub const NO_OFFSET: &str = "NO_OFFSET";
    /// The records could not be encoded.
    pub const NOT_ENCODED: &str = "NOT_ENCODED";
    /// The broker has not said anything of it in its answer.
    pub const NOT_ANSWERED: &str = "NOT_ANSWERED";

    /// All of them.
    pub const ALL: [&str; 7] = [
        TIMED_OUT,
        CONNECTION_LOST,
        QUEUE_FULL,
        NOT_KNOWN,
        NO_OFFSET,
        NOT_ENCODED,
        NOT_ANSWERED,
    ];
}

impl Reason {
    /// Of one that has no words.
    #[must_use]
    pub fn of(code: &'static str) -> Self {
        Self {
            code,
            message: None,
        }
    }
}

impl std::fmt::Display for Reason {
    /// `INVALID_RECORD: the record has no key`
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.message {
            Some(message) => write!(f, "{}: {message}", self.code),
            None => f.write_str(self.code),
        }
    }
}
