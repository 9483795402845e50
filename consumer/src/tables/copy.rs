//! Rows as `COPY … FROM STDIN` reads them: a line of text each, which every column's type reads as it reads a literal.

const DAY_MS: i64 = 86_400_000;
/// The Julian day of 1970-01-01, as PostgreSQL counts them.
const EPOCH_DAY: i64 = 2_440_588;

/// The statement for these columns.
pub(super) fn sql(table: &str, names: &str) -> String {
    format!("COPY {table} ({names}) FROM STDIN")
}

/// Appends a row.
pub(super) fn line<V: AsRef<str>>(values: impl IntoIterator<Item = Option<V>>, lines: &mut String) {
    for (i, value) in values.into_iter().enumerate() {
        if i > 0 {
            lines.push('\t');
        }
        match value {
            None => lines.push_str("\\N"),
            Some(value) => escaped(value.as_ref(), lines),
        }
    }
    lines.push('\n');
}

/// Backslash, and what ends a column or a line, are escaped (PostgreSQL 15, COPY, "Text Format").
fn escaped(value: &str, lines: &mut String) {
    let mut rest = value;
    while let Some(at) = rest.bytes().position(is_special) {
        let (before, from) = rest.split_at(at);
        lines.push_str(before);
        lines.push('\\');
        lines.push(match from.as_bytes()[0] {
            b'\t' => 't',
            b'\n' => 'n',
            b'\r' => 'r',
            _ => '\\',
        });
        rest = &from[1..];
    }
    lines.push_str(rest);
}

fn is_special(byte: u8) -> bool {
    matches!(byte, b'\\' | b'\t' | b'\n' | b'\r')
}

/// A moment of milliseconds since 1970 as a `timestamptz` reads it, by its Julian day: of any that there is.
pub(super) fn moment(at_ms: i64) -> String {
    let (day, ms) = (at_ms.div_euclid(DAY_MS), at_ms.rem_euclid(DAY_MS));
    let (seconds, ms) = (ms / 1000, ms % 1000);
    let (minutes, seconds) = (seconds / 60, seconds % 60);
    let (hours, minutes) = (minutes / 60, minutes % 60);
    let day = day + EPOCH_DAY;
    format!("J{day} {hours:02}:{minutes:02}:{seconds:02}.{ms:03}+00")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_value_is_a_row_stays_a_line_and_a_column_a_column() {
        let mut lines = String::new();
        line([Some("a"), None, Some("")], &mut lines);
        line([Some("\\N\t"), Some("\r\n"), Some("\\.")], &mut lines);
        line([Some("Ñandú ☔\\")], &mut lines);
        assert_eq!(lines, "a\t\\N\t\n\\\\N\\t\t\\r\\n\t\\\\.\nÑandú ☔\\\\\n");
    }

    #[test]
    fn a_moment_is_a_julian_day_and_the_time_in_utc() {
        assert_eq!(moment(0), "J2440588 00:00:00.000+00");
        assert_eq!(moment(-1), "J2440587 23:59:59.999+00");
        // 2000-01-01, which PostgreSQL counts as 2451545.
        assert_eq!(moment(946_684_800_123), "J2451545 00:00:00.123+00");
    }
}
