//! Records of one partition, in one buffer: what the poll loop fills and a sink is given.

use std::sync::Arc;

use aguacero::ledger::Position;

/// Where a batch's records come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Position in `Config::topics`.
    pub topic: usize,
    /// Incarnation of the topic, and partition.
    pub position: Position,
    /// Told apart from every earlier time that this process had the partition, or had it from its
    /// beginning: what a sink remembers of an older one holds no more.
    pub epoch: u64,
}

/// Consecutive records of one partition.
#[derive(Debug)]
pub struct Batch {
    /// Whose they are.
    pub source: Arc<Source>,
    /// The leader epoch that the last record was written in, if the broker tells it.
    pub leader_epoch: Option<i32>,
    bytes: Vec<u8>,
    spans: Vec<Span>,
}

/// Where a record lies in the buffer: headers, key, value, one after the other.
#[derive(Debug, Clone, Copy)]
struct Span {
    offset: i64,
    timestamp_ms: i64,
    start: usize,
    headers: usize,
    key: Option<usize>,
    value: Option<usize>,
}

/// A record as Kafka has it.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// Its offset.
    pub offset: i64,
    /// Milliseconds since 1970: when the event arrived.
    pub timestamp_ms: i64,
    /// Its key, if it has one.
    pub key: Option<&'a [u8]>,
    /// Its value; none is a tombstone.
    pub value: Option<&'a [u8]>,
    headers: &'a [u8],
}

impl Batch {
    /// Nothing yet.
    #[must_use]
    pub fn new(source: Arc<Source>) -> Self {
        Self {
            source,
            leader_epoch: None,
            bytes: Vec::new(),
            spans: Vec::new(),
        }
    }

    /// Appends a copy of a record; its offset is above that of the one before.
    pub fn push<'a>(
        &mut self,
        (offset, timestamp_ms): (i64, i64),
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)>,
    ) {
        let start = self.bytes.len();
        for (name, value) in headers {
            self.part(Some(name));
            self.part(value);
        }
        let headers = self.bytes.len() - start;
        self.bytes.extend_from_slice(key.unwrap_or_default());
        self.bytes.extend_from_slice(value.unwrap_or_default());
        let (key, value) = (key.map(<[u8]>::len), value.map(<[u8]>::len));
        self.spans.push(Span {
            offset,
            timestamp_ms,
            start,
            headers,
            key,
            value,
        });
    }

    /// A length and as many bytes; none has the highest length.
    fn part(&mut self, part: Option<&[u8]>) {
        let len = part.map_or(ABSENT, |p| p.len() as u32);
        self.bytes.extend_from_slice(&len.to_le_bytes());
        self.bytes.extend_from_slice(part.unwrap_or_default());
    }

    /// The records in their order.
    pub fn records(&self) -> impl Iterator<Item = Record<'_>> {
        self.spans.iter().map(|span| self.at(span))
    }

    /// Record `i`.
    #[must_use]
    pub fn record(&self, i: usize) -> Option<Record<'_>> {
        self.spans.get(i).map(|span| self.at(span))
    }

    fn at(&self, span: &Span) -> Record<'_> {
        let (headers, rest) = self.bytes[span.start..].split_at(span.headers);
        let (key, rest) = rest.split_at(span.key.unwrap_or(0));
        let value = &rest[..span.value.unwrap_or(0)];
        Record {
            offset: span.offset,
            timestamp_ms: span.timestamp_ms,
            key: span.key.map(|_| key),
            value: span.value.map(|_| value),
            headers,
        }
    }

    /// How many records.
    #[must_use]
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// What it takes in memory, nearly.
    #[must_use]
    pub fn size(&self) -> usize {
        self.bytes.len() + self.spans.len() * size_of::<Span>()
    }

    /// Offset of the first record.
    #[must_use]
    pub fn first(&self) -> Option<i64> {
        self.spans.first().map(|s| s.offset)
    }

    /// Offset of the last record.
    #[must_use]
    pub fn last(&self) -> Option<i64> {
        self.spans.last().map(|s| s.offset)
    }

    /// Timestamp of the first record.
    #[must_use]
    pub fn first_timestamp_ms(&self) -> Option<i64> {
        self.spans.first().map(|s| s.timestamp_ms)
    }
}

const ABSENT: u32 = u32::MAX;

impl<'a> Record<'a> {
    /// Its headers in their order; a name need not be UTF-8.
    pub fn headers(&self) -> impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)> + use<'a> {
        let mut rest = self.headers;
        std::iter::from_fn(move || {
            let name = take(&mut rest)??;
            let value = take(&mut rest)?;
            Some((name, value))
        })
    }

    /// The value of the last header called `name`: as in Kafka's Java client, it is the one that counts.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        self.headers()
            .filter(|(n, _)| *n == name.as_bytes())
            .last()
            .and_then(|(_, value)| value)
    }
}

/// Undoes `Batch::part`.
fn take<'a>(rest: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    let (len, after) = rest.split_first_chunk::<4>()?;
    let len = u32::from_le_bytes(*len);
    let (part, after) = after.split_at_checked(if len == ABSENT { 0 } else { len as usize })?;
    *rest = after;
    Some((len != ABSENT).then_some(part))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Parts = (
        Option<Vec<u8>>,
        Option<Vec<u8>>,
        Vec<(Vec<u8>, Option<Vec<u8>>)>,
    );

    proptest! {
        #[test]
        fn records_are_read_as_they_were_pushed(
            records in prop::collection::vec(any::<Parts>(), 0..8),
        ) {
            let position = Position { incarnation: "i".into(), partition: 0 };
            let mut batch = Batch::new(Arc::new(Source { topic: 0, position, epoch: 0 }));
            for (i, (key, value, headers)) in records.iter().enumerate() {
                let headers = headers.iter().map(|(n, v)| (n.as_slice(), v.as_deref()));
                batch.push((i as i64, 7), key.as_deref(), value.as_deref(), headers);
            }
            prop_assert_eq!(batch.len(), records.len());
            for (i, (record, (key, value, headers))) in batch.records().zip(&records).enumerate() {
                prop_assert_eq!((record.offset, record.timestamp_ms), (i as i64, 7));
                prop_assert_eq!((record.key, record.value), (key.as_deref(), value.as_deref()));
                let read: Vec<_> = record.headers().collect();
                let pushed: Vec<_> = headers.iter().map(|(n, v)| (n.as_slice(), v.as_deref())).collect();
                prop_assert_eq!(read, pushed);
            }
        }
    }
}
