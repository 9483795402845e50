use proptest::prelude::*;
use simd_json::{Buffers, Tape, fill_tape};

use super::*;

fn plain(json: &[u8]) -> Option<Vec<Node<'_>>> {
    let mut nodes = Vec::new();
    read(json, &mut nodes).map(|()| nodes)
}

/// Whether it is read here; if it is, as the full parser reads it.
fn read_alike(json: &[u8]) -> bool {
    let Some(nodes) = plain(json) else {
        return false;
    };
    let (mut copy, mut tape) = (json.to_vec(), Tape(Vec::new()));
    let shown = String::from_utf8_lossy(json);
    fill_tape(&mut copy, &mut Buffers::new(64), &mut tape)
        .unwrap_or_else(|error| panic!("only read here: {shown}: {error}"));
    // Numbers of another type, and zeros of another sign, are other numbers.
    assert_eq!(format!("{nodes:?}"), format!("{:?}", tape.0), "{shown}");
    true
}

#[test]
fn flat_objects_are_read_here_as_the_full_parser_reads_them() {
    for json in [
        "{}",
        "{ }",
        r#"{"texto":"Llueve a cántaros ☔ y nadie trae paraguas","país":"México"}"#,
        "{ \"a\" : 1 ,\r\n\t\"b\":-17,\"c\":true , \"d\":false,\"e\":null }",
        r#"{"":"","zero":0,"decimal":-0.5,"long":12345678901234567,"small":0.0000000000000001}"#,
        "{\"del\":\"\u{7f}\",\"eight by\":\"12345678\",\"seven b\":\"1234567\",\"n\":\"123456789\"}",
    ] {
        assert!(read_alike(json.as_bytes()), "{json}");
    }
}

#[test]
fn everything_else_is_left_to_the_full_parser() {
    for json in [
        "",
        "{",
        "{}}",
        "{} ",
        " {}",
        "[]",
        "1",
        "null",
        "{\"a\":1",
        "{\"a\"",
        "{\"a\":",
        "{\"a\":1,}",
        "{,}",
        "{\"a\" 1}",
        "{\"a\":[]}",
        "{\"a\":{}}",
        "{\"a\":\"\\n\"}",
        "{\"a\\n\":1}",
        "{\"a\":\"\n\"}",
        "{\"a\":\"",
        "{\"a\":01}",
        "{\"a\":-}",
        "{\"a\":-0}",
        "{\"a\":-01}",
        "{\"a\":00}",
        "{\"a\":1.}",
        "{\"a\":.5}",
        "{\"a\":1e5}",
        "{\"a\":1.5e5}",
        "{\"a\":123456789012345678}",
        "{\"a\":0.12345678901234567}",
        "{\"a\":+1}",
        "{\"a\":tru}",
        "{\"a\":nulll}",
        "{\"a\":1 2}",
        "{\"a\":1}{\"b\":2}",
        "{a:1}",
        "{'a':1}",
        "{\"a\":\"1234567\n\"}",
        "{\"a\":\"12\u{0}\"}",
    ] {
        assert_eq!(plain(json.as_bytes()), None, "{json}");
    }
    assert_eq!(plain(b"{\"a\":\"\xff\"}"), None);
}

#[test]
fn every_byte_that_ends_or_spoils_a_text_is_found_wherever_it_stands() {
    for byte in 0..=u8::MAX {
        for at in 0..17 {
            let mut text = [b'x'; 17];
            text[at] = byte;
            let mut quoted = text.to_vec();
            quoted.push(b'"');
            let whole =
                (byte >= b' ' && byte != b'\\').then_some(if byte == b'"' { at } else { 17 });
            assert_eq!(string_len(&quoted), whole, "{byte:#x} at {at}");
        }
    }
}

fn token() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => prop::sample::select(vec![
            "{", "}", ",", ":", "\"", " ", "\n", "\"a\"", "\"b\":", "true", "null", "0", "-", ".", "e", "\\", "[", "]",
        ])
        .prop_map(str::to_owned),
        1 => "[0-9]{1,20}(\\.[0-9]{1,20})?",
        1 => "\\PC{0,12}",
    ]
}

fn member() -> impl Strategy<Value = String> {
    let value = prop_oneof![
        "\"[^\"\\\\\\pC]{0,30}\"",
        "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,20})?",
        "true|false|null|-0|1e3|\\[\\]|\"\\\\u00e9\"",
    ];
    ("\"[a-zé]{0,9}\"", "[ \n\t]{0,2}", value, "[ \r]{0,2}")
        .prop_map(|(name, before, value, after)| format!("{name}{after}:{before}{value}{after}"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_object_is_read_as_the_full_parser_reads_it_or_left_to_it(
        members in prop::collection::vec(member(), 0..6),
        spoil in prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
    ) {
        let mut json = format!("{{{}}}", members.join(",")).into_bytes();
        if let Some((at, byte)) = spoil {
            let at = at.index(json.len());
            json[at] = byte;
        }
        read_alike(&json);
    }

    #[test]
    fn anything_is_read_as_the_full_parser_reads_it_or_left_to_it(tokens in prop::collection::vec(token(), 0..12)) {
        read_alike(format!("{{{}}}", tokens.concat()).as_bytes());
        read_alike(tokens.concat().as_bytes());
    }
}
