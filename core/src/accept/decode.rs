//! JSON to a tape of nodes, and the rules that hold for every stream.

use std::{borrow::Cow, collections::HashSet};

use memchr::{memchr, memchr2_iter};
use simd_json::{Buffers, INPUT_PADDING, Node, StaticNode, Tape, fill_tape_padded};

use super::{Kind, Refusal, large, plain, unstorable};
use crate::scalar::{LargeInt, Scalar};

/// Levels of nesting that an event may have; its own braces are the first. MongoDB holds 100.
pub const DEPTH_MAX: usize = 64;

/// Names that the archive keeps for itself.
const RESERVED: [&str; 2] = ["_id", "_aguacero"];

/// Keys that are compared pairwise; objects with more of them use a hash set.
const PAIRWISE_MAX: usize = 16;

/// Decodes events one after another in buffers that it keeps.
pub struct Decoder {
    event_bytes_max: usize,
    /// A copy of the event, which the parser unescapes in place, and its padding.
    scratch: Vec<u8>,
    /// The same, of an event with integers beyond 64 bits with a sign.
    large: Vec<u8>,
    buffers: Buffers,
    /// Empty between two events; kept for its allocation.
    tape: Tape<'static>,
}

/// An accepted event: a JSON object.
#[derive(Debug, Clone, Copy)]
pub struct Document<'a> {
    nodes: &'a [Node<'a>],
}

/// A value in an accepted event.
#[derive(Debug, Clone)]
pub enum Value<'a> {
    /// `null`
    Null,
    /// Text, number or truth value.
    Scalar(Scalar<'a>),
    /// `{…}`
    Object(Document<'a>),
    /// `[…]`
    Array(Array<'a>),
}

/// An array in an accepted event.
#[derive(Debug, Clone, Copy)]
pub struct Array<'a> {
    nodes: &'a [Node<'a>],
}

impl Decoder {
    /// A decoder for events of at most `event_bytes_max` bytes.
    #[must_use]
    pub fn new(event_bytes_max: usize) -> Self {
        Self {
            event_bytes_max,
            scratch: Vec::new(),
            large: Vec::new(),
            buffers: Buffers::new(1024),
            tape: Tape::null().reset(),
        }
    }

