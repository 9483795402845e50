//! The values that conditions, keys and counters compare: one notion of equality and one text for
//! the JSON that the gateway reads, the TOML that declares, and the BSON that the consumer reads back.

use std::borrow::Cow;

/// A JSON value that is neither null nor a container.
#[derive(Debug, Clone, PartialEq)]
pub enum Scalar<'a> {
    /// Text.
    Str(Cow<'a, str>),
    /// `true` or `false`.
    Bool(bool),
    /// A number written without fraction or exponent.
    Int(i64),
    /// Any other number.
    Float(f64),
}

impl<'a> Scalar<'a> {
    /// [`Scalar::text`] of a value that is no longer needed.
    #[must_use]
    pub fn into_text(self) -> Cow<'a, str> {
        match self {
            Self::Str(s) => s,
            other => Cow::Owned(other.text().into_owned()),
        }
    }

    /// The text under which the value is a key: of a Kafka record, of a counter, of an event id.
    #[must_use]
    pub fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Str(s) => Cow::Borrowed(s),
            Self::Bool(true) => Cow::Borrowed("true"),
            Self::Bool(false) => Cow::Borrowed("false"),
            Self::Int(i) => Cow::Owned(i.to_string()),
            Self::Float(f) => Cow::Owned(f.to_string()),
        }
    }
}
