//! Whether two documents say the same: asked where the bytes that the client sent differ.

use bson::{RawBsonRef, RawDocument};

use crate::decode::document::OURS;

/// Integers up to here are doubles as well, without loss, and both are shown by the same digits.
const EXACT: f64 = (1_u64 << 53) as f64;

/// Whether two documents of an archive hold the same event: the same fields with equal values, whatever the order of
/// the fields at any level. A number is equal however it was spelled (1, 1.0, 1e0), up to 2^53 also across integers
/// and doubles: beyond, those are told apart. 0.0 and -0.0 are two values, as they are to a counter.
pub(super) fn same_event(a: &RawDocument, b: &RawDocument) -> bool {
    let own = |name: &str| name != "_id" && name != OURS;
    same_fields(a, b, own)
}

fn same_fields(a: &RawDocument, b: &RawDocument, counts: impl Fn(&str) -> bool) -> bool {
    let fields = |document| fields(document, &counts);
    let (Some(a), Some(b)) = (fields(a), fields(b)) else {
        return false;
    };
    a.len() == b.len()
        && a.iter()
            .zip(&b)
            .all(|((name, a), (other, b))| name == other && same(*a, *b))
}

/// By name; none if the document is damaged.
fn fields<'a>(
    document: &'a RawDocument,
    counts: impl Fn(&str) -> bool,
) -> Option<Vec<(&'a str, RawBsonRef<'a>)>> {
    let mut fields = Vec::new();
    for field in document.iter() {
        let (name, value) = field.ok()?;
        if counts(name.as_str()) {
            fields.push((name.as_str(), value));
        }
    }
    fields.sort_by_key(|(name, _)| *name);
    Some(fields)
}

fn same(a: RawBsonRef<'_>, b: RawBsonRef<'_>) -> bool {
    match (a, b) {
        (RawBsonRef::Document(a), RawBsonRef::Document(b)) => same_fields(a, b, |_| true),
        (RawBsonRef::Array(a), RawBsonRef::Array(b)) => {
            let (mut a, mut b) = (a.into_iter(), b.into_iter());
            loop {
                match (a.next(), b.next()) {
                    (None, None) => return true,
                    (Some(Ok(a)), Some(Ok(b))) if same(a, b) => {}
                    _ => return false,
                }
            }
        }
        (a, b) => match (integer(a), integer(b)) {
            (Some(a), Some(b)) => a == b,
            _ => is_identical(a, b),
        },
    }
}

fn integer(value: RawBsonRef<'_>) -> Option<i64> {
    match value {
        RawBsonRef::Int32(n) => Some(n.into()),
        RawBsonRef::Int64(n) => Some(n),
        RawBsonRef::Double(n) => {
            let is_one = n.fract() == 0.0 && n.abs() <= EXACT && (n != 0.0 || n.is_sign_positive());
            is_one.then_some(n as i64)
        }
        _ => None,
    }
}

fn is_identical(a: RawBsonRef<'_>, b: RawBsonRef<'_>) -> bool {
    match (a, b) {
        (RawBsonRef::Double(a), RawBsonRef::Double(b)) => a.to_bits() == b.to_bits(),
        (a, b) => a == b,
    }
}

#[cfg(test)]
mod tests {
    use aguacero::{accept::Decoder, id::EventId, ledger::Position};
    use bson::RawDocumentBuf;

    use super::*;
    use crate::decode::document::{Stamp, write};

    fn archived(json: &str, n: u8) -> RawDocumentBuf {
        let position = Position {
            incarnation: n.to_string(),
            partition: n.into(),
        };
        let stamp = Stamp {
            id: EventId([n; 16]),
            stream: "s",
            at_ms: n.into(),
            position: &position,
            offset: n.into(),
            hash: [n; 16],
            client_key: b"",
        };
        let written = Decoder::new(1 << 20)
            .decode(json.as_bytes(), |event| write(event, json.len(), &stamp))
            .expect(json);
        written.expect(json)
    }

    fn are_same(a: &str, b: &str) -> bool {
        let (a, b) = (archived(a, 1), archived(b, 2));
        let same = same_event(&a, &b);
        assert_eq!(same, same_event(&b, &a));
        same
    }

    #[test]
    fn an_event_is_the_same_however_its_json_is_written() {
        for (a, b) in [
            (
                r#"{"a":1,"b":[{"c":1,"d":2}]}"#,
                r#" { "b" : [ { "d" : 2 , "c" : 1 } ] , "a" : 1 } "#,
            ),
            (
                r#"{"país":"Perú\n/"}"#,
                r#"{"pa\u00eds":"Per\u00FA\u000a\/"}"#,
            ),
            (r#"{"t":"🌧"}"#, r#"{"t":"\ud83c\udf27"}"#),
            (r#"{"n":1.50}"#, r#"{"n":15e-1}"#),
            (r#"{"n":[100,1,0]}"#, r#"{"n":[1e2,1.0,0.0]}"#),
            (r#"{"n":9007199254740992}"#, r#"{"n":9007199254740992.0}"#),
            (r#"{"n":2147483648}"#, r#"{"n":2.147483648e9}"#),
            (r#"{}"#, "{ }"),
        ] {
            assert!(are_same(a, b), "{a} {b}");
        }
    }

    #[test]
    fn what_differs_in_any_value_is_another_event() {
        for (a, b) in [
            (r#"{"a":1}"#, r#"{"a":2}"#),
            (r#"{"a":1}"#, r#"{"a":"1"}"#),
            (r#"{"a":1}"#, r#"{"a":true}"#),
            (r#"{"a":1}"#, r#"{"a":1,"b":null}"#),
            (r#"{"a":null}"#, r#"{"b":null}"#),
            (r#"{"a":[1,2]}"#, r#"{"a":[2,1]}"#),
            (r#"{"a":[1]}"#, r#"{"a":[1,1]}"#),
            (r#"{"a":[1]}"#, r#"{"a":{"0":1}}"#),
            (r#"{"a":{"b":1}}"#, r#"{"a":{"b":2}}"#),
            (r#"{"a":0.0}"#, r#"{"a":-0.0}"#),
            (r#"{"a":0.1}"#, r#"{"a":0.10000000000000002}"#),
            (r#"{"a":9007199254740993}"#, r#"{"a":9007199254740992.0}"#),
            // Equal, but not shown by the same digits.
            (
                r#"{"a":1152921504606846976}"#,
                r#"{"a":1152921504606846976.0}"#,
            ),
            (r#"{"a":{"_id":1}}"#, r#"{"a":{"_id":2}}"#),
        ] {
            assert!(!are_same(a, b), "{a} {b}");
        }
    }

    /// What a batch's own documents add to the counters stands for what the archive has: equal numbers have one text.
    #[test]
    fn equal_numbers_are_one_key_of_a_counter() {
        use aguacero::scalar::Scalar;
        for n in [0, 1, -7, 1_000_000_000_000_000, 1 << 53, -(1 << 53)] {
            let (int, float) = (Scalar::Int(n), Scalar::Float(n as f64));
            assert_eq!(integer(RawBsonRef::Double(n as f64)), Some(n));
            assert_eq!(int.text(), float.text());
        }
    }
}
