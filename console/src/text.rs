//! What pages say, in Spanish and in English: one table, `text.json`.

use std::{collections::BTreeMap, sync::LazyLock};

use serde_json::Value;

/// A language that pages are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// The one for everybody who wants none of these.
    English,
    /// Español.
    Spanish,
}

/// Key → language → text.
static TABLE: LazyLock<BTreeMap<String, BTreeMap<String, String>>> =
    LazyLock::new(|| serde_json::from_str(include_str!("text.json")).unwrap_or_default());

impl Language {
    /// Every one.
    pub const ALL: [Self; 2] = [Self::English, Self::Spanish];

    /// As `lang` has it.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Spanish => "es",
        }
    }

    /// What `Accept-Language` wants most of what there is (RFC 9110, section 12.5.4).
    #[must_use]
    pub fn wanted(accept: &str) -> Self {
        let weighed = accept.split(',').filter_map(|range| {
            let (tag, parameters) = range.split_once(';').unwrap_or((range, ""));
            let primary = tag.trim().split('-').next().unwrap_or_default();
            let language = Self::ALL
                .into_iter()
                .find(|l| l.code().eq_ignore_ascii_case(primary))?;
            let weight = parameters.trim().strip_prefix("q=");
            let weight = weight.map_or(Some(1.0), |q| q.trim().parse::<f64>().ok())?;
            (weight > 0.0).then_some((language, weight))
        });
        // The first of those that are wanted as much.
        let best = weighed.fold(None, |best: Option<(Self, f64)>, one| match best {
            Some(best) if best.1 >= one.1 => Some(best),
            _ => Some(one),
        });
        best.map_or(Self::English, |(language, _)| language)
    }

    /// The text of `key`; a test finds what is missing.
    #[must_use]
    pub fn text(self, key: &str) -> &'static str {
        let text = TABLE.get(key).and_then(|of| of.get(self.code()));
        text.map_or("?", String::as_str)
    }

    /// All texts, for the scripts.
    #[must_use]
    pub fn all(self) -> Value {
        let texts = TABLE.keys().map(|key| (key.clone(), self.text(key).into()));
        Value::Object(texts.collect())
    }
}

/// The first `chars` characters of a text, with a sign that there is more.
#[must_use]
pub fn cut(text: &str, chars: usize) -> String {
    match text.char_indices().nth(chars) {
        None => text.to_owned(),
        Some((at, _)) => format!("{}…", &text[..at]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_is_there_in_both_languages() {
        assert!(TABLE.len() > 50, "the table cannot be read");
        for (key, of) in TABLE.iter() {
            let codes: Vec<_> = of.keys().map(String::as_str).collect();
            assert_eq!(codes, ["en", "es"], "{key}");
            assert!(of.values().all(|text| !text.is_empty()), "{key}");
            let holes = |text: &String| text.matches("{}").count();
            assert_eq!(holes(&of["en"]), holes(&of["es"]), "{key}");
        }
    }

    #[test]
    fn every_text_that_pages_and_scripts_name_is_there() {
        let pages = crate::pages::SOURCES;
        for source in pages {
            let named = source
                .split("{{t:")
                .skip(1)
                .filter_map(|rest| rest.split("}}").next())
                .chain(
                    source
                        .split("say(\"")
                        .skip(1)
                        .filter_map(|rest| rest.split('"').next()),
                );
            for key in named {
                assert!(TABLE.contains_key(key), "{key}");
            }
        }
    }

    #[test]
    fn the_language_is_the_one_that_is_wanted_most() {
        for (accept, language) in [
            ("", Language::English),
            ("de", Language::English),
            ("es", Language::Spanish),
            ("es-CL,es;q=0.9,en;q=0.8", Language::Spanish),
            ("en;q=0.5, es;q=0.4", Language::English),
            ("de, es;q=0.3, en;q=0.2", Language::Spanish),
            ("es;q=0", Language::English),
        ] {
            assert_eq!(Language::wanted(accept), language, "{accept}");
        }
    }

    #[test]
    fn a_text_is_cut_between_characters() {
        assert_eq!(cut("añb", 2), "añ…");
        assert_eq!(cut("añb", 3), "añb");
    }
}
