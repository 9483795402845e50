//! An event as the archive holds it: its own fields at the top level with their types, ours under
//! `_aguacero`. Written straight from the parsed nodes into one buffer.

use std::io::Write;

use aguacero::{
    accept::{Document, Value},
    id::EventId,
    ledger::Position,
    scalar::Scalar,
};
use bson::RawDocumentBuf;

/// The field under which the archive keeps what is not the event's own.
pub const OURS: &str = "_aguacero";

/// What the archive knows of an event beside its fields.
#[derive(Debug, Clone, Copy)]
pub struct Stamp<'a> {
    /// Its id, under which the archive holds it once.
    pub id: EventId,
    /// Name of its stream.
    pub stream: &'a str,
    /// Milliseconds since 1970: when it arrived.
    pub at_ms: i64,
    /// Where in Kafka it was first archived from.
    pub position: &'a Position,
    /// Its offset there.
    pub offset: i64,
    /// Of the value's bytes: tells a repeat from another event under the same id.
    pub hash: [u8; 16],
    /// What the client called it, or empty.
    pub client_key: &'a [u8],
}

/// BSON's tags of the types that an event can have.
mod tag {
    pub(super) const DOUBLE: u8 = 0x01;
    pub(super) const STRING: u8 = 0x02;
    pub(super) const DOCUMENT: u8 = 0x03;
    pub(super) const ARRAY: u8 = 0x04;
    pub(super) const BINARY: u8 = 0x05;
    pub(super) const BOOLEAN: u8 = 0x08;
    pub(super) const DATE: u8 = 0x09;
    pub(super) const NULL: u8 = 0x0a;
    pub(super) const INT32: u8 = 0x10;
    pub(super) const INT64: u8 = 0x12;
    pub(super) const DECIMAL128: u8 = 0x13;
}

const GENERIC: u8 = 0;
const UUID: u8 = 4;

/// What `_id` and `_aguacero` take beside the names and keys in them.
const STAMP_BYTES: usize = 200;

/// The document of an event whose JSON has `json_len` bytes.
pub fn write(
    event: Document<'_>,
    json_len: usize,
    stamp: &Stamp<'_>,
) -> Result<RawDocumentBuf, bson::error::Error> {
    let mut out = Bson(Vec::with_capacity(json_len + json_len / 4 + STAMP_BYTES));
    let whole = out.open();
    out.binary("_id", UUID, &stamp.id.0);
    out.entries(event);
    out.stamp(stamp);
    out.close(whole);
    RawDocumentBuf::from_bytes(out.0)
}

/// An id as `_id` holds it.
#[must_use]
pub fn uuid(id: EventId) -> bson::Binary {
    bson::Binary {
        subtype: bson::spec::BinarySubtype::Uuid,
        bytes: id.0.to_vec(),
    }
}

struct Bson(Vec<u8>);

/// What a value stands under.
#[derive(Clone, Copy)]
enum Key<'a> {
    Name(&'a str),
    Index(usize),
}

impl Bson {
    /// Begins a document or an array; its length is known at the end.
    fn open(&mut self) -> usize {
        self.0.extend_from_slice(&[0; 4]);
        self.0.len() - 4
    }

    /// Ends what was begun at `start`. An event is far below BSON's 2 GiB.
    fn close(&mut self, start: usize) {
        self.0.push(0);
        let len = (self.0.len() - start) as i32;
        self.0[start..start + 4].copy_from_slice(&len.to_le_bytes());
    }

    /// Acceptance has refused every name with a NUL.
    fn key(&mut self, tag: u8, key: Key<'_>) {
        self.0.push(tag);
        match key {
            Key::Name(name) => self.0.extend_from_slice(name.as_bytes()),
            // Writing to a vector cannot fail.
            Key::Index(i) => _ = write!(self.0, "{i}"),
        }
        self.0.push(0);
    }

    fn entries(&mut self, document: Document<'_>) {
        for (name, value) in document.entries() {
            self.value(Key::Name(name), value);
        }
    }

    fn value(&mut self, key: Key<'_>, value: Value<'_>) {
        match value {
            Value::Null => self.key(tag::NULL, key),
            Value::Scalar(scalar) => self.scalar(key, &scalar),
            Value::Object(object) => {
                self.key(tag::DOCUMENT, key);
                let start = self.open();
                self.entries(object);
                self.close(start);
            }
            Value::Array(array) => {
                self.key(tag::ARRAY, key);
                let start = self.open();
                for (i, element) in array.elements().enumerate() {
                    self.value(Key::Index(i), element);
                }
                self.close(start);
            }
        }
    }

    fn scalar(&mut self, key: Key<'_>, scalar: &Scalar<'_>) {
        match scalar {
            Scalar::Str(text) => {
                self.key(tag::STRING, key);
                self.text(text);
            }
            Scalar::Bool(b) => {
                self.key(tag::BOOLEAN, key);
                self.0.push(u8::from(*b));
            }
            Scalar::Int(n) => match i32::try_from(*n) {
                Ok(n) => self.fixed(tag::INT32, key, &n.to_le_bytes()),
                Err(_) => self.fixed(tag::INT64, key, &n.to_le_bytes()),
            },
            Scalar::Large(n) => self.fixed(tag::DECIMAL128, key, &n.to_decimal128()),
            Scalar::Float(n) => self.fixed(tag::DOUBLE, key, &n.to_le_bytes()),
        }
    }

    fn fixed(&mut self, tag: u8, key: Key<'_>, bytes: &[u8]) {
        self.key(tag, key);
        self.0.extend_from_slice(bytes);
    }

    fn text(&mut self, text: &str) {
        self.0
            .extend_from_slice(&(text.len() as i32 + 1).to_le_bytes());
        self.0.extend_from_slice(text.as_bytes());
        self.0.push(0);
    }

    fn string(&mut self, name: &str, text: &str) {
        self.key(tag::STRING, Key::Name(name));
        self.text(text);
    }

    fn binary(&mut self, name: &str, subtype: u8, bytes: &[u8]) {
        self.key(tag::BINARY, Key::Name(name));
        self.0
            .extend_from_slice(&(bytes.len() as i32).to_le_bytes());
        self.0.push(subtype);
        self.0.extend_from_slice(bytes);
    }

    fn stamp(&mut self, stamp: &Stamp<'_>) {
        self.key(tag::DOCUMENT, Key::Name(OURS));
        let start = self.open();
        self.string("stream", stamp.stream);
        self.fixed(tag::DATE, Key::Name("at"), &stamp.at_ms.to_le_bytes());
        self.string("incarnation", &stamp.position.incarnation);
        self.fixed(
            tag::INT32,
            Key::Name("partition"),
            &stamp.position.partition.to_le_bytes(),
        );
        self.fixed(tag::INT64, Key::Name("offset"), &stamp.offset.to_le_bytes());
        self.binary("hash", GENERIC, &stamp.hash);
        match std::str::from_utf8(stamp.client_key) {
            Ok("") => {}
            Ok(key) => self.string("key", key),
            Err(_) => self.binary("key", GENERIC, stamp.client_key),
        }
        self.close(start);
    }
}

#[cfg(test)]
#[path = "document_tests.rs"]
mod tests;
