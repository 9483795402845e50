//! An oracle of its own: JSON read by RFC 8259 and nothing else, with numbers as they were written, and
//! held against what the archive made of it.

use bson::Bson;

/// A value, as it was written.
#[derive(Debug, Clone, PartialEq)]
pub enum Json {
    /// `null`
    Null,
    /// `true`, `false`
    Bool(bool),
    /// A number's characters.
    Number(String),
    /// A string, unescaped.
    String(String),
    /// `[…]`
    Array(Vec<Json>),
    /// `{…}`, in its order.
    Object(Vec<(String, Json)>),
}

impl Json {
    /// Reads `text`; none if it is no JSON, or has half of a surrogate pair.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let mut reader = Reader { rest: text };
        let value = reader.value()?;
        reader.space();
        reader.rest.is_empty().then_some(value)
    }

    /// What the archive should hold, types included: integers of 32 or 64 bits or decimals, other numbers as the
    /// nearest double, objects in their order.
    #[must_use]
    pub fn archived(&self) -> Bson {
        match self {
            Self::Null => Bson::Null,
            Self::Bool(b) => Bson::Boolean(*b),
            Self::String(text) => Bson::String(text.clone()),
            Self::Array(values) => Bson::Array(values.iter().map(Self::archived).collect()),
            Self::Object(fields) => Bson::Document(
                fields
                    .iter()
                    .map(|(name, value)| (name.clone(), value.archived()))
                    .collect(),
            ),
            Self::Number(text) if text.contains(['.', 'e', 'E']) => {
                Bson::Double(text.parse().expect("a number"))
            }
            Self::Number(text) => match text.parse::<i64>() {
                Ok(number) => i32::try_from(number).map_or(Bson::Int64(number), Bson::Int32),
                Err(_) => Bson::Decimal128(text.parse().expect("34 digits")),
            },
        }
    }
}

/// Whether two values are the same, also in their types and in the sign of a zero.
#[must_use]
pub fn same(a: &Bson, b: &Bson) -> bool {
    match (a, b) {
        (Bson::Double(a), Bson::Double(b)) => a.to_bits() == b.to_bits(),
        (Bson::Array(a), Bson::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Bson::Document(a), Bson::Document(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|((m, a), (n, b))| m == n && same(a, b))
        }
        (a, b) => a == b,
    }
}

struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    fn space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\r', '\n']);
    }

    fn eat(&mut self, token: &str) -> Option<()> {
        self.rest = self.rest.strip_prefix(token)?;
        Some(())
    }

    fn value(&mut self) -> Option<Json> {
        self.space();
        match self.rest.as_bytes().first()? {
            b'n' => self.eat("null").map(|()| Json::Null),
            b't' => self.eat("true").map(|()| Json::Bool(true)),
            b'f' => self.eat("false").map(|()| Json::Bool(false)),
            b'"' => self.string().map(Json::String),
            b'[' => self.list("[", "]", Self::value).map(Json::Array),
            b'{' => self.list("{", "}", Self::field).map(Json::Object),
            _ => self.number(),
        }
    }

    fn list<T>(
        &mut self,
        open: &str,
        close: &str,
        item: impl Fn(&mut Self) -> Option<T>,
    ) -> Option<Vec<T>> {
        self.eat(open)?;
        self.space();
        let mut items = Vec::new();
        if self.eat(close).is_some() {
            return Some(items);
        }
        loop {
            items.push(item(self)?);
            self.space();
            if self.eat(close).is_some() {
                return Some(items);
            }
            self.eat(",")?;
        }
    }

    fn field(&mut self) -> Option<(String, Json)> {
        self.space();
        let name = self.string()?;
        self.space();
        self.eat(":")?;
        Some((name, self.value()?))
    }

    fn number(&mut self) -> Option<Json> {
        let end = self
            .rest
            .find(|c: char| !matches!(c, '0'..='9' | '+' | '-' | '.' | 'e' | 'E'));
        let (number, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let (mantissa, exponent) = match number.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (
                mantissa,
                Some(exponent.strip_prefix(['+', '-']).unwrap_or(exponent)),
            ),
            None => (number, None),
        };
        let (whole, fraction) = match mantissa.split_once('.') {
            Some((whole, fraction)) => (whole, Some(fraction)),
            None => (mantissa, None),
        };
        let whole = whole.strip_prefix('-').unwrap_or(whole);
        let sound = digits(whole) && (whole == "0" || !whole.starts_with('0'));
        if !sound || !fraction.is_none_or(digits) || !exponent.is_none_or(digits) {
            return None;
        }
        self.rest = rest;
        Some(Json::Number(number.to_owned()))
    }

    fn string(&mut self) -> Option<String> {
        self.eat("\"")?;
        let mut text = String::new();
        loop {
            let c = self.rest.chars().next()?;
            self.rest = &self.rest[c.len_utf8()..];
            match c {
                '"' => return Some(text),
                '\\' => text.push(self.escape()?),
                '\0'..='\x1f' => return None,
                c => text.push(c),
            }
        }
    }

    fn escape(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.rest = &self.rest[c.len_utf8()..];
        Some(match c {
            '"' | '\\' | '/' => c,
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let high = self.unit()?;
                if !(0xd800..0xdc00).contains(&high) {
                    return char::from_u32(high);
                }
                self.eat("\\u")?;
                let low = self.unit().filter(|low| (0xdc00..0xe000).contains(low))?;
                return char::from_u32(0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00));
            }
            _ => return None,
        })
    }

    fn unit(&mut self) -> Option<u32> {
        let digits = self
            .rest
            .get(..4)
            .filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()))?;
        self.rest = &self.rest[4..];
        u32::from_str_radix(digits, 16).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_read_as_it_was_written() {
        let text =
            r#" {"a\u00ed\ud83d\ude00" : [ -0 , 1.50 , 2E+3, "\/\n" , {} , [ ], null,true ] } "#;
        let number = |n: &str| Json::Number(n.into());
        let list = vec![
            number("-0"),
            number("1.50"),
            number("2E+3"),
            Json::String("/\n".into()),
            Json::Object(vec![]),
            Json::Array(vec![]),
            Json::Null,
            Json::Bool(true),
        ];
        assert_eq!(
            Json::read(text),
            Some(Json::Object(vec![("aí😀".into(), Json::Array(list))]))
        );
    }

    #[test]
    fn what_is_no_json_is_not_read() {
        for text in [
            "",
            "{",
            "[1,]",
            "01",
            "1.",
            ".5",
            "+1",
            "1e",
            "-",
            "\"\\x\"",
            "\"\\ud800\"",
            "\"\n\"",
            "{} {}",
            "nul",
            "{\"a\" 1}",
            "[1 2]",
        ] {
            assert_eq!(Json::read(text), None, "{text}");
        }
    }
}
