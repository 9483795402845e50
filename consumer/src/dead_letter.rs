//! Records that can never be archived: kept whole in a collection of their own, with the reason, so
//! that whoever mends the cause can send them again.

use std::fmt;

use aguacero::{config::Config, id::EventId};
use bson::{Binary, DateTime, Document, doc, spec::BinarySubtype};

use crate::{
    batch::{Batch, Record},
    decode::uuid,
};

/// Bytes of headers, key and value that a letter keeps; a document has 16 MiB.
const BYTES_MAX: usize = 15 << 20;

/// A record and why it cannot be archived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Index in the batch.
    pub record: usize,
    /// Why, for programs.
    pub reason: Reason,
    /// Why, for people.
    pub detail: String,
    /// The event's id, if it could be read.
    pub id: Option<EventId>,
    /// Its stream (position in `Config::streams`), if it could be read.
    pub stream: Option<usize>,
}

/// Why a record cannot be archived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Something else wrote it.
    NoHeader,
    /// Its header cannot be read.
    DamagedHeader,
    /// A tombstone.
    NoValue,
    /// Not JSON.
    Malformed,
    /// JSON that the archive cannot hold unchanged.
    Unfit,
    /// More bytes than an event may have.
    TooLarge,
    /// The archive holds another value under this id.
    IdConflict,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Reason {
    /// As it stands in the letter and in the metric.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoHeader => "no-header",
            Self::DamagedHeader => "damaged-header",
            Self::NoValue => "no-value",
            Self::Malformed => "malformed",
            Self::Unfit => "unfit",
            Self::TooLarge => "too-large",
            Self::IdConflict => "id-conflict",
        }
    }
}

/// The letter as it is stored. Its `_id` is the record's place, so writing it again changes nothing.
#[must_use]
pub fn document(config: &Config, batch: &Batch, letter: &DeadLetter) -> Option<Document> {
    let record = batch.record(letter.record)?;
    let (topic, position) = (
        &config.topics[batch.source.topic].name,
        &batch.source.position,
    );
    let mut document = doc! {
        "_id": format!("{topic}/{}/{}/{}", position.incarnation, position.partition, record.offset),
        "reason": letter.reason.as_str(),
        "detail": &letter.detail,
        "at": DateTime::from_millis(record.timestamp_ms),
        "topic": topic,
        "incarnation": &position.incarnation,
        "partition": position.partition,
        "offset": record.offset,
    };
    if let Some(stream) = letter.stream {
        document.insert("stream", &config.streams[stream].name);
    }
    if let Some(id) = letter.id {
        document.insert("id", uuid(id));
    }
    let mut room = BYTES_MAX;
    document.insert("headers", headers(&record, &mut room));
    if let Some(key) = record.key {
        document.insert("key", binary(key, &mut room));
    }
    if let Some(value) = record.value {
        document.insert("value_bytes", value.len() as i64);
        document.insert("value", binary(value, &mut room));
    }
    Some(document)
}

fn headers(record: &Record<'_>, room: &mut usize) -> Vec<Document> {
    let header = |(name, value): (&[u8], Option<&[u8]>)| {
        let name = String::from_utf8_lossy(name).into_owned();
        match value {
            Some(value) => doc! { "name": name, "value": binary(value, room) },
            None => doc! { "name": name },
        }
    };
    record.headers().map(header).collect()
}

/// As much of it as there is room for.
fn binary(bytes: &[u8], room: &mut usize) -> Binary {
    let kept = &bytes[..bytes.len().min(*room)];
    *room -= kept.len();
    Binary {
        subtype: BinarySubtype::Generic,
        bytes: kept.to_vec(),
    }
}
