//! Why the parser refused an event: the slow path, which finds the place and the words.

use super::{Refusal, decode::string_end, grammar, large};
use crate::scalar::LargeInt;

/// Says what is wrong with `json`, which the parser refused with `error`.
pub(super) fn explain(json: &[u8], error: &simd_json::Error) -> Refusal {
    if let Some(fault) = grammar::fault(json) {
        return fault;
    }
    // Well-formed, so what the parser minds is a value that it cannot represent.
    first(json).unwrap_or_else(|| Refusal::malformed(error.index(), format!("not JSON: {error}")))
}

/// The first value in well-formed `json` that an archive could not hold unchanged: an integer of more
/// than 34 digits, a number beyond a double, or half of a surrogate pair.
fn first(json: &[u8]) -> Option<Refusal> {
    let mut i = 0;
    while i < json.len() {
        match json[i] {
            b'"' => {
                let end = string_end(json, i);
                if let Some(at) = lone_surrogate(&json[i + 1..end]) {
                    let detail =
                        "half of a surrogate pair: no text contains it; send the whole character";
                    return Some(Refusal::unfit(None, detail).at(i + 1 + at));
                }
                i = end + 1;
            }
            b'-' | b'0'..=b'9' => {
                let number = large::number(&json[i..]);
                if !storable(number) {
                    let shown = String::from_utf8_lossy(&number[..number.len().min(40)]);
                    let detail = format!(
                        "the number {shown} cannot be stored unchanged: integers have up to 34 digits, others are doubles; send it as a string"
                    );
                    return Some(Refusal::unfit(None, detail).at(i));
                }
                i += number.len();
            }
            _ => i += 1,
        }
    }
    None
}

fn storable(number: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(number) else {
        return false;
    };
    if text.contains(['.', 'e', 'E']) {
        text.parse::<f64>().is_ok_and(f64::is_finite)
    } else {
        text.parse::<i64>().is_ok() || LargeInt::read(number).is_some()
    }
}

/// Where in the inside of a JSON string half of a surrogate pair is escaped.
fn lone_surrogate(string: &[u8]) -> Option<usize> {
    let unit = |at: usize| -> Option<u32> {
        let escape = string.get(at..at + 6)?;
        let hex = std::str::from_utf8(escape.strip_prefix(b"\\u")?).ok()?;
        u32::from_str_radix(hex, 16).ok()
    };
    let mut i = 0;
    while i < string.len() {
        if string[i] != b'\\' {
            i += 1;
            continue;
        }
        i += match unit(i) {
            Some(0xd800..=0xdbff) if matches!(unit(i + 6), Some(0xdc00..=0xdfff)) => 12,
            Some(0xd800..=0xdfff) => return Some(i),
            Some(_) => 6,
            None => 2,
        };
    }
    None
}
