//! Integers beyond 64 bits with a sign, which the full parser does not have: it is given the event with each of them as
//! an array of its digits, `["18446744073709551615"]`, and these arrays are marked afterwards. The array stands
//! wherever the number may, and nowhere else, so that nothing that is no JSON becomes JSON by this.
//!
//! Only an event that has such a number comes here; it is parsed twice.

use simd_json::Node;

use super::decode::string_end;
use crate::scalar::LargeInt;

/// What stands before a node with the digits of a large integer: no parser makes an object without members that has a
/// node inside.
const MARK: Node<'static> = Node::Object { len: 0, count: 1 };

/// Whether `node` is such a mark.
pub(super) fn is_mark(node: &Node<'_>) -> bool {
    matches!(node, Node::Object { len: 0, count: 1 })
}

/// Writes `json` to `out` with arrays in the place of its large integers. Returns which ones of all objects and arrays
/// these are, counted from 0 as they open; nothing is written if there are none.
pub(super) fn as_arrays(json: &[u8], out: &mut Vec<u8>) -> Vec<usize> {
    out.clear();
    let (mut arrays, mut opened, mut written, mut i) = (Vec::new(), 0, 0, 0);
    while i < json.len() {
        i += match json[i] {
            b'"' => string_end(json, i) + 1 - i,
            b'{' | b'[' => {
                opened += 1;
                1
            }
            b'-' | b'0'..=b'9' => {
                let number = number(&json[i..]);
                if LargeInt::read(number).is_some() {
                    for piece in [&json[written..i], b"[\"", number, b"\"]"] {
                        out.extend_from_slice(piece);
                    }
                    written = i + number.len();
                    arrays.push(opened);
                    opened += 1;
                }
                number.len()
            }
            _ => 1,
        };
    }
    if !arrays.is_empty() {
        out.extend_from_slice(&json[written..]);
    }
    arrays
}

/// Marks the arrays that [`as_arrays`] wrote.
pub(super) fn mark(nodes: &mut [Node<'_>], arrays: &[usize]) {
    let is_open = |node: &&mut Node<'_>| matches!(node, Node::Object { .. } | Node::Array { .. });
    let mut opened = nodes.iter_mut().filter(is_open).enumerate();
    for array in arrays {
        if let Some((_, node)) = opened.find(|(i, _)| i == array) {
            *node = MARK;
        }
    }
}

/// The bytes of the number that `json` begins with, or of what looks like one.
pub(super) fn number(json: &[u8]) -> &[u8] {
    let of_number = |b: &u8| matches!(b, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
    let end = json.iter().position(|b| !of_number(b));
    &json[..end.unwrap_or(json.len())]
}
