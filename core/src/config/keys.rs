//! The file of keys: who may write to which streams, and how fast.
//!
//! It holds no token, only SHA-256 of each. A token is 32 random bytes, so a plain hash is enough: there is
//! nothing to guess that a slow hash, as for passwords, would protect.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    path::Path,
    time::SystemTime,
};

use sha2::{Digest as _, Sha256};
use toml::de::{DeTable, DeValue};

use super::{
    files::mode,
    names::label,
    raw::{Found, Mistakes, Read, Source, Spot, Table, one_of},
    time::time_of,
};

/// What a hash is written behind.
const HASH_PREFIX: &str = "sha256:";

/// Tokens of a key at one time: the second one is there while the first is being replaced.
const TOKENS_MAX: usize = 2;

/// The highest rate and burst that can be declared, in events a second and in events.
const RATE_MAX: u32 = 10_000_000;

/// `[[keys]]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Who has it: the owner of the events that come with it, whose ids it goes into.
    pub name: String,
    /// Of its tokens: two while one takes the other's place, none if it is revoked.
    pub hashes: Vec<TokenHash>,
    /// Where it may write.
    pub writes: Writes,
    /// How fast; none: as fast as it can.
    pub rate: Option<Rate>,
    /// From then on it is as good as none.
    pub expires: Option<SystemTime>,
}

/// Streams that a key may write to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Writes {
    /// `["*"]`
    Everywhere,
    /// By their names.
    To(Vec<String>),
}

/// How fast a key may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Events a second, in the long run.
    pub per_second: u32,
    /// Events at once, after a pause.
    pub burst: u32,
}

/// SHA-256 of a token.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenHash(pub [u8; 32]);

impl Key {
    /// Whether its tokens are good at `now`.
    #[must_use]
    pub fn is_in_force(&self, now: SystemTime) -> bool {
        !self.hashes.is_empty() && self.expires.is_none_or(|end| now < end)
    }
}

impl Writes {
    /// Whether `stream` is one of them.
    #[must_use]
    pub fn to(&self, stream: &str) -> bool {
        match self {
            Self::Everywhere => true,
            Self::To(streams) => streams.iter().any(|s| s == stream),
        }
    }
}

impl TokenHash {
    /// Of a token as a client sends it.
    #[must_use]
    pub fn of(token: &[u8]) -> Self {
        Self(Sha256::digest(token).into())
    }

    fn read(text: &str) -> Option<Self> {
        let hex = text.strip_prefix(HASH_PREFIX)?.as_bytes();
        let mut hash = [0; 32];
        if hex.len() != 64 {
            return None;
        }
        for (byte, digits) in hash.iter_mut().zip(hex.chunks_exact(2)) {
            let digit = |d: u8| (d as char).to_digit(16);
            *byte = (digit(digits[0])? << 4 | digit(digits[1])?) as u8;
        }
        Some(Self(hash))
    }
}

/// As the file has it: `sha256:` and 64 hexadecimal digits.
impl fmt::Display for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HASH_PREFIX)?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Nothing of it, so that no log has it by accident.
impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(…)")
    }
}

/// Reads and checks the keys in `text`; `file` stands for it in the mistakes. `streams` are those that there
/// are, if that is known.
pub fn parse_keys(text: &str, file: &str, streams: Option<&[&str]>) -> Result<Vec<Key>, Mistakes> {
    let (tree, errors) = DeTable::parse_recoverable(text);
    let source = Source::new(text, file, BTreeMap::new(), &[], &errors);
    let root = Table::root(&source, tree.get_ref());
    let mut seen = Seen::default();
    let tables = root.tables("keys").into_iter();
    let keys = tables.map(|table| key(table, streams, &mut seen)).collect();
    root.done();
    match source.mistakes(file) {
        Some(mistakes) => Err(mistakes),
        None => Ok(keys),
    }
}

/// What is to be said of a file of keys that everybody may read, or write a key of his own into.
#[must_use]
pub fn open_to_others(file: &Path) -> Option<String> {
    let mode = mode(file);
    let is_open = mode & 0o007 != 0;
    is_open.then(|| {
        let file = file.display();
        format!("others may read or write the keys (mode {mode:o}): chmod o= {file}")
    })
}

/// Where something was first declared.
#[derive(Default)]
struct Seen {
    names: HashMap<String, Spot>,
    hashes: HashMap<TokenHash, Spot>,
}

fn key(table: Table<'_>, streams: Option<&[&str]>, seen: &mut Seen) -> Key {
    let name = table.need::<String>("name");
    if let Some(Found { value, spot }) = &name {
        if let Some(what) = label(value) {
            table.report_at(spot, what);
        }
        if let Some(first) = seen.names.insert(value.clone(), spot.clone()) {
            let place = table.source().place(&first); // counts lines: not to be asked for each key
            let what = format!("another key has this name ({place}); choose another one");
            table.report_at(spot, what);
        }
    }
    let key = Key {
        name: name.map(|found| found.value).unwrap_or_default(),
        hashes: hashes(&table, seen),
        writes: writes(&table, streams),
        rate: rate(&table),
        expires: table.get::<Time>("expires").map(|found| found.value.0),
    };
    table.done();
    key
}

