//! Arguments of the scripts as MessagePack, which `cmsgpack` reads inside Redis. One argument for a
//! whole set of deltas keeps keys binary-safe and their number out of every limit of Redis and Lua.

use super::Entry;
use crate::{
    config::{Counter, Stream},
    counts::{Counts, Deltas},
};

/// `{{name, max_distinct}, …}`
pub(super) fn counters(stream: &Stream) -> Vec<u8> {
    let mut out = Pack::default();
    out.array(stream.counters.len());
    for counter in &stream.counters {
        out.array(2);
        out.text(&counter.name);
        out.number(counter.max_distinct as u64);
    }
    out.0
}

/// `{position, first, last, deltas}`
pub(super) fn entry(stream: &Stream, entry: &Entry) -> Vec<u8> {
    let mut out = Pack::default();
    out.array(4);
    out.text(&entry.position.to_string());
    out.number(entry.first.unsigned_abs());
    out.number(entry.last.unsigned_abs());
    out.deltas(stream, &entry.deltas);
    out.0
}

/// `{events, {{key, n, key, n, …}, overflow}, …}`: one pair for each counter, in the order of the
/// declaration. Keys that a counter does not declare are in the overflow already.
pub(super) fn deltas(stream: &Stream, deltas: &Deltas) -> Vec<u8> {
    let mut out = Pack::default();
    out.deltas(stream, deltas);
    out.0
}

#[derive(Default)]
struct Pack(Vec<u8>);

impl Pack {
    fn array(&mut self, len: usize) {
        self.0.push(0xdd);
        self.len(len);
    }

    fn text(&mut self, text: &str) {
        self.0.push(0xdb);
        self.len(text.len());
        self.0.extend_from_slice(text.as_bytes());
    }

    fn number(&mut self, n: u64) {
        if n < 0x80 {
            self.0.push(n as u8);
        } else {
            self.0.push(0xcf);
            self.0.extend_from_slice(&n.to_be_bytes());
        }
    }

    /// Nothing here comes near 2^32: Redis takes no argument above 512 MiB.
    fn len(&mut self, len: usize) {
        self.0
            .extend_from_slice(&u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes());
    }

    fn deltas(&mut self, stream: &Stream, deltas: &Deltas) {
        let empty = Counts::default();
        self.array(1 + stream.counters.len());
        self.number(deltas.events);
        for (i, counter) in stream.counters.iter().enumerate() {
            self.counter(counter, deltas.counters.get(i).unwrap_or(&empty));
        }
    }

    fn counter(&mut self, counter: &Counter, counts: &Counts) {
        let declared = |key: &String| counter.values.is_empty() || counter.values.contains(key);
        let named = counts.keys().filter(|key| declared(key)).count();
        let mut overflow = 0;
        self.array(2);
        self.array(2 * named);
        for (key, &n) in counts {
            if declared(key) {
                self.text(key);
                self.number(n);
            } else {
                overflow += n;
            }
        }
        self.number(overflow);
    }
}
