//! A record of Kafka's: the length of its header, the header, and the value. It becomes a document that holds the
//! event and can be read by others, or a dead letter, or stops its partition.

use std::sync::Arc;

use aguacero::{
    id::EventId,
    ledger::Position,
    record::{HEADER, Header},
};
use bson::{RawBsonRef, RawDocument};
use consumer::{
    archive::Counting,
    batch::{Batch, Source},
    decode::{dead_letter, decode},
};

use super::CONFIG;
use crate::oracle::{self, Json};

/// In place of a length: a good header is made.
const GOOD: u8 = 0xff;

pub(super) fn run(input: &[u8]) {
    let Some((&len, rest)) = input.split_first() else {
        return;
    };
    let mut good = Vec::new();
    let (header, value) = match (len, rest.split_at_checked(len.into())) {
        (GOOD, _) | (_, None) => {
            let id = EventId([7; 16]);
            Header {
                id,
                stream: "free",
                client_key: b"k",
            }
            .write(&mut good);
            (&good[..], rest)
        }
        (_, Some(parts)) => parts,
    };
    if let Ok(read) = Header::read(header) {
        let mut written = Vec::new();
        read.write(&mut written);
        assert_eq!(written, header, "a header is written as it was read");
    }
    let position = Position {
        incarnation: "an-incarnation".into(),
        partition: 1,
    };
    let mut batch = Batch::new(Arc::new(Source {
        topic: 0,
        position,
        epoch: 1,
    }));
    let headers = [(HEADER.as_bytes(), Some(header))].into_iter();
    batch.push((5, 1_700_000_000_000), None, Some(value), headers);
    let decoded = decode(&CONFIG, &batch);
    assert_eq!(
        decoded.events.len() + decoded.dead.len() + usize::from(decoded.stop.is_some()),
        1
    );
    for letter in &decoded.dead {
        let letter =
            dead_letter::document(&CONFIG, &batch, letter).expect("a letter of this batch");
        assert!(bson::serialize_to_vec(&letter).is_ok());
    }
    for event in &decoded.events {
        let Some(Json::Object(expected)) = oracle::event(value) else {
            panic!("archived: {}", String::from_utf8_lossy(value));
        };
        let mut archived = members(&event.document);
        archived.retain(|(name, _)| !matches!(name.as_str(), "_id" | "_aguacero"));
        assert_eq!(archived, expected, "{}", String::from_utf8_lossy(value));
        let stream = &CONFIG.streams[event.stream];
        let mut deltas = aguacero::counts::Deltas::none(stream);
        Counting::new(stream).count(stream, &event.document, &mut deltas);
    }
}

fn members(document: &RawDocument) -> Vec<(String, Json)> {
    let members = document.iter().map(|element| {
        let (name, value) = element.expect("BSON");
        (name.as_str().to_owned(), json(value))
    });
    members.collect()
}

fn json(value: RawBsonRef<'_>) -> Json {
    match value {
        RawBsonRef::Null => Json::Null,
        RawBsonRef::Boolean(b) => Json::Bool(b),
        RawBsonRef::Int32(n) => Json::Int(n.into()),
        RawBsonRef::Int64(n) => Json::Int(n.into()),
        RawBsonRef::Decimal128(n) => Json::Int(n.to_string().parse().expect("an integer")),
        RawBsonRef::Double(n) => Json::Float(n),
        RawBsonRef::String(text) => Json::Text(text.to_owned()),
        RawBsonRef::Document(document) => Json::Object(members(document)),
        RawBsonRef::Array(array) => Json::Array(
            array
                .into_iter()
                .map(|element| json(element.expect("BSON")))
                .collect(),
        ),
        // Ours: `_id`, and what is in `_aguacero`.
        _ => Json::Null,
    }
}
