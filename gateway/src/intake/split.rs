//! A body into the bytes of its events. What each holds is judged later; here only the commas,
//! brackets and lines between them are read.

use std::ops::Range;

use aguacero::accept::{Refusal, blank, grammar, string_end, trim};
use smallvec::SmallVec;

use crate::{answer::respond::Answer, request::route::Format};

/// Where each event is in the body: most have one.
pub(crate) type Ranges = SmallVec<[Range<usize>; 1]>;

/// Where the events of a body are.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Events {
    pub(crate) is_batch: bool,
    pub(crate) ranges: Ranges,
}

/// Splits `body` into at most `records_max` events.
pub(crate) fn split(
    format: Format,
    body: &[u8],
    records_max: usize,
) -> Result<Events, Box<Answer>> {
    let text = trim(body);
    let start = text.as_ptr() as usize - body.as_ptr() as usize;
    if text.is_empty() {
        return Err(Answer::empty().into());
    }
    if let Some(what) = grammar::foreign_encoding(text) {
        return Err(Answer::refused(&Refusal::malformed(start, what)).into());
    }
    let is_batch = format.is_batch(text);
    let ranges = match format {
        Format::Json if !is_batch => std::iter::once(start..start + text.len()).collect(),
        Format::Json => array(body, start..start + text.len(), records_max)?,
        Format::Ndjson => lines(body, records_max)?,
    };
    if ranges.is_empty() {
        return Err(Answer::empty().into());
    }
    Ok(Events { is_batch, ranges })
}

fn lines(body: &[u8], records_max: usize) -> Result<Ranges, Box<Answer>> {
    let mut ranges = Ranges::new();
    let mut start = 0;
    for end in memchr::memchr_iter(b'\n', body).chain([body.len()]) {
        // A body may be nothing but ends of lines.
        if start < end {
            let line = trim(&body[start..end]);
            if !line.is_empty() {
                let at = line.as_ptr() as usize - body.as_ptr() as usize;
                push(&mut ranges, at..at + line.len(), records_max)?;
            }
        }
        start = end + 1;
    }
    Ok(ranges)
}

/// The elements of the array that `within` begins and ends with.
fn array(body: &[u8], within: Range<usize>, records_max: usize) -> Result<Ranges, Box<Answer>> {
    let malformed = |at: usize, what: &str| {
        let detail = format!("not JSON: {what}");
        Box::new(Answer::refused(&Refusal::malformed(at, detail)))
    };
    let space = |at: usize| at + blank(&body[at..within.end]);
    let mut ranges = Ranges::new();
    let mut at = space(within.start + 1);
    if body.get(at) == Some(&b']') && at + 1 == within.end {
        return Ok(ranges);
    }
    loop {
        let end = element_end(&body[..within.end], at);
        if end == at {
            return Err(malformed(
                at,
                "a value is missing between the commas of the array",
            ));
        }
        push(&mut ranges, at..end, records_max)?;
        at = space(end);
        match body[..within.end].get(at) {
            Some(b',') => at = space(at + 1),
            Some(b']') if at + 1 == within.end => return Ok(ranges),
            Some(b']') => return Err(malformed(at + 1, "something follows the array")),
            Some(_) => {
                return Err(malformed(
                    at,
                    "the elements of an array are separated by commas",
                ));
            }
            None => return Err(malformed(at, "the array does not end: a ] is missing")),
        }
    }
}

/// Where the value that begins at `at` ends.
fn element_end(body: &[u8], at: usize) -> usize {
    let (mut depth, mut i) = (0_usize, at);
    while let Some(b) = body.get(i) {
        match b {
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth == 0 => return i,
            b'}' | b']' => {
                depth -= 1;
                if depth == 0 {
                    return i + 1;
                }
            }
            b',' | b' ' | b'\t' | b'\r' | b'\n' if depth == 0 => return i,
            b'"' => {
                i = string_end(body, i);
                if depth == 0 {
                    return (i + 1).min(body.len());
                }
            }
            _ => {}
        }
        i += 1;
    }
    body.len()
}

fn push(ranges: &mut Ranges, range: Range<usize>, max: usize) -> Result<(), Box<Answer>> {
    if ranges.len() == max {
        return Err(Answer::too_many_records(max).into());
    }
    ranges.push(range);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(format: Format, body: &str) -> Option<Vec<&str>> {
        let events = split(format, body.as_bytes(), 100).ok()?;
        Some(events.ranges.into_iter().map(|r| &body[r]).collect())
    }

    #[test]
    fn an_array_is_split_at_its_own_commas_only() {
        let body = r#" [ {"a":[1,2],"b":"],[\"" } ,{},1 , "x,]" ,[[]] ] "#;
        let expected = vec![r#"{"a":[1,2],"b":"],[\"" }"#, "{}", "1", r#""x,]""#, "[[]]"];
        assert_eq!(pieces(Format::Json, body), Some(expected));
    }

    #[test]
    fn an_array_with_a_fault_between_its_elements_is_refused_whole() {
        for body in [
            "[{},]",
            "[,{}]",
            "[{} {}]",
            "[{},{}",
            "[{}]]",
            "[{}] {}",
            "[",
            "[}",
            "[{}}",
            "[{}\u{c}]",
        ] {
            assert_eq!(pieces(Format::Json, body), None, "{body}");
        }
    }

    #[test]
    fn lines_may_end_as_they_like_and_blank_ones_are_no_records() {
        let expected = Some(vec!["{\"a\":1}", "{\"b\":2}", "x"]);
        assert_eq!(
            pieces(Format::Ndjson, "{\"a\":1}\r\n\n  \n {\"b\":2} \nx"),
            expected
        );
        assert_eq!(
            pieces(Format::Ndjson, "{\"a\":1}\n{\"b\":2}\nx\n"),
            expected
        );
    }

    #[test]
    fn a_byte_order_mark_or_another_encoding_refuses_the_body_whole() {
        let utf16: Vec<u8> = "{}\n{}".encode_utf16().flat_map(u16::to_le_bytes).collect();
        for body in [b"\xef\xbb\xbf{}\n{}", &utf16[..], b"\xff\xfe{\0}\0"] {
            for format in [Format::Json, Format::Ndjson] {
                let answer = split(format, body, 100).expect_err("no UTF-8");
                assert_eq!(answer.status, 400, "{body:?}");
            }
        }
    }

    #[test]
    fn nothing_at_all_is_refused() {
        for body in ["", " \r\n\t", "[]", "[ ]"] {
            assert_eq!(pieces(Format::Json, body), None, "{body}");
        }
        assert_eq!(pieces(Format::Ndjson, "\n\n"), None);
    }

    #[test]
    fn more_records_than_a_batch_may_have_are_refused() {
        let body = |n: usize| "{}\n".repeat(n);
        assert!(pieces(Format::Ndjson, &body(100)).is_some());
        assert!(pieces(Format::Ndjson, &body(101)).is_none());
    }
}