    /// Decodes `json`, one event without white space around it, and shows it to `use_it` if every
    /// rule holds. `json` itself stays untouched.
    pub fn decode<T>(
        &mut self,
        json: &[u8],
        use_it: impl FnOnce(Document<'_>) -> T,
    ) -> Result<T, Refusal> {
        self.decode_by(plain::read, json, use_it)
    }

    /// [`Self::decode`] by the full parser alone, for `fuzz/`, which holds the two against each other.
    #[doc(hidden)]
    pub fn decode_in_full<T>(
        &mut self,
        json: &[u8],
        use_it: impl FnOnce(Document<'_>) -> T,
    ) -> Result<T, Refusal> {
        self.decode_by(|_, _| None, json, use_it)
    }

    fn decode_by<T>(
        &mut self,
        plain: impl for<'a> FnOnce(&'a [u8], &mut Vec<Node<'a>>) -> Option<()>,
        json: &[u8],
        use_it: impl FnOnce(Document<'_>) -> T,
    ) -> Result<T, Refusal> {
        self.check_size(json)?;
        let mut tape = std::mem::replace(&mut self.tape, Tape(Vec::new())).reset();
        let read = match plain(json, &mut tape.0) {
            Some(()) => Ok(()),
            None => {
                let copies = [&mut self.scratch, &mut self.large];
                parse(json, copies, &mut self.buffers, &mut tape)
            }
        };
        let result = read
            .and_then(|()| check_after(&tape.0))
            .map(|()| use_it(Document { nodes: &tape.0 }));
        self.tape = tape.reset();
        result
    }

    fn check_size(&self, json: &[u8]) -> Result<(), Refusal> {
        if json.len() > self.event_bytes_max {
            return Err(Refusal {
                kind: Kind::TooLarge,
                field: None,
                offset: None,
                detail: format!(
                    "an event may have {} bytes, this one has {}",
                    self.event_bytes_max,
                    json.len()
                ),
            });
        }
        if json.is_empty() {
            return Err(Refusal::unfit(
                None,
                "an event is a JSON object, this one is empty",
            ));
        }
        Ok(())
    }
}

/// Any JSON at all, by the full parser. `scratch` and, for the sake of large integers, `large` get copies, which are
/// unescaped in place, and their padding.
fn parse<'a>(
    json: &[u8],
    [scratch, large]: [&'a mut Vec<u8>; 2],
    buffers: &mut Buffers,
    tape: &mut Tape<'a>,
) -> Result<(), Refusal> {
    // A parser is never given a depth bomb. This settles nearly every event; only the rest is looked at in full.
    if memchr2_iter(b'{', b'[', json).nth(DEPTH_MAX).is_some() {
        check_depth(json)?;
    }
    scratch.clear();
    scratch.extend_from_slice(json);
    let parsed = fill(scratch, buffers, tape);
    let is_beyond =
        |node: &Node<'_>| matches!(node, Node::Static(StaticNode::U64(n)) if *n > i64::MAX as u64);
    if parsed.is_ok() && !tape.0.iter().any(is_beyond) {
        return Ok(());
    }
    parse_large(json, large, parsed, buffers, tape)
}

/// The same for an event that the parser has `parsed` in vain, or that has an integer beyond 64 bits with a sign: kept
/// out of the way of all others.
#[cold]
#[inline(never)]
fn parse_large<'a>(
    json: &[u8],
    large: &'a mut Vec<u8>,
    mut parsed: simd_json::Result<()>,
    buffers: &mut Buffers,
    tape: &mut Tape<'a>,
) -> Result<(), Refusal> {
    let arrays = large::as_arrays(json, large);
    if !arrays.is_empty() {
        parsed = fill(large, buffers, tape);
    }
    parsed.map_err(|error| unstorable::explain(json, &error))?;
    large::mark(&mut tape.0, &arrays);
    Ok(())
}

/// Fills the tape from a copy, which is padded for it.
#[inline(never)]
fn fill<'a>(
    copy: &'a mut Vec<u8>,
    buffers: &mut Buffers,
    tape: &mut Tape<'a>,
) -> simd_json::Result<()> {
    let len = copy.len();
    copy.resize(len + INPUT_PADDING, b' ');
    tape.0.clear();
    fill_tape_padded(copy, len, buffers, tape)
}

fn check_depth(json: &[u8]) -> Result<(), Refusal> {
    let (mut depth, mut i) = (0_usize, 0);
    while i < json.len() {
        match json[i] {
            b'{' | b'[' => {
                depth += 1;
                if depth > DEPTH_MAX {
                    let detail = format!("nested deeper than {DEPTH_MAX} levels");
                    return Err(Refusal::unfit(None, detail).at(i));
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => i = string_end(json, i),
            _ => {}
        }
        i += 1;
    }
    Ok(())
}

/// Position of the quotation mark that closes the string which opens at `open`, or the end.
#[must_use]
pub fn string_end(json: &[u8], open: usize) -> usize {
    let mut i = open + 1;
    while let Some(found) = json.get(i..).and_then(|rest| memchr(b'"', rest)) {
        let quote = i + found;
        let backslashes = json[open + 1..quote]
            .iter()
            .rev()
            .take_while(|&&b| b == b'\\')
            .count();
        if backslashes % 2 == 0 {
            return quote;
        }
        i = quote + 1;
    }
    json.len()
}

/// The rules for a parsed event.
fn check_after(nodes: &[Node<'_>]) -> Result<(), Refusal> {
    if !matches!(nodes.first(), Some(node @ Node::Object { .. }) if !large::is_mark(node)) {
        let detail = "an event is a JSON object: {\"field\": value, …}";
        return Err(Refusal::unfit(None, detail).at(0));
    }
    for (i, node) in nodes.iter().enumerate() {
        if let Node::Object { len, .. } = node {
            check_keys(nodes, i, *len, i == 0)?;
        }
    }
    Ok(())
}

fn check_keys(nodes: &[Node<'_>], object: usize, len: usize, top: bool) -> Result<(), Refusal> {
    let keys = || members(&nodes[object..]).map(|(key, _)| key);
    for key in keys() {
        if memchr(0, key.as_bytes()).is_some() {
            let detail = "a field's name contains a NUL character, which MongoDB cannot hold";
            return Err(Refusal::unfit(Some(key), detail));
        }
        if top && RESERVED.contains(&key) {
            let detail = format!("the name {key} is reserved for the archive: rename the field");
            return Err(Refusal::unfit(Some(key), detail));
        }
    }
    match first_repeated(keys, len) {
        Some(key) => Err(Refusal::unfit(
            Some(key),
            "the field is given twice in one object: which one counts is anyone's guess",
        )),
        None => Ok(()),
    }
}

fn first_repeated<'a, K: Iterator<Item = &'a str>>(
    keys: impl Fn() -> K,
    len: usize,
) -> Option<&'a str> {
    if len <= PAIRWISE_MAX {
        return keys()
            .enumerate()
            .find(|(i, key)| keys().take(*i).any(|other| other == *key))
            .map(|(_, key)| key);
    }
    let mut seen = HashSet::with_capacity(len);
    keys().find(|key| !seen.insert(*key))
}

/// The members of the object that `nodes` begins with: each name, and the nodes that its value begins.
fn members<'a>(nodes: &'a [Node<'a>]) -> impl Iterator<Item = (&'a str, &'a [Node<'a>])> {
    let mut left = match nodes.first() {
        Some(Node::Object { len, .. }) => *len,
        _ => 0,
    };
    let mut rest = nodes.get(1..).unwrap_or_default();
    std::iter::from_fn(move || {
        left = left.checked_sub(1)?;
        let (Node::String(key), value) = rest.split_first()? else {
            return None;
        };
        rest = after(value)?;
        Some((*key, value))
    })
}

impl<'a> Document<'a> {
    /// Names and values in the order of the event.
    pub fn entries(self) -> impl Iterator<Item = (&'a str, Value<'a>)> + use<'a> {
        members(self.nodes).map_while(|(key, nodes)| Some((key, value(nodes)?)))
    }
}

impl<'a> Array<'a> {
    /// The elements in their order.
    pub fn elements(self) -> impl Iterator<Item = Value<'a>> + use<'a> {
        let mut left = match self.nodes.first() {
            Some(Node::Array { len, .. }) => *len,
            _ => 0,
        };
        let mut rest = self.nodes.get(1..).unwrap_or_default();
        std::iter::from_fn(move || {
            left = left.checked_sub(1)?;
            let element = value(rest)?;
            rest = after(rest)?;
            Some(element)
        })
    }
}

/// The value that `nodes` begins with.
fn value<'a>(nodes: &'a [Node<'a>]) -> Option<Value<'a>> {
    Some(match nodes.first()? {
        Node::String(s) => Value::Scalar(Scalar::Str(Cow::Borrowed(s))),
        Node::Static(StaticNode::Null) => Value::Null,
        Node::Static(StaticNode::Bool(b)) => Value::Scalar(Scalar::Bool(*b)),
        Node::Static(StaticNode::I64(n)) => Value::Scalar(Scalar::Int(*n)),
        // A larger one is marked.
        Node::Static(StaticNode::U64(n)) => Value::Scalar(Scalar::Int(n.cast_signed())),
        Node::Static(StaticNode::F64(n)) => Value::Scalar(Scalar::Float(*n)),
        node @ Node::Object { .. } if large::is_mark(node) => match nodes.get(1)? {
            Node::String(digits) => {
                Value::Scalar(Scalar::Large(LargeInt::read(digits.as_bytes())?))
            }
            _ => return None,
        },
        Node::Object { .. } => Value::Object(Document { nodes }),
        Node::Array { .. } => Value::Array(Array { nodes }),
    })
}

/// The nodes after the value that `nodes` begins with.
fn after<'a>(nodes: &'a [Node<'a>]) -> Option<&'a [Node<'a>]> {
    match nodes.first()? {
        Node::Object { count, .. } | Node::Array { count, .. } => nodes.get(1 + count..),
        Node::String(_) | Node::Static(_) => nodes.get(1..),
    }
}

/// `json` without JSON's white space around it.
#[must_use]
#[inline]
pub fn trim(json: &[u8]) -> &[u8] {
    match json {
        [first, .., last] if !is_blank(*first) && !is_blank(*last) => json, // as nearly always
        _ => trimmed(json),
    }
}

fn trimmed(json: &[u8]) -> &[u8] {
    let json = &json[blank(json)..];
    let mut end = json.len();
    while end >= BLANKS && all_blank(&json[end - BLANKS..end]) {
        end -= BLANKS;
    }
    let last = json[..end].iter().rposition(|b| !is_blank(*b));
    &json[..last.map_or(0, |last| last + 1)]
}

/// Bytes of JSON's white space that `json` begins with.
#[must_use]
#[inline]
pub fn blank(json: &[u8]) -> usize {
    match json.first() {
        Some(first) if is_blank(*first) => blank_run(json),
        _ => 0, // as nearly always
    }
}

fn blank_run(json: &[u8]) -> usize {
    let mut start = 0;
    while let Some(chunk) = json.get(start..start + BLANKS)
        && all_blank(chunk)
    {
        start += BLANKS;
    }
    let rest = json[start..].iter().take_while(|b| is_blank(**b));
    start + rest.count()
}

/// Bytes that are looked at together, without a branch for each: a body may be nothing but white space.
const BLANKS: usize = 32;

fn all_blank(chunk: &[u8]) -> bool {
    let ends = [chunk.first(), chunk.last()];
    ends.into_iter().flatten().all(|b| is_blank(*b))
        && chunk.iter().fold(true, |all, b| all & is_blank(*b))
}

fn is_blank(b: u8) -> bool {
    matches!(b, b' ' | b'\t' | b'\r' | b'\n')
}

#[cfg(test)]
#[path = "decode_tests.rs"]
mod tests;
