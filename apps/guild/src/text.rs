//! What came from outside, as it may stand on a screen.

use std::io::Write as _;

/// Without what would move the cursor, break a line or begin a command of the terminal.
#[must_use]
pub fn shown(text: &str) -> String {
    let harmless = |c: char| match is_harmless(c) {
        true => c,
        false => char::REPLACEMENT_CHARACTER,
    };
    text.chars().map(harmless).collect()
}

/// Writes a line to the screen. Whoever closed the pipe does not want to know.
pub fn say(line: &str) {
    _ = writeln!(std::io::stdout(), "{line}");
}

/// Neither a control character nor one that changes the direction of what follows.
fn is_harmless(c: char) -> bool {
    !c.is_control()
        && !matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A column of a table.
#[derive(Debug, Clone, Copy)]
pub enum Align {
    /// Text.
    Left,
    /// Numbers.
    Right,
}

/// Rows under their heads, each column as wide as its widest cell; without blanks at the end of a line.
#[must_use]
pub fn table<const N: usize>(heads: [(&str, Align); N], rows: &[[String; N]]) -> String {
    let chars = |text: &str| text.chars().count();
    let mut widths = heads.map(|(head, _)| chars(head));
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = chars(cell).max(*width);
        }
    }
    let line = |cells: [&str; N]| {
        let cell = |i: usize| match heads[i].1 {
            Align::Left => format!("{:<1$}", cells[i], widths[i]),
            Align::Right => format!("{:>1$}", cells[i], widths[i]),
        };
        let cells: Vec<_> = (0..N).map(cell).collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    let heads_line = line(heads.map(|(head, _)| head));
    let rows = rows
        .iter()
        .map(|row| line(row.each_ref().map(String::as_str)));
    heads_line + &rows.collect::<String>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_as_wide_as_its_cells() {
        let rows = [
            ["Ñuñoa".into(), "7".into()],
            ["Maipú y más".into(), "1234".into()],
        ];
        let table = table([("Comuna", Align::Left), ("n", Align::Right)], &rows);
        let expected = "Comuna          n\nÑuñoa           7\nMaipú y más  1234\n";
        assert_eq!(table, expected);
    }

    #[test]
    fn a_name_cannot_write_on_the_screen() {
        assert_eq!(
            shown("Ana\u{1b}[2J\nEva\u{202e}"),
            "Ana\u{fffd}[2J\u{fffd}Eva\u{fffd}"
        );
        assert_eq!(shown("Begoña 🌮"), "Begoña 🌮");
    }
}
