//! A document of the archive as JSON for people: its fields in their order, and integers to the last digit.

use bson::{Bson, Document, spec::BinarySubtype};
use uuid::Uuid;

/// The document, in lines if it `is_pretty`.
#[must_use]
pub fn text(document: &Document, is_pretty: bool) -> String {
    let mut out = String::new();
    let mut writer = Writer {
        out: &mut out,
        is_pretty,
        depth: 0,
    };
    writer.document(document);
    out
}

struct Writer<'a> {
    out: &'a mut String,
    is_pretty: bool,
    depth: usize,
}

impl Writer<'_> {
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
                    let hex = binary.bytes.iter().map(|byte| format!("{byte:02x}"));
                    self.string(&hex.collect::<String>());
                }
            },
            other => self.string(&other.to_string()),
        }
    }

    fn string(&mut self, text: &str) {
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
        self.out.extend(std::iter::repeat_n("  ", self.depth));
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
            text(&document, false),
            "{\"z\": \"a\\\"\u{202e}<b>\\n\", \"a\": [1, 2.5, null, true], \"e\": {}, \"n\": {\"x\": 1}}"
        );
        assert_eq!(
            text(&doc! { "a": [1], "e": [] }, true),
            "{\n  \"a\": [\n    1\n  ],\n  \"e\": []\n}"
        );
    }
}
