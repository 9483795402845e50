//! Records that can never be archived: kept whole, with the reason, so that whoever mends the cause can
//! send them again.

use std::fmt;

use aguacero::{config::Config, id::EventId, ledger::Position, record::HEADER};
use bson::{Binary, DateTime, Document, doc, spec::BinarySubtype};

use super::document::uuid;
use crate::batch::{Batch, Record};

/// Bytes of key and value that a dead letter keeps. A document has 16 MiB, and a record that Kafka holds
/// compressed can have more.
const BYTES_MAX: usize = 13 << 20;
/// Bytes that its headers may take. The one of ours fits, with the longest key that a client can give.
const HEADERS_BYTES_MAX: usize = 2 << 20;
/// Headers that a dead letter keeps.
const HEADERS_MAX: usize = 1000;
/// What a header takes beside its name and its value, at most.
const HEADER_BYTES: usize = 64;
/// Bytes of the reason; it may repeat a part of the record.
const DETAIL_BYTES_MAX: usize = 64 << 10;

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
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// Something else wrote it.
    NoHeader,
    /// Its header cannot be read.
    DamagedHeader,
    /// A tombstone.
    NoValue,
    /// Not JSON.
    Malformed,
    /// JSON that no archive can hold unchanged.
    Unfit,
    /// More bytes than an event may have.
    TooLarge,
    /// The archive holds another value under this id.
    IdConflict,
    /// A rule of the archive's collection (a unique index, a validator) is against it.
    Refused,
    /// The partition had stopped at it, and an operator let it go on.
    PassedOver,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Reason {
    /// What [`Reason::as_str`] may say.
    pub const ALL: [&'static str; 9] = [
        "no-header",
        "damaged-header",
        "no-value",
        "malformed",
        "unfit",
        "too-large",
        "id-conflict",
        "refused",
        "passed-over",
    ];

    /// As it stands in the dead letter and in the metric.
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
            Self::Refused => "refused",
            Self::PassedOver => "passed-over",
        }
    }
}

/// The id of a dead letter: its record's place.
#[must_use]
pub fn id(topic: &str, position: &Position, offset: i64) -> String {
    format!(
        "{topic}/{}/{}/{offset}",
        position.incarnation, position.partition
    )
}

/// The dead letter as it is stored. Its `_id` is the record's place, so writing it again changes nothing.
#[must_use]
pub fn document(config: &Config, batch: &Batch, letter: &DeadLetter) -> Option<Document> {
    let record = batch.record(letter.record)?;
    let mut document = envelope(config, batch, letter, &record);
    let (headers, cut) = headers(&record);
    document.insert("headers", headers);
    if cut {
        document.insert("cut", "not all of the headers is kept: they are too large");
    }
    let mut room = BYTES_MAX;
    if let Some(key) = record.key {
        document.insert("key", binary(key, &mut room));
    }
    if let Some(value) = record.value {
        document.insert("value_bytes", value.len() as i64);
        document.insert("value", binary(value, &mut room));
    }
    Some(document)
}

/// A dead letter without the record: for one that MongoDB can never hold, for the reason `why`.
#[must_use]
pub fn small(config: &Config, batch: &Batch, letter: &DeadLetter, why: &str) -> Option<Document> {
    let record = batch.record(letter.record)?;
    let mut document = envelope(config, batch, letter, &record);
    if let Some(value) = record.value {
        document.insert("value_bytes", value.len() as i64);
    }
    let why = beginning(why, DETAIL_BYTES_MAX);
    document.insert("cut", format!("the record is not kept: {why}"));
    Some(document)
}

/// Where a record stands: `topic/incarnation/partition/offset`
#[must_use]
pub fn place(config: &Config, batch: &Batch, record: &Record<'_>) -> String {
    let source = &batch.source;
    id(
        &config.topics[source.topic].name,
        &source.position,
        record.offset,
    )
}

