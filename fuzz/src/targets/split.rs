//! A body: its events lie inside, in order, without overlapping, and are what serde_json finds.

use aguacero::accept::{grammar::foreign_encoding, trim};
use gateway::fuzzing::split;

use crate::oracle;

const RECORDS_MAX: usize = 50;

pub(super) fn run(body: &[u8]) {
    let shown = String::from_utf8_lossy(body);
    for is_ndjson in [false, true] {
        let Ok(ranges) = split(is_ndjson, body, RECORDS_MAX) else {
            continue;
        };
        assert!((1..=RECORDS_MAX).contains(&ranges.len()), "{shown}");
        let mut end = 0;
        for range in &ranges {
            assert!(
                range.start >= end && range.start < range.end && range.end <= body.len(),
                "{range:?}: {shown}"
            );
            let event = &body[range.clone()];
            assert_eq!(trim(event), event, "white space around an event: {shown}");
            let between = &body[end..range.start];
            assert!(
                between.iter().all(|b| b" \t\r\n,[".contains(b)),
                "{range:?}: {shown}"
            );
            end = range.end;
        }
        assert!(
            body[end..].iter().all(|b| b" \t\r\n]".contains(b)),
            "{shown}"
        );
    }
    lines(body);
    if trim(body).first() == Some(&b'[') {
        array(body);
    }
}

fn lines(body: &[u8]) {
    if foreign_encoding(trim(body)).is_some() {
        assert_eq!(split(true, body, RECORDS_MAX), Err(400));
        return;
    }
    let lines = body.split(|b| *b == b'\n').map(trim);
    let lines: Vec<_> = lines.filter(|line| !line.is_empty()).collect();
    same(split(true, body, RECORDS_MAX), &lines, body);
}

fn array(body: &[u8]) {
    if let Some(elements) = oracle::elements(trim(body)) {
        let elements: Vec<_> = elements.iter().map(|raw| raw.get().as_bytes()).collect();
        same(split(false, body, RECORDS_MAX), &elements, body);
    }
}

fn same(found: Result<Vec<std::ops::Range<usize>>, u16>, expected: &[&[u8]], body: &[u8]) {
    let shown = String::from_utf8_lossy(body);
    match found {
        Ok(ranges) => {
            let found: Vec<_> = ranges.into_iter().map(|range| &body[range]).collect();
            assert_eq!(found, expected, "{shown}");
        }
        Err(422) => assert!(expected.is_empty(), "{shown}"),
        Err(413) => assert!(expected.len() > RECORDS_MAX, "{shown}"),
        Err(status) => panic!("{status}: {shown}"),
    }
}
