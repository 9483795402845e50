//! A document of the archive as JSON for people: its fields in their order, and integers to the last digit.

use bson::{Bson, Document, spec::BinarySubtype};
use uuid::Uuid;

/// Levels that are indented; deeper ones stand below each other.
const INDENTED: usize = 16;

/// The document, in lines if it `is_pretty`, up to `bytes_max` bytes; and whether that is not all of it.
#[must_use]
pub fn text(document: &Document, is_pretty: bool, bytes_max: usize) -> (String, bool) {
    let mut writer = Writer {
        out: String::new(),
        bytes_max,
        is_pretty,
        depth: 0,
    };
    writer.document(document);
    let is_cut = writer.is_full();
    let mut out = writer.out;
    out.truncate(out.floor_char_boundary(bytes_max));
    (out, is_cut)
}

struct Writer {
    out: String,
    /// What is written beyond it is thrown away.
    bytes_max: usize,
    is_pretty: bool,
    depth: usize,
}

impl Writer {
    fn is_full(&self) -> bool {
        self.out.len() > self.bytes_max
    }

    fn document(&mut self, document: &Document) {
        self.within('{', '}', document.iter(), |writer, (name, value)| {
            writer.string(name);
            writer.out.push_str(": ");
            writer.value(value);
        });
    }

    fn value(&mut self, value: &Bson) {
        match value {
            Bson::Document(document) => self.document(document),
            Bson::Array(values) => self.within('[', ']', values.iter(), Self::value),
            Bson::String(text) => self.string(text),
            Bson::Boolean(b) => self.out.push_str(if *b { "true" } else { "false" }),
            Bson::Null => self.out.push_str("null"),
            Bson::Int32(n) => self.out.push_str(&n.to_string()),
            Bson::Int64(n) => self.out.push_str(&n.to_string()),
            Bson::Double(n) => self.out.push_str(&serde_json::json!(n).to_string()),
            // An integer that fits into nothing else.
            Bson::Decimal128(n) => self.out.push_str(&n.to_string()),
            Bson::DateTime(at) => self.string(&at.try_to_rfc3339_string().unwrap_or_default()),
            Bson::Binary(binary) => match (binary.subtype, Uuid::from_slice(&binary.bytes)) {
                (BinarySubtype::Uuid, Ok(id)) => self.string(&id.to_string()),
                _ => {
                    let bytes = binary.bytes.iter().take(self.bytes_max);
                    let hex = bytes.map(|byte| format!("{byte:02x}"));
                    self.string(&hex.collect::<String>());
                }
            },
            other => self.string(&other.to_string()),
        }
    }

    fn string(&mut self, text: &str) {
        // With its quotes it is too long all the same.
        let text = &text[..text.floor_char_boundary(self.bytes_max)];
        self.out.push_str(&serde_json::json!(text).to_string());
    }

    fn within<T>(
        &mut self,
        open: char,
        close: char,
        items: impl Iterator<Item = T>,
        mut write: impl FnMut(&mut Self, T),
    ) {
        let mut is_empty = true;
        self.out.push(open);
        self.depth += 1;
        for (i, item) in items.enumerate() {
            if self.is_full() {
                break;
            }
            is_empty = false;
            if i > 0 {
                self.out.push(',');
            }
            match self.is_pretty {
                true => self.line(),
                false if i > 0 => self.out.push(' '),
                false => {}
            }
            write(self, item);
        }
        self.depth -= 1;
        if self.is_pretty && !is_empty {
            self.line();
        }
        self.out.push(close);
    }

    fn line(&mut self) {
        self.out.push('\n');
        let levels = self.depth.min(INDENTED);
        self.out.extend(std::iter::repeat_n("  ", levels));
    }
}

#[cfg(test)]
mod tests {
    use bson::doc;

    use super::*;

    #[test]
    fn fields_stay_in_order_and_texts_are_escaped() {
        let document = doc! { "z": "a\"\u{202e}<b>\n", "a": [1_i64, 2.5, null, true], "e": {}, "n": { "x": 1 } };
        assert_eq!(
            text(&document, false, 1000).0,
            "{\"z\": \"a\\\"\u{202e}<b>\\n\", \"a\": [1, 2.5, null, true], \"e\": {}, \"n\": {\"x\": 1}}"
        );
        assert_eq!(
            text(&doc! { "a": [1], "e": [] }, true, 1000).0,
            "{\n  \"a\": [\n    1\n  ],\n  \"e\": []\n}"
        );
    }

    #[test]
    fn a_document_s_text_is_bounded_however_deep_or_long_it_is() {
        let mut deep = Bson::Array(vec![Bson::Int32(1); 100_000]);
        for _ in 0..61 {
            deep = Bson::Array(vec![deep]);
        }
        let deep = doc! { "a": deep };
        let (whole, is_cut) = text(&deep, true, 16 << 20);
        assert!(!is_cut && whole.ends_with('}'));
        let longest = whole.lines().map(str::len).max();
        assert!(longest <= Some(2 * INDENTED + 10), "{longest:?}");
        let (begin, is_cut) = text(&deep, true, 1 << 20);
        assert!(is_cut && begin.len() == 1 << 20 && whole.starts_with(&begin));
        let long = doc! { "a": "ñ".repeat(1000) };
        let (begin, is_cut) = text(&long, false, 100);
        assert!(
            is_cut && begin.len() <= 100 && begin.ends_with('ñ'),
            "{begin}"
        );
        let all = text(&long, false, 10_000).0;
        assert_eq!(text(&long, false, all.len()), (all.clone(), false));
        assert!(text(&long, false, all.len() - 1).1);
    }
}