fn envelope(config: &Config, batch: &Batch, letter: &DeadLetter, record: &Record<'_>) -> Document {
    let (topic, position) = (
        &config.topics[batch.source.topic].name,
        &batch.source.position,
    );
    let mut document = doc! {
        "_id": id(topic, position, record.offset),
        "reason": letter.reason.as_str(),
        "detail": beginning(&letter.detail, DETAIL_BYTES_MAX),
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
    document
}

/// The headers in their order, as far as there is room, and whether anything was cut. The one of ours
/// has its room before all others: a replay needs it.
fn headers(record: &Record<'_>) -> (Vec<Document>, bool) {
    let ours = record
        .headers()
        .enumerate()
        .filter(|(_, (name, _))| *name == HEADER.as_bytes())
        .last();
    let place = ours.map(|(i, _)| i);
    let others = record
        .headers()
        .enumerate()
        .filter(|(i, _)| Some(*i) != place);
    let (mut kept, mut cut, mut room) = (Vec::new(), false, HEADERS_BYTES_MAX);
    for (i, (name, value)) in ours.into_iter().chain(others) {
        if kept.len() == HEADERS_MAX || room < HEADER_BYTES {
            cut = true;
            break;
        }
        room -= HEADER_BYTES;
        let all = String::from_utf8_lossy(name);
        let name = beginning(&all, room);
        room -= name.len();
        cut |= name.len() < all.len();
        let mut header = doc! { "name": name };
        if let Some(value) = value {
            cut |= value.len() > room;
            header.insert("value", binary(value, &mut room));
        }
        kept.push((i, header));
    }
    kept.sort_by_key(|(i, _)| *i);
    (kept.into_iter().map(|(_, header)| header).collect(), cut)
}

/// As many whole characters as fit into `bytes`.
pub(crate) fn beginning(text: &str, bytes: usize) -> &str {
    let mut end = text.len().min(bytes);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::batch::Source;

    /// A document of MongoDB.
    const DOCUMENT_BYTES_MAX: usize = 16 << 20;

    fn letter_of(
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&[u8], Option<&[u8]>)],
    ) -> Document {
        let toml = include_str!("../../../aguacero.toml");
        let config = Config::parse(toml, "aguacero.toml", []).unwrap_or_else(|e| panic!("{e}"));
        let position = Position {
            incarnation: "i".into(),
            partition: 0,
        };
        let source = Source {
            topic: 0,
            position,
            epoch: 0,
        };
        let mut batch = Batch::new(Arc::new(source));
        batch.push((5, 7), key, value, headers.iter().copied());
        let letter = DeadLetter {
            record: 0,
            reason: Reason::Unfit,
            detail: "\u{1f327}".repeat(5_000_000),
            id: Some(EventId([7; 16])),
            stream: Some(0),
        };
        let small = small(&config, &batch, &letter, &letter.detail).expect("a dead letter");
        assert!(small.to_vec().expect("BSON").len() < 1 << 20);
        let document = document(&config, &batch, &letter).expect("a dead letter");
        let bytes = document.to_vec().expect("BSON").len();
        assert!(bytes < DOCUMENT_BYTES_MAX, "{bytes}");
        document
    }

    #[test]
    fn a_dead_letter_fits_into_a_document_whatever_the_record_has() {
        let large = vec![b'x'; 17_000_000];
        // Each of these bytes becomes three.
        let foreign = vec![0xff; 6_000_000];
        let everything = letter_of(
            Some(&large),
            Some(&large),
            &[(&large, Some(&large)), (&foreign, None)],
        );
        assert!(everything.get_str("cut").is_ok());
        let many = vec![(&b""[..], None); 1_000_000];
        let many = letter_of(None, None, &many);
        assert_eq!(many.get_array("headers").expect("some").len(), HEADERS_MAX);
        assert!(many.get_str("cut").is_ok());
        assert!(letter_of(None, Some(&large), &[]).get("cut").is_none());
    }

    #[test]
    fn the_header_of_ours_is_kept_whole_whatever_stands_before_it() {
        let (large, ours) = (vec![b'x'; 17_000_000], vec![1; 1_000_000]);
        let kept = letter_of(
            None,
            Some(b"{}"),
            &[
                (&large, None),
                (HEADER.as_bytes(), Some(&ours)),
                (b"a", Some(b"b")),
            ],
        );
        let headers = kept.get_array("headers").expect("some");
        let header = headers[1].as_document().expect("a header");
        assert_eq!(header.get_str("name").ok(), Some(HEADER));
        assert_eq!(header.get_binary_generic("value").ok(), Some(&ours));
    }
}
