//! What an archived document adds to its stream's counters.
//!
//! Counting always reads the document and never the JSON, so that a batch that was just written and
//! one that is read back years later are counted by the same few lines. The gateway counts from the
//! JSON; both take the declared fields by the same rule ([`aguacero::accept::fit::Fields::find`]) and
//! the key from [`aguacero::config::Counter::key`].

use std::borrow::Cow;

use aguacero::{
    config::Stream,
    counts::Deltas,
    scalar::{LargeInt, Scalar},
};
use bson::{Document, RawBsonRef, RawDocument};
use smallvec::SmallVec;

use crate::decode::document::OURS;

/// How a stream's documents are counted.
#[derive(Debug)]
pub struct Counting {
    /// Of the fields that a counter needs: name, position in `Stream::fields`, rank among its names.
    names: Vec<(String, usize, usize)>,
    /// How many fields that is.
    fields: usize,
}

impl Counting {
    /// For the counters of `stream`.
    #[must_use]
    pub fn new(stream: &Stream) -> Self {
        let mut fields: Vec<_> = stream
            .counters
            .iter()
            .flat_map(|c| c.by.iter().copied())
            .collect();
        fields.sort_unstable();
        fields.dedup();
        let named = |&field: &usize| {
            let names = stream.fields[field].names.iter().enumerate();
            names
                .map(move |(rank, name)| (name.clone(), field, rank))
                .collect::<Vec<_>>()
        };
        Self {
            names: fields.iter().flat_map(named).collect(),
            fields: fields.len(),
        }
    }

    /// Counts one document.
    pub fn count(&self, stream: &Stream, document: &RawDocument, deltas: &mut Deltas) {
        let mut found: SmallVec<[(usize, usize, Option<Scalar<'_>>); 8]> = SmallVec::new();
        if !self.names.is_empty() {
            let mut missing = self.fields;
            for element in document.iter_elements().map_while(Result::ok) {
                let name = element.key().as_str();
                let Some((_, field, rank)) = self.names.iter().find(|(n, ..)| n == name) else {
                    continue;
                };
                // A field's own name comes before its aliases, wherever they stand.
                let is_last_word =
                    *rank == 0 && found.iter().all(|(f, r, _)| (f, r) != (field, rank));
                found.push((*field, *rank, element.value().ok().and_then(scalar)));
                missing -= usize::from(is_last_word);
                if missing == 0 {
                    break;
                }
            }
            found.sort_unstable_by_key(|(field, rank, _)| (*field, *rank));
        }
        deltas.count(stream, |field| {
            found
                .iter()
                .find(|(f, ..)| *f == field)
                .and_then(|(.., value)| value.clone())
        });
    }

    /// Nothing but what counting reads. Names of declared fields are no paths to MongoDB.
    #[must_use]
    pub fn projection(&self) -> Document {
        let offset = (format!("{OURS}.offset"), 1.into());
        let names = self.names.iter().map(|(name, ..)| (name.clone(), 1.into()));
        [("_id".to_owned(), 0.into()), offset]
            .into_iter()
            .chain(names)
            .collect()
    }
}

/// The same scalar that acceptance read from the JSON.
fn scalar(value: RawBsonRef<'_>) -> Option<Scalar<'_>> {
    Some(match value {
        RawBsonRef::String(text) => Scalar::Str(Cow::Borrowed(text)),
        RawBsonRef::Boolean(b) => Scalar::Bool(b),
        RawBsonRef::Int32(n) => Scalar::Int(n.into()),
        RawBsonRef::Int64(n) => Scalar::Int(n),
        RawBsonRef::Decimal128(n) => Scalar::Large(LargeInt::from_decimal128(n.bytes())?),
        RawBsonRef::Double(n) => Scalar::Float(n),
        _ => return None,
    })
}

#[cfg(test)]
#[path = "count_tests.rs"]
mod tests;
