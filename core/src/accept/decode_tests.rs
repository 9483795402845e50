use proptest::prelude::*;

use super::*;
use crate::accept::Refusal;

fn decode(json: &[u8]) -> Result<serde_json::Value, Refusal> {
    Decoder::new(900 << 10).decode(json, object)
}

fn object(document: Document<'_>) -> serde_json::Value {
    document
        .entries()
        .map(|(key, v)| (key.to_owned(), value(v)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

fn value(value: Value<'_>) -> serde_json::Value {
    match value {
        Value::Null => serde_json::Value::Null,
        Value::Scalar(Scalar::Str(s)) => s.into(),
        Value::Scalar(Scalar::Bool(b)) => b.into(),
        Value::Scalar(Scalar::Int(n)) => n.into(),
        Value::Scalar(Scalar::Large(n)) => serde_json::json!({ "large": n.get().to_string() }),
        Value::Scalar(Scalar::Float(n)) => n.into(),
        Value::Object(o) => object(o),
        Value::Array(a) => a.elements().map(self::value).collect(),
    }
}

fn refused(json: impl AsRef<[u8]>) -> Refusal {
    let json = json.as_ref();
    decode(json).expect_err(&String::from_utf8_lossy(json))
}

#[test]
fn what_is_not_json_is_malformed_and_the_offset_is_told() {
    for (json, offset) in [
        ("{\"a\":1", 6),
        ("{\"a\":1,}", 7),
        ("{\"a\":01}", 6),
        ("{'a':1}", 1),
        ("{\"a\":1} x", 8),
        ("{\"a\":\n\"\u{1}\"}", 7),
        ("{\"a\":nul}", 8),
        ("{\"a\":+1}", 5),
        ("{\"a\":1.}", 7),
        ("{\"a\":\"\\x\"}", 7),
        ("{\"a\":NaN}", 5),
    ] {
        let refusal = refused(json);
        assert_eq!(refusal.kind, Kind::Malformed, "{json}: {refusal}");
        let off_by = refusal.offset.unwrap().abs_diff(offset);
        assert!(off_by <= 1, "{json}: {refusal:?}");
    }
    let refusal = refused(b"{\"a\":\"\xff\"}");
    assert_eq!((refusal.kind, refusal.offset), (Kind::Malformed, Some(6)));
}

#[test]
fn what_an_archive_cannot_hold_unchanged_is_unfit() {
    for (json, field, offset) in [
        (
            r#"{"a":12345678901234567890123456789012345}"#,
            None,
            Some(5),
        ),
        (
            r#"{"b":18446744073709551615,"a":-12345678901234567890123456789012345}"#,
            None,
            Some(30),
        ),
        (r#"{"b":18446744073709551616,"a":1e999}"#, None, Some(30)),
        (r#"{"b":18446744073709551616,"a":"\ud800"}"#, None, Some(31)),
        (r#"{"b":18446744073709551616,"b":1}"#, Some("b"), None),
        ("18446744073709551615", None, Some(0)),
        ("123456789012345678901234567890", None, Some(0)),
        (r#"{"a":1e400}"#, None, Some(5)),
        (r#"{"a":"\ud800"}"#, None, Some(6)),
        (r#"{"a":"x\udc00\ud800"}"#, None, Some(7)),
        (r#"{"\ud800":1}"#, None, Some(2)),
        (r#"{"a":1,"a":2}"#, Some("a"), None),
        (r#"{"pa\u00eds":1,"país":2}"#, Some("país"), None),
        (r#"{"x":[{"a":1,"b":2,"a":2}]}"#, Some("a"), None),
        (r#"{"a\u0000b":1}"#, Some("a\0b"), None),
        (r#"{"_id":1}"#, Some("_id"), None),
        (r#"{"_aguacero":1}"#, Some("_aguacero"), None),
        ("[1]", None, Some(0)),
        ("\"text\"", None, Some(0)),
        ("12", None, Some(0)),
        ("null", None, Some(0)),
        ("", None, None),
    ] {
        let refusal = refused(json);
        assert_eq!(refusal.kind, Kind::Unfit, "{json}: {refusal}");
        assert_eq!(
            (refusal.field.as_deref(), refusal.offset),
            (field, offset),
            "{json}: {refusal}"
        );
    }
}

#[test]
fn odd_but_honest_events_are_accepted() {
    for json in [
        r#"{}"#,
        r#"{"":1}"#,
        r#"{"a.b":1,"$c":2}"#,
        r#"{"a":"\u0000"}"#,
        r#"{"a":"\uffff\ud83c\udf27\/"}"#,
        r#"{"a":{"_id":1}}"#,
        r#"{"a":-0,"b":1e308,"c":-9223372036854775808,"d":9223372036854775807,"e":5e-324}"#,
        r#"{ "a" : [ ] , "b" : { } }"#,
    ] {
        let expected: serde_json::Value = serde_json::from_str(json).unwrap();
        let decoded = decode(json.as_bytes()).unwrap_or_else(|e| panic!("{json}: {e}"));
        if !json.contains("-0") {
            assert_eq!(decoded, expected, "{json}");
        }
    }
}

#[test]
fn integers_beyond_64_bits_are_read_wherever_they_stand() {
    let large = |n: &str| serde_json::json!({ "large": n });
    let (u64_max, long) = (
        "18446744073709551615",
        "-1234567890123456789012345678901234",
    );
    for (json, expected) in [
        (
            format!(r#"{{"a":{u64_max}}}"#),
            serde_json::json!({ "a": large(u64_max) }),
        ),
        (
            format!(
                r#"{{"a":[{{}},[],{u64_max} , {{"b":{long}}}],"c":{{"d":"{{[\"{long}"}},"e":{long}}}"#
            ),
            serde_json::json!({
                "a": [{}, [], large(u64_max), { "b": large(long) }],
                "c": { "d": format!("{{[\"{long}") },
                "e": large(long),
            }),
        ),
        (
            format!(r#"{{"{u64_max}":["{u64_max}"],"x":[[{long}]],"y":9223372036854775807}}"#),
            serde_json::json!({ u64_max: [u64_max], "x": [[large(long)]], "y": i64::MAX }),
        ),
    ] {
        assert_eq!(decode(json.as_bytes()), Ok(expected), "{json}");
    }
    // As deep as anything may be.
    let deep = format!("{{\"a\":{}{long}{}}}", "[".repeat(63), "]".repeat(63));
    assert!(decode(deep.as_bytes()).is_ok());
}

#[test]
fn a_large_integer_makes_no_json_of_what_is_none() {
    for json in [
        r#"{"a":18446744073709551615x}"#,
        r#"{"a":18446744073709551615 18446744073709551615}"#,
        r#"{18446744073709551615:1}"#,
        r#"{"a":true18446744073709551615}"#,
        r#"{"a":018446744073709551615}"#,
        r#"{"a":18446744073709551615.}"#,
        r#"{"a":--18446744073709551615}"#,
        r#"{"a":"18446744073709551615}"#,
        r#"{"a":18446744073709551615"#,
        r#"{"a"18446744073709551615}"#,
        r#"{"a":18446744073709551615"b"}"#,
        r#"{"a":[18446744073709551615,]}"#,
    ] {
        assert_eq!(refused(json).kind, Kind::Malformed, "{json}");
    }
}

#[test]
fn depth_is_bounded_before_anything_is_parsed() {
    let nested = |n: usize| format!("{{\"a\":{}{}}}", "[".repeat(n - 1), "]".repeat(n - 1));
    assert!(decode(nested(DEPTH_MAX).as_bytes()).is_ok());
    assert_eq!(refused(nested(DEPTH_MAX + 1)).kind, Kind::Unfit);
    assert_eq!(refused("[".repeat(500_000)).kind, Kind::Unfit);
    let brackets_in_text = format!("{{\"a\":\"{}\\\"[[\"}}", "[".repeat(1000));
    assert!(decode(brackets_in_text.as_bytes()).is_ok());
}

#[test]
fn more_bytes_than_an_event_may_have_are_too_large() {
    let json = format!("{{\"a\":\"{}\"}}", "x".repeat(900 << 10));
    assert_eq!(refused(json).kind, Kind::TooLarge);
}

#[test]
fn repeated_names_are_found_among_many() {
    let mut names: Vec<_> = (0..1000).map(|i| format!("\"k{i}\":{i}")).collect();
    assert!(decode(format!("{{{}}}", names.join(",")).as_bytes()).is_ok());
    names.push("\"k7\":1".into());
    assert_eq!(
        refused(format!("{{{}}}", names.join(","))).field.as_deref(),
        Some("k7")
    );
}

#[test]
fn a_refused_event_leaves_the_decoder_fit_for_the_next() {
    let mut decoder = Decoder::new(1000);
    for _ in 0..3 {
        assert!(decoder.decode(b"{\"a\":", |_| ()).is_err());
        assert!(
            decoder
                .decode(b"{\"a\":{\"b\":[1,2]}}", |d| assert_eq!(
                    d.entries().count(),
                    1
                ))
                .is_ok()
        );
    }
}

/// JSON values as clients write them, without what acceptance forbids.
fn any_value() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>()
            .prop_filter("finite", |f| f.is_finite())
            .prop_map(Into::into),
        any::<String>().prop_map(Into::into),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(serde_json::Value::Array),
            prop::collection::btree_map("[^\0]{0,8}", inner, 0..6)
                .prop_map(|m| serde_json::Value::Object(m.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn an_accepted_event_is_read_as_another_parser_reads_it(
        map in prop::collection::btree_map("[^\0]{0,8}", any_value(), 0..6), pretty: bool,
    ) {
        let expected = serde_json::Value::Object(map.into_iter().collect());
        let json = if pretty { serde_json::to_vec_pretty(&expected) } else { serde_json::to_vec(&expected) };
        let json = json.unwrap();
        prop_assert_eq!(decode(&json).map_err(|e| e.to_string()), Ok(expected));
    }

    #[test]
    fn any_bytes_are_accepted_only_if_another_parser_accepts_them(bytes: Vec<u8>, json in "[\\[\\]{}:,\"a1 e.\\\\u-]{0,40}") {
        for input in [bytes.as_slice(), json.as_bytes()] {
            if let Ok(read) = decode(input) {
                prop_assert_eq!(serde_json::from_slice::<serde_json::Value>(input).unwrap(), read);
            }
        }
    }
}

#[test]
fn white_space_around_json_is_left_out_however_long_it_is() {
    for before in [0, 1, 31, 32, 33, 64, 100] {
        for after in [0, 1, 31, 32, 33, 64, 100] {
            for inside in ["", "1", "1 \n 2", "\u{c}", "\u{a0}"] {
                let space = |n: usize| " \n\t\r\n".repeat(n)[..n].to_owned();
                let json = format!("{}{inside}{}", space(before), space(after));
                assert_eq!(trim(json.as_bytes()), inside.as_bytes(), "{json:?}");
                let expected = before + if inside.is_empty() { after } else { 0 };
                assert_eq!(blank(json.as_bytes()), expected, "{json:?}");
            }
        }
    }
}
