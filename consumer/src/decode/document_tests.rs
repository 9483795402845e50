use aguacero::accept::{DEPTH_MAX, Decoder};
use bson::{Bson, Document};
use proptest::prelude::*;

use super::*;

fn position() -> Position {
    Position {
        incarnation: "i".into(),
        partition: 3,
    }
}

fn stamp<'a>(position: &'a Position, client_key: &'a [u8]) -> Stamp<'a> {
    Stamp {
        id: EventId([7; 16]),
        stream: "s",
        at_ms: 1_700_000_000_123,
        position,
        offset: 5,
        hash: [9; 16],
        client_key,
    }
}

fn archived(json: &str) -> Document {
    let position = position();
    let written = Decoder::new(1 << 20).decode(json.as_bytes(), |event| {
        write(event, json.len(), &stamp(&position, b""))
    });
    Document::try_from(&written.expect(json).expect(json)).expect(json)
}

fn as_json(bson: &Bson) -> serde_json::Value {
    match bson {
        Bson::Null => serde_json::Value::Null,
        Bson::String(s) => s.as_str().into(),
        Bson::Boolean(b) => (*b).into(),
        Bson::Int32(n) => (*n).into(),
        Bson::Int64(n) => (*n).into(),
        Bson::Double(n) => (*n).into(),
        Bson::Decimal128(n) => n.to_string().into(),
        Bson::Array(a) => a.iter().map(as_json).collect(),
        Bson::Document(d) => fields(d),
        other => panic!("no event has {other:?}"),
    }
}

fn fields(document: &Document) -> serde_json::Value {
    document
        .iter()
        .map(|(k, v)| (k.clone(), as_json(v)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

fn own_fields(mut document: Document) -> serde_json::Value {
    document.remove("_id");
    document.remove(OURS);
    fields(&document)
}

#[test]
fn numbers_keep_their_kind_and_integers_take_the_smaller_type() {
    let d = archived(
        r#"{"a":1,"b":-2147483649,"c":1.0,"d":1e3,"e":[2147483647,2147483648],"f":true,"g":-9223372036854775809}"#,
    );
    assert_eq!(d.get("a"), Some(&Bson::Int32(1)));
    assert_eq!(d.get("b"), Some(&Bson::Int64(-2_147_483_649)));
    assert_eq!(d.get("c"), Some(&Bson::Double(1.0)));
    assert_eq!(d.get("d"), Some(&Bson::Double(1000.0)));
    assert_eq!(
        d.get("e"),
        Some(&Bson::Array(vec![
            Bson::Int32(i32::MAX),
            Bson::Int64(1 << 31)
        ]))
    );
    assert_eq!(d.get("f"), Some(&Bson::Boolean(true)));
    let large = "-9223372036854775809".parse().unwrap();
    assert_eq!(d.get("g"), Some(&Bson::Decimal128(large)));
}

#[test]
fn odd_names_and_texts_are_kept() {
    let deep = format!(
        "{{\"a\":{}{}}}",
        "[".repeat(DEPTH_MAX - 1),
        "]".repeat(DEPTH_MAX - 1)
    );
    for json in [
        r#"{}"#,
        r#"{"":"","a.b":{"$c":1,"":{}},"$set":{"x.y":[]}}"#,
        r#"{"$ref":"a","$id":1,"$db":"c"}"#,
        r#"{"t":"a\u0000b\u0000"}"#,
        r#"{"país":"Perú 🌧️","texto":"\"\\\n"}"#,
        &deep,
    ] {
        assert_eq!(
            own_fields(archived(json)),
            serde_json::from_str::<serde_json::Value>(json).unwrap(),
            "{json}"
        );
    }
}

#[test]
fn what_is_ours_stands_apart() {
    let position = position();
    for (key, expected) in [
        (&b""[..], None),
        (b"pedido-7", Some(Bson::String("pedido-7".into()))),
        (
            b"\xff",
            Some(Bson::Binary(bson::Binary {
                subtype: bson::spec::BinarySubtype::Generic,
                bytes: vec![0xff],
            })),
        ),
    ] {
        let written = Decoder::new(100)
            .decode(b"{\"a\":1}", |e| {
                write(e, 7, &stamp(&position, key)).unwrap()
            })
            .unwrap();
        let d = Document::try_from(&written).unwrap();
        let uuid = bson::Binary {
            subtype: bson::spec::BinarySubtype::Uuid,
            bytes: vec![7; 16],
        };
        assert_eq!(d.get("_id"), Some(&Bson::Binary(uuid)));
        let ours = d.get_document(OURS).unwrap();
        assert_eq!(ours.get_str("stream").unwrap(), "s");
        assert_eq!(
            ours.get_datetime("at").unwrap().timestamp_millis(),
            1_700_000_000_123
        );
        assert_eq!(ours.get_str("incarnation").unwrap(), "i");
        assert_eq!(ours.get_i32("partition").unwrap(), 3);
        assert_eq!(ours.get_i64("offset").unwrap(), 5);
        assert_eq!(ours.get_binary_generic("hash").unwrap(), &vec![9; 16]);
        assert_eq!(ours.get("key"), expected.as_ref());
    }
}

fn any_value() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<i32>().prop_map(Into::into),
        any::<f64>()
            .prop_filter("finite", |f| f.is_finite())
            .prop_map(Into::into),
        any::<String>().prop_map(Into::into),
    ];
    leaf.prop_recursive(6, 60, 12, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..12).prop_map(serde_json::Value::Array),
            prop::collection::btree_map("[^\0]{0,8}", inner, 0..8)
                .prop_map(|m| serde_json::Value::Object(m.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_accepted_event_is_archived_with_equal_values(
        event in prop::collection::btree_map("[^\0]{0,8}", any_value(), 0..8),
    ) {
        let event = serde_json::Value::Object(event.into_iter().collect());
        prop_assert_eq!(own_fields(archived(&event.to_string())), event);
    }
}

/// The longest event and the longest key that the configuration allows, in the shapes that BSON makes the
/// most of.
#[test]
fn a_document_of_the_largest_event_and_key_is_within_16_mib() {
    const EVENT_BYTES_LIMIT: usize = 1_000_000;
    const DOCUMENT_BYTES_MAX: usize = 16 << 20;
    let key = vec![b'k'; EVENT_BYTES_LIMIT];
    for element in [
        "1", "[]", "{}", "\"\"", "null", "1.5", "1e9", "[1]", "{\"\":1}",
    ] {
        let times = (EVENT_BYTES_LIMIT - 10) / (element.len() + 1);
        let json = format!("{{\"a\":[{}]}}", vec![element; times].join(","));
        let position = position();
        let written = Decoder::new(EVENT_BYTES_LIMIT).decode(json.as_bytes(), |event| {
            write(event, json.len(), &stamp(&position, &key))
        });
        let document = written.expect(element).expect(element);
        let bytes = document.as_bytes().len();
        assert!(bytes < DOCUMENT_BYTES_MAX, "{element}: {bytes}");
    }
}
