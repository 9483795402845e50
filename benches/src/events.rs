//! Events like those of the field: tweets of some 110 bytes in Spanish, from countries by Zipf's law.

/// Countries, the most frequent first.
const COUNTRIES: [&str; 16] = [
    "Argentina",
    "México",
    "Colombia",
    "España",
    "Chile",
    "Perú",
    "Venezuela",
    "Ecuador",
    "Guatemala",
    "Uruguay",
    "Bolivia",
    "Paraguay",
    "República Dominicana",
    "Panamá",
    "Costa Rica",
    "Corea del Sur",
];
const WORDS: [&str; 20] = [
    "llueve",
    "a",
    "cántaros",
    "en",
    "el",
    "centro",
    "y",
    "nadie",
    "trae",
    "paraguas",
    "qué",
    "día",
    "tan",
    "gris",
    "amigos",
    "☔",
    "otra",
    "vez",
    "aguacero",
    "mañana",
];

/// The `n`-th event, always the same.
#[must_use]
pub fn event(n: u64) -> String {
    let mut dice = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut below = |sides: u64| {
        // xorshift64 (Marsaglia 2003)
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        dice % sides
    };
    let mut text = format!("{n}");
    while text.len() < 70 {
        text.push(' ');
        text.push_str(WORDS[below(WORDS.len() as u64) as usize]);
    }
    let mut country = below(COUNTRIES.len() as u64) as usize;
    country = country.min(below(COUNTRIES.len() as u64) as usize);
    let country = COUNTRIES[country];
    format!(r#"{{"texto":"{text}","país":"{country}"}}"#)
}

/// The tweets of `locust/data`, as they are sent: countries by Zipf's law, over some 130 spellings.
#[must_use]
pub fn tweets() -> Vec<String> {
    records("locust/data/tweets.json")
}

/// The votes of `locust/data`, as they are sent: some 90 bytes each.
#[must_use]
pub fn votes() -> Vec<String> {
    records("locust/data/votes.json")
}

/// Of a file that has one on each line.
fn records(file: &str) -> Vec<String> {
    let text = e2e::repository(file);
    let lines = text.lines().map(|line| line.trim_end_matches(','));
    let records = lines.filter(|line| line.starts_with('{'));
    records.map(str::to_owned).collect()
}

/// `n` events, one on each line.
#[must_use]
pub fn ndjson(from: u64, n: u64) -> Vec<u8> {
    let mut lines = String::new();
    for n in from..from + n {
        lines.push_str(&event(n));
        lines.push('\n');
    }
    lines.into_bytes()
}
