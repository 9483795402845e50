//! Events as most are: one flat object without escapes, whose texts are slices of the JSON itself. Read
//! in one pass, without the copy and the index that the full parser makes of every event. Whatever an
//! event has besides is left to that parser, and so is saying what is wrong with one.
//!
//! With the rules that follow, an event of 105 bytes takes 1,270 instructions, and took 1,740 by the full parser alone;
//! one that has an escape in its last field takes 2,730 instead of 2,010 (`scripts/instructions`).

use simd_json::{Node, StaticNode};

/// Digits of a number that is read here: any so long fits 64 bits, and is far from overflowing a double.
const DIGITS_MAX: usize = 17;

/// Adds the nodes of `json` to `nodes`, the very ones that the full parser would; or none, after which
/// `nodes` may hold some, if it has to look.
pub(super) fn read<'a>(json: &'a [u8], nodes: &mut Vec<Node<'a>>) -> Option<()> {
    let json = simdutf8::basic::from_utf8(json).ok()?;
    let mut rest = Rest { json, at: 0 };
    rest.one(b'{')?;
    let object = nodes.len();
    nodes.push(Node::Object { len: 0, count: 0 });
    let mut len = 0;
    if rest.token()? == b'}' {
        rest.at += 1;
    } else {
        loop {
            rest.token()?;
            nodes.push(Node::String(rest.string()?));
            rest.token()?;
            rest.one(b':')?;
            nodes.push(rest.value()?);
            len += 1;
            match rest.token()? {
                b',' => rest.at += 1,
                b'}' => break rest.at += 1,
                _ => return None,
            }
        }
    }
    nodes[object] = Node::Object {
        len,
        count: 2 * len,
    };
    (rest.at == json.len()).then_some(())
}

struct Rest<'a> {
    json: &'a str,
    at: usize,
}

impl<'a> Rest<'a> {
    fn next(&self) -> Option<u8> {
        self.json.as_bytes().get(self.at).copied()
    }

    fn one(&mut self, byte: u8) -> Option<()> {
        (self.next()? == byte).then(|| self.at += 1)
    }

    /// The next byte that is not white space.
    fn token(&mut self) -> Option<u8> {
        loop {
            match self.next()? {
                b' ' | b'\t' | b'\r' | b'\n' => self.at += 1,
                byte => return Some(byte),
            }
        }
    }

    fn string(&mut self) -> Option<&'a str> {
        self.one(b'"')?;
        let start = self.at;
        let len = string_len(&self.json.as_bytes()[start..])?;
        self.at = start + len + 1;
        self.json.get(start..start + len)
    }

    fn value(&mut self) -> Option<Node<'a>> {
        Some(match self.token()? {
            b'"' => Node::String(self.string()?),
            b'-' | b'0'..=b'9' => Node::Static(self.number()?),
            b't' => self.word("true", StaticNode::Bool(true))?,
            b'f' => self.word("false", StaticNode::Bool(false))?,
            b'n' => self.word("null", StaticNode::Null)?,
            _ => return None,
        })
    }

    fn word(&mut self, word: &str, node: StaticNode) -> Option<Node<'a>> {
        let found = self.json.as_bytes()[self.at..].starts_with(word.as_bytes());
        found.then(|| {
            self.at += word.len();
            Node::Static(node)
        })
    }

    /// Without an exponent; what comes after it is the caller's to look at.
    fn number(&mut self) -> Option<StaticNode> {
        let start = self.at;
        if self.next()? == b'-' {
            self.at += 1;
        }
        let whole = self.digits()?;
        if whole > 1 && self.json.as_bytes()[self.at - whole] == b'0' {
            return None;
        }
        if self.next() == Some(b'.') {
            self.at += 1;
            if whole + self.digits()? > DIGITS_MAX {
                return None;
            }
            return Some(StaticNode::F64(self.json[start..self.at].parse().ok()?));
        }
        let text = &self.json[start..self.at];
        match text.parse().ok()? {
            // `-0` is for the full parser to decide on.
            0_i64 if text != "0" => None,
            negative if negative < 0 => Some(StaticNode::I64(negative)),
            positive => Some(StaticNode::U64(positive.cast_unsigned())),
        }
    }

    /// How many there are: one at least.
    fn digits(&mut self) -> Option<usize> {
        let left = &self.json.as_bytes()[self.at..];
        let digits = left.iter().take_while(|b| b.is_ascii_digit()).count();
        self.at += digits;
        (1..=DIGITS_MAX).contains(&digits).then_some(digits)
    }
}

/// Bytes before the quotation mark that closes the text that `bytes` begin with; none if it does not, or
/// has an escape or a control character before.
fn string_len(bytes: &[u8]) -> Option<usize> {
    let (words, last) = bytes.as_chunks::<8>();
    let word = |(i, word): (usize, &[u8; 8])| {
        let found = special(u64::from_le_bytes(*word));
        (found != 0).then(|| 8 * i + found.trailing_zeros() as usize / 8)
    };
    let special = words.iter().enumerate().find_map(word).or_else(|| {
        let special = |b: &u8| *b < b' ' || matches!(b, b'"' | b'\\');
        Some(8 * words.len() + last.iter().position(special)?)
    })?;
    (bytes[special] == b'"').then_some(special)
}

/// The lowest bit that is set is of the first byte that is a quotation mark, a backslash or a control
/// character (Bit Twiddling Hacks, "Determine if a word has a byte less than n"; a borrow reaches only
/// bytes above the first).
fn special(word: u64) -> u64 {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    let below = |word: u64, n: u8| word.wrapping_sub(ONES * u64::from(n)) & !word;
    let is = |byte: u8| below(word ^ (ONES * u64::from(byte)), 1);
    (below(word, b' ') | is(b'"') | is(b'\\')) & (ONES << 7)
}

#[cfg(test)]
#[path = "plain_tests.rs"]
mod tests;
