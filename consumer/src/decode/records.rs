//! Record by record: an event to archive, a dead letter, or the end of what this process knows.

use aguacero::{
    accept::{Decoder, Document, Kind},
    config::{Config, Stream},
    id::{EventId, value_hash},
    record::{HEADER, Header, HeaderError},
};
use bson::RawDocumentBuf;

use super::{
    dead_letter::{DeadLetter, Reason},
    document::{self, Stamp, uuid},
};
use crate::batch::{Batch, Record};

/// Bytes of a client's key that are always taken: an `Idempotency-Key` has fewer, and so has the text of
/// a number, however short the number is in JSON.
const CLIENT_KEY_BYTES: usize = 1024;

/// A batch, read up to its end or to the first record that this process cannot judge. `T` is what was made of an event.
#[derive(Debug)]
pub struct Decoded<T = RawDocumentBuf> {
    /// Events, in the order of their records.
    pub events: Vec<Event<T>>,
    /// Records that can never be archived.
    pub dead: Vec<DeadLetter>,
    /// Streams that the records belong to, archived or not.
    pub streams: Vec<usize>,
    /// Offset of the last record that was read.
    pub last: Option<i64>,
    /// The record that was not, and why.
    pub stop: Option<(i64, String)>,
}

/// An event that can be archived.
#[derive(Debug)]
pub struct Event<T = RawDocumentBuf> {
    /// Index in the batch.
    pub record: usize,
    /// Its offset.
    pub offset: i64,
    /// Position in `Config::streams`.
    pub stream: usize,
    /// Its id.
    pub id: EventId,
    /// Of its value.
    pub hash: [u8; 16],
    /// What the store will hold: of the archive, the document.
    pub document: T,
}

enum Meaning<T> {
    Event(Event<T>),
    Dead(DeadLetter),
    Stop(String),
}

/// Reads every record of the batch, as the archive holds it.
#[must_use]
pub fn decode(config: &Config, batch: &Batch) -> Decoded {
    decode_as(config, batch, &|event, raw| {
        document::write(event, raw.value.len(), &raw.stamp).map_err(|error| error.to_string())
    })
}

/// An event before anything is made of it.
#[derive(Debug, Clone, Copy)]
pub struct Raw<'a> {
    /// Its stream.
    pub stream: &'a Stream,
    /// Its bytes, as they came.
    pub value: &'a [u8],
    /// What is known of it beside.
    pub stamp: Stamp<'a>,
}

/// Reads every record of the batch; `make` makes of an event what the store will hold, or says why none can be made.
pub fn decode_as<T>(
    config: &Config,
    batch: &Batch,
    make: &impl Fn(Document<'_>, &Raw<'_>) -> Result<T, String>,
) -> Decoded<T> {
    let mut decoder = Decoder::new(config.gateway.event_bytes_max);
    let mut decoded = Decoded {
        events: Vec::with_capacity(batch.len()),
        dead: Vec::new(),
        streams: Vec::new(),
        last: None,
        stop: None,
    };
    for (i, record) in batch.records().enumerate() {
        let stream = match meaning(config, batch, &mut decoder, (i, &record), make) {
            Meaning::Event(event) => {
                let stream = event.stream;
                decoded.events.push(event);
                Some(stream)
            }
            Meaning::Dead(letter) => {
                let stream = letter.stream;
                decoded.dead.push(letter);
                stream
            }
            Meaning::Stop(why) => {
                decoded.stop = Some((record.offset, why));
                break;
            }
        };
        decoded
            .streams
            .extend(stream.filter(|s| !decoded.streams.contains(s)));
        decoded.last = Some(record.offset);
    }
    decoded
}

fn meaning<T>(
    config: &Config,
    batch: &Batch,
    decoder: &mut Decoder,
    (i, record): (usize, &Record<'_>),
    make: &impl Fn(Document<'_>, &Raw<'_>) -> Result<T, String>,
) -> Meaning<T> {
    let dead = |reason, detail: String| {
        Meaning::Dead(DeadLetter {
            record: i,
            reason,
            detail,
            id: None,
            stream: None,
        })
    };
    let Some(header) = record.header(HEADER) else {
        return dead(
            Reason::NoHeader,
            format!("the record has no header `{HEADER}`: something else wrote it"),
        );
    };
    let header = match Header::read(header) {
        Ok(header) => header,
        Err(HeaderError::Newer(_)) => {
            return Meaning::Stop("a later release wrote the record: upgrade the consumer".into());
        }
        Err(e @ HeaderError::Damaged) => return dead(Reason::DamagedHeader, e.to_string()),
    };
    let topic = batch.source.topic;
    let stream = match config.stream(header.stream) {
        Some(stream) if stream.topic == topic => stream,
        other => return Meaning::Stop(unknown(config, &header, topic, other.is_some())),
    };
    let dead = |reason, detail| {
        Meaning::Dead(DeadLetter {
            record: i,
            reason,
            detail,
            id: Some(header.id),
            stream: Some(stream.index),
        })
    };
    // The gateway takes it from the event's own fields, or from a header of the request.
    let key_bytes_max = config.gateway.event_bytes_max.max(CLIENT_KEY_BYTES);
    if header.client_key.len() > key_bytes_max {
        let bytes = header.client_key.len();
        return dead(
            Reason::TooLarge,
            format!(
                "what the client called the event has {bytes} bytes, at most {key_bytes_max} are allowed"
            ),
        );
    }
    let Some(value) = record.value else {
        return dead(Reason::NoValue, "the record has no value".into());
    };
    let hash = value_hash(value);
    let stamp = Stamp {
        id: header.id,
        stream: &stream.name,
        at_ms: record.timestamp_ms,
        position: &batch.source.position,
        offset: record.offset,
        hash,
        client_key: header.client_key,
    };
    let raw = Raw {
        stream,
        value,
        stamp,
    };
    match decoder.decode(value, |event| make(event, &raw)) {
        Ok(Ok(document)) => Meaning::Event(Event {
            record: i,
            offset: record.offset,
            stream: stream.index,
            id: header.id,
            hash,
            document,
        }),
        Ok(Err(why)) => dead(Reason::Unfit, why),
        Err(refusal) => dead(reason(refusal.kind), refusal.detail),
    }
}

fn unknown(config: &Config, header: &Header<'_>, topic: usize, elsewhere: bool) -> String {
    let (stream, topic) = (header.stream, &config.topics[topic].name);
    if elsewhere {
        format!(
            "the record belongs to stream {stream}, which is declared for another topic: declare it for {topic}"
        )
    } else {
        format!(
            "the record belongs to stream {stream}, which is not declared: declare it for {topic}"
        )
    }
}

fn reason(kind: Kind) -> Reason {
    match kind {
        Kind::Malformed => Reason::Malformed,
        Kind::Unfit => Reason::Unfit,
        Kind::TooLarge => Reason::TooLarge,
    }
}

impl<T> Event<T> {
    /// `_id` as MongoDB is asked for it.
    #[must_use]
    pub fn bson_id(&self) -> bson::Binary {
        uuid(self.id)
    }
}
