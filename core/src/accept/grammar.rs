//! Whether bytes are one JSON text in UTF-8, and where they are not: the slow path, which finds the place and the
//! words.

use serde::de::IgnoredAny;

use super::Refusal;

/// What keeps `json` from being one JSON text (RFC 8259), however large or deep it is; its offset is in `json`.
#[must_use]
pub fn fault(json: &[u8]) -> Option<Refusal> {
    if let Some(what) = foreign_encoding(json) {
        return Some(Refusal::malformed(0, what));
    }
    if let Err(e) = std::str::from_utf8(json) {
        let at = e.valid_up_to();
        let mut detail = "not UTF-8: JSON is always sent as UTF-8 (RFC 8259)".to_owned();
        if let [letter @ 0xc0..=0xff, next, ..] = &json[at..]
            && next.is_ascii()
        {
            // No sequence of UTF-8 begins so, and in those encodings most accented letters do.
            detail +=
                &format!("; the byte {letter:02X} looks like a letter of Latin-1 or Windows-1252");
        }
        return Some(Refusal::malformed(at, detail));
    }
    let error = serde_json::from_slice::<IgnoredAny>(json).err()?;
    let (line, column) = (error.line(), error.column());
    // The place is told as an offset, in the body: here only the event is known.
    let (text, place) = (
        error.to_string(),
        format!(" at line {line} column {column}"),
    );
    let what = text.strip_suffix(&place).unwrap_or(&text);
    let mut at = offset_of(json, line, column);
    if what.starts_with("control character") {
        // serde_json tells the byte before that one.
        let control = json[at..].iter().position(|b| *b < b' ');
        at += control.unwrap_or_default();
    }
    Some(Refusal::malformed(at, format!("not JSON: {what}")))
}

/// What is at the beginning of `text` that is no JSON in UTF-8, if it is the sign of an encoding.
#[must_use]
pub fn foreign_encoding(text: &[u8]) -> Option<&'static str> {
    match text {
        [b'{' | b'[', 1..=0xff, ..] => None, // as nearly always
        [0xef, 0xbb, 0xbf, ..] => Some(
            "not JSON: it begins with a byte-order mark (U+FEFF), which JSON does not have (RFC 8259, section 8.1): leave it out",
        ),
        [0xff, 0xfe, 0, 0, ..]
        | [0, 0, 0xfe, 0xff, ..]
        | [1..=0xff, 0, 0, 0, ..]
        | [0, 0, 0, 1..=0xff, ..] => {
            Some("not UTF-8: this looks like UTF-32; JSON is always sent as UTF-8 (RFC 8259)")
        }
        [0xff, 0xfe, ..]
        | [0xfe, 0xff, ..]
        | [1..=0xff, 0, 1..=0xff, 0, ..]
        | [0, 1..=0xff, 0, 1..=0xff, ..] => {
            Some("not UTF-8: this looks like UTF-16; JSON is always sent as UTF-8 (RFC 8259)")
        }
        _ => None,
    }
}

/// Byte of a line and a column as serde_json counts them: both from 1, columns in bytes.
fn offset_of(json: &[u8], line: usize, column: usize) -> usize {
    let start = match line.checked_sub(2) {
        None => 0,
        Some(newlines) => memchr::memchr_iter(b'\n', json)
            .nth(newlines)
            .map_or(0, |at| at + 1),
    };
    (start + column.saturating_sub(1)).min(json.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_encoding_that_is_not_utf_8_is_named() {
        let utf16 = |text: &str, bytes: fn(u16) -> [u8; 2]| -> Vec<u8> {
            text.encode_utf16().flat_map(bytes).collect()
        };
        for (json, named) in [
            (b"\xef\xbb\xbf{}".to_vec(), "byte-order mark"),
            (utf16("{\"a\":1}", u16::to_le_bytes), "UTF-16"),
            (utf16("{\"a\":1}", u16::to_be_bytes), "UTF-16"),
            (utf16("\u{feff}{}", u16::to_le_bytes), "UTF-16"),
            (utf16("\u{feff}{}", u16::to_be_bytes), "UTF-16"),
            (b"{\0\0\0}\0\0\0".to_vec(), "UTF-32"),
            (b"\0\0\0{\0\0\0}".to_vec(), "UTF-32"),
            (b"{\"a\":\"se\xf1or\"}".to_vec(), "Latin-1"),
        ] {
            let refusal = fault(&json).expect("no JSON");
            assert!(refusal.detail.contains(named), "{refusal}");
        }
    }

    #[test]
    fn a_text_is_held_against_the_grammar_alone_however_deep_it_is() {
        let deep = |inside: &str| {
            let (open, close) = ("[".repeat(100_000), "]".repeat(100_000));
            format!("{open}{inside}{close}")
        };
        for good in [&deep("1")[..], r#"{"a":1,"a":1e999}"#, r#""\ud800""#, "7"] {
            assert_eq!(fault(good.as_bytes()), None);
        }
        let refusal = fault(deep("1 2").as_bytes()).expect("no JSON");
        assert_eq!(refusal.offset, Some(100_002));
        for (json, at) in [
            ("{\"a\":\"b\x01\"}", 7),
            ("{\"a\":\n\"\n\"}", 7),
            ("\"\x01\x02\"", 1),
            ("\"\x7f\x02\"", 2),
        ] {
            assert_eq!(fault(json.as_bytes()).expect("no JSON").offset, Some(at));
        }
        let refusal = fault(b"{\"a\":1,\n\"b\" 2}").expect("no JSON");
        assert_eq!(
            (refusal.offset, &*refusal.detail),
            (Some(12), "not JSON: expected `:`")
        );
    }
}
