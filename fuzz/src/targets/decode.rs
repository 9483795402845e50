//! An event: accepted and read as serde_json and the documented rules have it, by either reader.

use aguacero::{
    accept::{Array, Decoder, Document, Kind, Refusal, Value, fit::fit, trim},
    scalar::Scalar,
};

use super::CONFIG;
use crate::oracle::{self, Json};

const EVENT_BYTES_MAX: usize = 1 << 20;

pub(super) fn run(input: &[u8]) {
    let event = trim(input);
    if event.is_empty() {
        return;
    }
    let mut decoder = Decoder::new(EVENT_BYTES_MAX);
    let shown = String::from_utf8_lossy(event);
    let read = decoder.decode(event, object);
    let in_full = decoder.decode_in_full(event, object);
    assert_eq!(read, in_full, "the two readers differ: {shown}");
    let expected = oracle::event(event);
    match (&read, &expected) {
        (Ok(read), Some(expected)) => assert_eq!(read, expected, "{shown}"),
        (Ok(_), None) => panic!("accepted: {shown}"),
        (Err(refusal), Some(_)) => panic!("refused, {refusal}: {shown}"),
        (Err(refusal), None) => explained(refusal, event),
    }
    for stream in &CONFIG.streams {
        let fitted = decoder.decode(event, |document| {
            let fields = fit(stream, document)?;
            _ = fields.reserved_partition(stream);
            Ok::<_, Refusal>(fields.key(stream).map(|key| key.into_text().into_owned()))
        });
        if let Ok(Err(refusal)) = fitted {
            assert!(
                refusal.kind == Kind::Unfit && !refusal.detail.is_empty(),
                "{refusal:?}"
            );
        }
    }
}

/// A client is told what is wrong, and where.
fn explained(refusal: &Refusal, event: &[u8]) {
    let shown = String::from_utf8_lossy(event);
    assert!(!refusal.detail.is_empty(), "{shown}");
    assert!(
        refusal.offset.is_none_or(|at| at <= event.len()),
        "{refusal:?}: {shown}"
    );
    match refusal.kind {
        Kind::Malformed => assert!(
            !oracle::is_json(event),
            "JSON, and called malformed: {refusal}: {shown}"
        ),
        Kind::Unfit => {
            // What is nested too deeply is refused before it is parsed.
            let is_deep = refusal.detail.starts_with("nested");
            assert!(
                is_deep || oracle::is_json(event),
                "not JSON, and called unfit: {refusal}: {shown}"
            );
        }
        Kind::TooLarge => panic!("{shown}"),
    }
}

pub(super) fn object(document: Document<'_>) -> Json {
    let entries = document.entries();
    Json::Object(
        entries
            .map(|(name, v)| (name.to_owned(), value(v)))
            .collect(),
    )
}

fn value(value: Value<'_>) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Scalar(Scalar::Str(text)) => Json::Text(text.into_owned()),
        Value::Scalar(Scalar::Bool(b)) => Json::Bool(b),
        Value::Scalar(Scalar::Int(n)) => Json::Int(n.into()),
        Value::Scalar(Scalar::Large(n)) => Json::Int(n.get()),
        Value::Scalar(Scalar::Float(n)) => Json::Float(n),
        Value::Object(o) => object(o),
        Value::Array(a) => array(a),
    }
}

fn array(array: Array<'_>) -> Json {
    Json::Array(array.elements().map(value).collect())
}
