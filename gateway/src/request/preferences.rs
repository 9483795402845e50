//! What a request asks for beside being stored: `Prefer` (RFC 7240), and the query's `dry-run`.

use std::borrow::Cow;

use hyper::header::{HeaderName, HeaderValue};

use crate::answer::respond::Answer;

/// Where preferences are.
pub(crate) static PREFER: HeaderName = HeaderName::from_static("prefer");

/// What is asked for. Preferences that are not known, or cannot be read, mean nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Preferences {
    /// `respond-async`: an answer before the receipts.
    pub(crate) respond_async: bool,
    /// `return=representation`: where each record was stored.
    pub(crate) representation: bool,
    /// `?dry-run`: everything but storing.
    pub(crate) dry_run: bool,
}

impl Preferences {
    pub(crate) fn of(query: Option<&str>, fields: &[&HeaderValue]) -> Result<Self, Box<Answer>> {
        let mut preferences = Self::default();
        if query.is_none() && fields.is_empty() {
            return Ok(preferences); // as nearly always
        }
        if let Some(query) = query {
            preferences.dry_run = dry_run(query)?;
        }
        let mut returns = None;
        for field in fields {
            let Ok(field) = field.to_str() else { continue };
            for preference in pieces(field, ',') {
                // What is behind the first semicolon are parameters, of which none is known here.
                let preference = pieces(preference, ';').next().unwrap_or_default();
                let (name, value) = preference.split_once('=').unwrap_or((preference, ""));
                let (name, value) = (name.trim(), unquoted(value.trim()));
                if name.eq_ignore_ascii_case("respond-async") && value.is_empty() {
                    preferences.respond_async = true;
                }
                if name.eq_ignore_ascii_case("return") {
                    // Of several, the first one counts.
                    returns.get_or_insert(value.eq_ignore_ascii_case("representation"));
                }
            }
        }
        preferences.representation = returns.unwrap_or(false);
        Ok(preferences)
    }
}

/// The parts of `text` between separators outside of quotes.
fn pieces(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut in_quotes, mut is_escaped) = (false, false);
    text.split(move |c: char| {
        let is_plain = !is_escaped;
        is_escaped = in_quotes && c == '\\' && is_plain;
        if c == '"' && is_plain {
            in_quotes = !in_quotes;
        }
        c == separator && !in_quotes
    })
}

fn unquoted(value: &str) -> Cow<'_, str> {
    let inside = value.strip_prefix('"').and_then(|v| v.strip_suffix('"'));
    match inside {
        None => value.into(),
        Some(inside) if inside.contains('\\') => inside.replace('\\', "").into(),
        Some(inside) => inside.into(),
    }
}

/// Whether the query asks for a dry run, in any of the spellings that somebody may think of: one that was not
/// understood would store what should not be.
fn dry_run(query: &str) -> Result<bool, Box<Answer>> {
    let mut asked = None;
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let mut letters = decoded(name);
        letters.retain(|c| !matches!(c, b'-' | b'_'));
        if !letters.eq_ignore_ascii_case(b"dryrun") {
            continue;
        }
        let wanted = match value {
            "" | "true" | "1" => true,
            "false" | "0" => false,
            _ => {
                let detail =
                    "dry-run may be true or 1, false or 0, or have no value: nothing was stored";
                return Err(Answer::bad_request(detail.into()).into());
            }
        };
        if *asked.get_or_insert(wanted) != wanted {
            let detail = "the query asks for a dry run and for none: nothing was stored";
            return Err(Answer::bad_request(detail.into()).into());
        }
    }
    Ok(asked.unwrap_or(false))
}

/// Without percent signs (RFC 3986, section 2.1).
fn decoded(text: &str) -> Vec<u8> {
    let (mut rest, mut decoded) = (text.as_bytes(), Vec::with_capacity(text.len()));
    while let [byte, behind @ ..] = rest {
        let digit = |at: usize| (*behind.get(at)? as char).to_digit(16);
        let (byte, used) = match (byte, digit(0).zip(digit(1))) {
            (b'%', Some((high, low))) => ((high << 4 | low) as u8, 2),
            _ => (*byte, 0),
        };
        decoded.push(byte);
        rest = &behind[used..];
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(query: Option<&str>, fields: &[&str]) -> Result<Preferences, u16> {
        let fields: Vec<_> = fields.iter().map(|f| f.parse().unwrap()).collect();
        let preferences = Preferences::of(query, &fields.iter().collect::<Vec<_>>());
        preferences.map_err(|answer| answer.status)
    }

    fn preferred(fields: &[&str]) -> (bool, bool) {
        let preferences = of(None, fields).unwrap();
        (preferences.respond_async, preferences.representation)
    }

    #[test]
    fn preferences_are_found_in_any_list() {
        for (fields, expected) in [
            ("respond-async", (true, false)),
            ("Respond-Async , wait=10", (true, false)),
            ("respond-async=\"\"", (true, false)),
            ("return=representation", (false, true)),
            ("RETURN = \"representation\" ; x=\"a,b\"", (false, true)),
            ("return=\"repre\\sentation\"", (false, true)),
            (
                "handling=lenient; a=\"\\\",\", respond-async",
                (true, false),
            ),
            ("wait=1|respond-async, return=representation", (true, true)),
            ("return=minimal, return=representation", (false, false)),
            ("x=\"respond-async, return=representation\"", (false, false)),
            ("x=\"respond-async", (false, false)),
            (
                "respond-asynchronous|respond-async=no|;;,,=,",
                (false, false),
            ),
            ("|\u{e9}", (false, false)),
        ] {
            assert_eq!(
                preferred(&fields.split('|').collect::<Vec<_>>()),
                expected,
                "{fields}"
            );
        }
    }

    #[test]
    fn a_dry_run_is_understood_however_it_is_spelt_or_refused() {
        let dry = |query| of(Some(query), &[]).map(|preferences| preferences.dry_run);
        for query in [
            "dry-run",
            "dry-run=",
            "a=1&dry-run=true&b",
            "dry_run=1",
            "dryrun",
            "dryRun=true",
            "DRY-RUN",
            "dry%2drun",
            "dry-run&dryRun=1",
        ] {
            assert_eq!(dry(query), Ok(true), "{query}");
        }
        for query in [
            "",
            "a=dry-run",
            "dry-run=false",
            "dry_run=0",
            "dry",
            "%",
            "dry-runs",
            "%4",
        ] {
            assert_eq!(dry(query), Ok(false), "{query}");
        }
        for query in [
            "dry-run=yes",
            "dry-run=TRUE",
            "dryrun=2",
            "dry-run&dry_run=0",
        ] {
            assert_eq!(dry(query), Err(400), "{query}");
        }
    }
}