/// What is wrong with one never repeats it: it may be a token that got here by mistake.
fn hashes(table: &Table<'_>, seen: &mut Seen) -> Vec<TokenHash> {
    let Some(found) = table.list::<String>("hashes") else {
        let what = "is missing; `gateway keys make` writes it, and [] means revoked";
        table.report_absence(&table.spot_of("hashes"), what);
        return Vec::new();
    };
    if found.len() > TOKENS_MAX {
        let what = format!("a key may have {TOKENS_MAX} tokens at a time; take the oldest out");
        table.report("hashes", what);
    }
    let mut hashes = Vec::new();
    for Found { value, spot } in found {
        let Some(hash) = TokenHash::read(&value) else {
            let what = "must be \"sha256:\" and 64 hexadecimal digits, of the token as it is sent";
            table.report_at(&spot, what);
            continue;
        };
        if let Some(first) = seen.hashes.insert(hash, spot.clone()) {
            let place = table.source().place(&first);
            let what = format!("this token is there already ({place}); take one of them out");
            table.report_at(&spot, what);
        }
        hashes.push(hash);
    }
    hashes
}

fn writes(table: &Table<'_>, known: Option<&[&str]>) -> Writes {
    let found = table.list::<String>("streams").unwrap_or_default();
    if found.is_empty() {
        let what = "needs at least one; write streams = [\"weather\"], or [\"*\"] for all";
        table.report_absence(&table.spot_of("streams"), what);
    }
    let is_alone = found.len() == 1;
    if is_alone && found[0].value == "*" {
        return Writes::Everywhere;
    }
    for Found { value, spot } in &found {
        if value == "*" {
            table.report_at(spot, "means all streams; list it alone, or take it out");
        } else if let Some(known) = known
            && !known.contains(&value.as_str())
        {
            let hint = one_of(value, known);
            table.report_at(spot, format!("no stream \"{value}\" is declared; {hint}"));
        }
    }
    Writes::To(found.into_iter().map(|found| found.value).collect())
}

fn rate(table: &Table<'_>) -> Option<Rate> {
    let has = |key| table.get::<i64>(key).is_some();
    let (has_rate, has_burst) = (has("rate"), has("burst"));
    let per_second = table.number("rate", 1, 1..=RATE_MAX);
    let burst = table.number("burst", per_second, 1..=RATE_MAX);
    if has_burst && !has_rate {
        let what = "bounds nothing without a rate; write rate = 1000, or take it out";
        table.report_absence(&table.spot_of("burst"), what);
    }
    has_rate.then_some(Rate { per_second, burst })
}

/// A date, as TOML and RFC 3339 write it. Without a time of day: its first moment, in UTC.
struct Time(SystemTime);

impl Read for Time {
    const WHAT: &'static str = "a date with its zone, like 2027-01-01T00:00:00Z without quotes";
    const EXAMPLE: &'static str = "2027-01-01T00:00:00Z";

    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        match value {
            DeValue::Datetime(written) => Self::from_text(&written.to_string()),
            _ => None,
        }
    }

    fn from_text(text: &str) -> Option<Self> {
        time_of(text).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::text_of;

    const HASH: &str = "sha256:00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

    fn parse(text: &str) -> Result<Vec<Key>, Mistakes> {
        parse_keys(text, "keys.toml", Some(&["weather", "votes"]))
    }

    fn mistakes(text: &str) -> Vec<String> {
        let mistakes = parse(text).expect_err("there are mistakes").to_string();
        mistakes.lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_key_has_what_the_file_says() {
        let text = format!(
            "[[keys]]\nname = \"a\"\nhashes = [\"{HASH}\"]\nstreams = [\"weather\"]\nrate = 10\nexpires = 2027-01-01T00:00:00Z\n\
             [[keys]]\nname = \"b\"\nhashes = []\nstreams = [\"*\"]\n"
        );
        let keys = parse(&text).unwrap_or_else(|e| panic!("{e}"));
        let [a, b] = &keys[..] else {
            panic!("{keys:?}")
        };
        assert_eq!(a.hashes[0].to_string(), HASH);
        assert!(a.writes.to("weather") && !a.writes.to("votes") && b.writes.to("votes"));
        let rate = Rate {
            per_second: 10,
            burst: 10,
        };
        assert_eq!((a.rate, b.rate), (Some(rate), None));
        let end = time_of("2027-01-01").expect("a date");
        assert_eq!(a.expires, Some(end));
        assert_eq!(text_of(end), "2027-01-01T00:00:00Z");
        assert!(!a.is_in_force(end) && a.is_in_force(end - std::time::Duration::from_secs(1)));
        assert!(!b.is_in_force(end), "without a token it is revoked");
        assert!(!format!("{keys:?}").contains("0011"), "no hash in a log");
    }

    #[test]
    fn every_mistake_of_the_file_is_told_with_its_line_and_no_token() {
        let token = "agk_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        let text = format!(
            "[[keys]]\nname = \"A\"\nhashes = [\"{token}\"]\nstreams = [\"wether\"]\nburst = 5\nexpires = \"soon\"\n\
             [[keys]]\nname = \"b\"\nhashes = [\"{HASH}\", \"{HASH}\"]\nstreams = [\"*\", \"votes\"]\nrate = 0\ncolour = 1\n\
             [[keys]]\nname = \"b\"\nexpires = 2027-01-01T00:00:00\n"
        );
        let told = mistakes(&text);
        for (line, word) in [
            (2, "a-z"),
            (3, "sha256:"),
            (4, "did you mean \"weather\"?"),
            (5, "without a rate"),
            (6, "a date with its zone"),
            (9, "already"),
            (10, "alone"),
            (11, "must be between 1 and"),
            (12, "unknown key"),
            (14, "another key has this name (line 8)"),
            (13, "hashes: is missing"),
            (13, "streams: needs at least one"),
            (15, "a date with its zone"),
        ] {
            let found =
                |l: &String| l.starts_with(&format!("keys.toml:{line}:")) && l.contains(word);
            assert!(told.iter().any(found), "line {line}, {word}: {told:#?}");
        }
        assert_eq!(told.len(), 13, "{told:#?}");
        assert!(!told.concat().contains("agk_"), "{told:#?}");
    }
}
