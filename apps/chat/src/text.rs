//! Texts and times as one line shows them.

use std::{borrow::Cow, fmt::Write as _, io::Write as _};

use jiff::{Timestamp, tz::TimeZone};

/// `text` in one line without anything that could move a terminal's cursor or turn its writing around: such characters, and
/// the backslash, are written as Rust writes them. [`unescaped`] takes it back.
#[must_use]
pub fn escaped(text: &str) -> Cow<'_, str> {
    if !text.contains(is_special) {
        return Cow::Borrowed(text);
    }
    let mut line = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '\n' => line.push_str("\\n"),
            '\r' => line.push_str("\\r"),
            '\t' => line.push_str("\\t"),
            '\\' => line.push_str("\\\\"),
            c if is_special(c) => _ = write!(line, "\\u{{{:x}}}", u32::from(c)),
            c => line.push(c),
        }
    }
    Cow::Owned(line)
}

/// Control characters, ends of lines and of paragraphs, marks and overrides of the direction of writing.
fn is_special(c: char) -> bool {
    c.is_control()
        || matches!(c, '\\' | '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// What was [`escaped`]; none if nothing can have been.
#[must_use]
pub fn unescaped(line: &str) -> Option<String> {
    let mut text = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((plain, behind)) = rest.split_once('\\') {
        text.push_str(plain);
        let mut chars = behind.chars();
        text.push(match chars.next()? {
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            '\\' => '\\',
            'u' => {
                let (hex, behind) = chars.as_str().strip_prefix('{')?.split_once('}')?;
                chars = behind.chars();
                char::from_u32(u32::from_str_radix(hex, 16).ok()?)?
            }
            _ => return None,
        });
        rest = chars.as_str();
    }
    text.push_str(rest);
    Some(text)
}

/// The year 0, in Unix milliseconds: years before it have no four digits, and [`read_time`] could not read them.
const FIRST_MS: i64 = -62_167_219_200_000;

/// Unix time in milliseconds as `2026-11-30T08:34:00.000Z`; what is before the year 0 or after 9999 is the end that is nearer.
#[must_use]
pub fn time(at_ms: i64) -> String {
    timestamp(at_ms)
        .strftime("%Y-%m-%dT%H:%M:%S%.3fZ")
        .to_string()
}

/// The same of the clock on the wall here: `08:34:00`.
#[must_use]
pub fn clock(at_ms: i64) -> String {
    let here = timestamp(at_ms).to_zoned_datetime(TimeZone::system());
    here.strftime("%H:%M:%S").to_string()
}

/// What [`time`] has written.
#[must_use]
pub fn read_time(text: &str) -> Option<i64> {
    text.parse().ok().map(Timestamp::as_millisecond)
}

/// Tells something on the standard output. Nobody may be reading it any more.
pub fn say(line: &str) {
    _ = writeln!(std::io::stdout(), "{line}");
}

/// The same on the standard error.
pub fn complain(line: &str) {
    _ = writeln!(std::io::stderr(), "{line}");
}

/// Now, as Unix time in milliseconds.
#[must_use]
pub fn now_ms() -> i64 {
    Timestamp::now().as_millisecond()
}

fn timestamp(at_ms: i64) -> Timestamp {
    let last_ms = Timestamp::MAX.as_millisecond();
    Timestamp::from_millisecond(at_ms.clamp(FIRST_MS, last_ms)).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_text_is_one_line_and_comes_back(text in any::<String>()) {
            let line = escaped(&text).into_owned();
            prop_assert!(!line.contains(|c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')), "{line:?}");
            prop_assert_eq!(unescaped(&line), Some(text));
        }

        #[test]
        fn any_line_can_be_taken_back_or_not(line in ".*") {
            _ = unescaped(&line);
        }

        #[test]
        fn a_time_comes_back(at_ms in FIRST_MS..=Timestamp::MAX.as_millisecond()) {
            prop_assert_eq!(read_time(&time(at_ms)), Some(at_ms));
        }

        #[test]
        fn any_time_that_a_client_may_claim_can_be_read_again(at_ms in any::<i64>()) {
            prop_assert!(read_time(&time(at_ms)).is_some(), "{}", time(at_ms));
        }
    }

    #[test]
    fn no_terminal_is_told_anything() {
        assert_eq!(escaped("a\u{1b}[2J\u{202e}b"), "a\\u{1b}[2J\\u{202e}b");
        assert_eq!(escaped("\u{61c}"), "\\u{61c}");
        assert_eq!(escaped("señor, ¿qué?"), "señor, ¿qué?");
    }
}
