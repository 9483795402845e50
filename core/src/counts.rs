//! What an event adds to its stream's counters.
//!
//! Gateway and consumer count alike, because both take the key from [`Counter::key`]: the gateway from
//! the JSON that it has just read, the consumer from the same JSON or from the archived document.

use std::{borrow::Cow, collections::HashMap};

use crate::{
    config::{Counter, Stream},
    scalar::Scalar,
};

/// How often each key occurred. Its hash is quick, and seeded, since clients choose the keys.
pub type Counts = HashMap<String, u64, foldhash::fast::RandomState>;

/// What a key takes beside its own bytes: lengths and a number on the wire, a place in a map.
const KEY_OVERHEAD: usize = 48;

/// Deltas of one stream: a number of events, and for each counter (in the order of the
/// declaration) how often each key occurred.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Deltas {
    /// Added to the total.
    pub events: u64,
    /// Added to each counter's keys; never holds a zero.
    pub counters: Vec<Counts>,
}

impl Deltas {
    /// Nothing, for a stream with this many counters.
    #[must_use]
    pub fn none(stream: &Stream) -> Self {
        Self {
            events: 0,
            counters: vec![Counts::default(); stream.counters.len()],
        }
    }

    /// Counts one event, whose declared field `i` has the value `field(i)` (none if it is absent,
    /// null or a container).
    pub fn count<'a>(&mut self, stream: &Stream, field: impl Fn(usize) -> Option<Scalar<'a>>) {
        self.events += 1;
        for (counter, counts) in stream.counters.iter().zip(&mut self.counters) {
            if let Some(key) = counter.key(&field) {
                increment(counts, key);
            }
        }
    }

    /// Counts one event whose key for each counter is already known. Returns the [`Deltas::bytes`] that this adds.
    pub fn count_keys(&mut self, keys: &[Option<&str>]) -> usize {
        self.events += 1;
        let counters = self.counters.iter_mut().zip(keys);
        let counted = counters.filter_map(|(counts, key)| {
            let key = (*key)?;
            increment(counts, Cow::Borrowed(key)).then_some(key.len() + KEY_OVERHEAD)
        });
        counted.sum()
    }

    /// Adds everything of `other`. Returns the [`Deltas::bytes`] that this adds.
    pub fn merge(&mut self, other: Self) -> usize {
        self.events += other.events;
        let mut added = 0;
        for (mine, theirs) in self.counters.iter_mut().zip(other.counters) {
            for (key, n) in theirs {
                match mine.get_mut(&key) {
                    Some(count) => *count += n,
                    None => {
                        added += key.len() + KEY_OVERHEAD;
                        mine.insert(key, n);
                    }
                }
            }
        }
        added
    }

    /// Keys of all counters.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.counters.iter().map(HashMap::len).sum()
    }

    /// What the keys take, on the wire (at most) and in memory (about).
    #[must_use]
    pub fn bytes(&self) -> usize {
        let keys = self.counters.iter().flat_map(HashMap::keys);
        keys.map(|key| key.len() + KEY_OVERHEAD).sum()
    }
}

/// Whether the key is new.
fn increment(counts: &mut Counts, key: Cow<'_, str>) -> bool {
    if let Some(n) = counts.get_mut(key.as_ref()) {
        *n += 1;
        return false;
    }
    counts.insert(key.into_owned(), 1).is_none()
}

impl Counter {
    /// The key that an event counts under, or none if one of the counter's fields is absent, null or
    /// a container. Several fields are joined by `|`; a `|` or `\` inside one is escaped by `\`.
    pub fn key<'a>(&self, field: impl Fn(usize) -> Option<Scalar<'a>>) -> Option<Cow<'a, str>> {
        if let [only] = self.by[..] {
            return field(only).map(Scalar::into_text);
        }
        let mut key = String::new();
        for (i, &by) in self.by.iter().enumerate() {
            if i > 0 {
                key.push('|');
            }
            for c in field(by)?.text().chars() {
                if c == '|' || c == '\\' {
                    key.push('\\');
                }
                key.push(c);
            }
        }
        Some(Cow::Owned(key))
    }
}
