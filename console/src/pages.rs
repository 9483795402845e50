//! The pages: a frame, what is in it, and the data that their script begins with.

use aguacero::config::{Access, Config, Field, Stream, Type};
use serde_json::{Value, json};

use crate::{text::Language, try_it};

const FRAME: &str = include_str!("../pages/frame.html");

/// Everything that holds names of texts, for the test that looks for them.
#[cfg(test)]
pub(crate) const SOURCES: [&str; 12] = [
    FRAME,
    Page::Live.html(),
    Page::Log.html(),
    Page::Pipeline.html(),
    Page::DeadLetters.html(),
    Page::Try.html(),
    include_str!("../pages/common.js"),
    include_str!("../pages/live.js"),
    include_str!("../pages/log.js"),
    include_str!("../pages/pipeline.js"),
    include_str!("../pages/dead-letters.js"),
    include_str!("../pages/try.js"),
];

/// A page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Page {
    /// Counters.
    Live,
    /// The newest entries.
    Log,
    /// The processes.
    Pipeline,
    /// What could not be archived.
    DeadLetters,
    /// A form for an event.
    Try,
}

impl Page {
    /// In the order of the menu.
    pub const ALL: [Self; 5] = [
        Self::Live,
        Self::Log,
        Self::Pipeline,
        Self::DeadLetters,
        Self::Try,
    ];

    /// Of its URL.
    #[must_use]
    pub fn path(self) -> &'static str {
        match self {
            Self::Live => "/",
            Self::Log => "/log",
            Self::Pipeline => "/pipeline",
            Self::DeadLetters => "/dead-letters",
            Self::Try => "/try",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Log => "log",
            Self::Pipeline => "pipeline",
            Self::DeadLetters => "dead-letters",
            Self::Try => "try",
        }
    }

    const fn html(self) -> &'static str {
        match self {
            Self::Live => include_str!("../pages/live.html"),
            Self::Log => include_str!("../pages/log.html"),
            Self::Pipeline => include_str!("../pages/pipeline.html"),
            Self::DeadLetters => include_str!("../pages/dead-letters.html"),
            Self::Try => include_str!("../pages/try.html"),
        }
    }

    fn title(self) -> String {
        format!("nav.{}", self.name())
    }

    /// The whole page. Nothing of an event is in it.
    #[must_use]
    pub fn render(self, config: &Config, language: Language) -> String {
        let link = |page: Self| {
            let here = if page == self {
                " aria-current=\"page\""
            } else {
                ""
            };
            let (path, title) = (page.path(), language.text(&page.title()));
            format!("<li><a href=\"{path}\"{here}>{}</a></li>", escaped(title))
        };
        let links: String = Self::ALL.into_iter().map(link).collect();
        let frame = FRAME
            .replace("{{main}}", self.html())
            .replace("{{nav}}", &links)
            .replace("{{title}}", &escaped(language.text(&self.title())))
            .replace("{{page}}", self.name())
            .replace("{{lang}}", language.code());
        // Only texts of ours have been put in so far, so that what looks like a hole is one.
        let filled = with_texts(&frame, language);
        filled.replace("{{data}}", &in_script(&data(config, language)))
    }
}

/// `{{t:KEY}}` filled in.
fn with_texts(template: &str, language: Language) -> String {
    let mut out = String::with_capacity(template.len() * 2);
    let mut rest = template;
    while let Some((before, hole)) = rest.split_once("{{t:") {
        let (key, after) = hole.split_once("}}").unwrap_or((hole, ""));
        out.push_str(before);
        out.push_str(&escaped(language.text(key)));
        rest = after;
    }
    out + rest
}

/// As text, or the value of an attribute, of HTML.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}

/// As JSON that cannot end the element it stands in.
fn in_script(data: &Value) -> String {
    data.to_string().replace('<', "\\u003c")
}

/// What the scripts know from the start: texts, and what is declared.
fn data(config: &Config, language: Language) -> Value {
    let streams: Vec<_> = config.streams.iter().map(stream).collect();
    json!({
        "text": language.all(),
        "streams": streams,
        "bytes_max": try_it::bytes_max(config),
        "operator": config.console.token_file.is_some(),
    })
}

fn stream(stream: &Stream) -> Value {
    let routes = stream.routes.iter();
    let routes: Vec<_> = routes
        .map(|route| json!({ "path": route.path, "via": route.via.name() }))
        .collect();
    json!({
        "name": stream.name,
        "archive": stream.archive,
        "keys": stream.access == Access::Keys,
        "id": stream.id.map(|id| &stream.fields[id].name),
        "routes": routes,
        "fields": stream.fields.iter().map(field).collect::<Vec<_>>(),
    })
}

fn field(field: &Field) -> Value {
    let types = field.types.0.iter().map(|t| match t {
        Type::String => "string",
        Type::Integer => "integer",
        Type::Number => "number",
        Type::Boolean => "boolean",
        Type::Object => "object",
        Type::Array => "array",
        Type::Coordinates => "coordinates",
    });
    let values = field.values.iter().map(|value| value.text().into_owned());
    json!({
        "name": field.name,
        "aliases": field.names.iter().skip(1).collect::<Vec<_>>(),
        "types": types.collect::<Vec<_>>(),
        "required": field.required,
        "max_bytes": field.max_bytes,
        "min": field.min,
        "max": field.max,
        "values": values.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weather() -> Config {
        let file = include_str!("../../aguacero.toml");
        Config::parse(file, "aguacero.toml", []).unwrap_or_else(|e| panic!("{e}"))
    }

    #[test]
    fn a_page_has_no_holes_and_its_language() {
        for page in Page::ALL {
            for language in Language::ALL {
                let html = page.render(&weather(), language);
                assert!(!html.contains("{{"), "{page:?}");
                let lang = format!("<html lang=\"{}\">", language.code());
                assert!(html.contains(&lang), "{page:?}");
            }
        }
    }

    #[test]
    fn nothing_in_a_page_needs_what_its_policy_forbids() {
        for page in Page::ALL {
            let html = page.render(&weather(), Language::English);
            for forbidden in ["style=\"", "onclick", "<style", "http://", "https://"] {
                let ours = html.split("<script type=\"application/json\"").next();
                assert!(
                    !ours.is_some_and(|h| h.contains(forbidden)),
                    "{page:?}: {forbidden}"
                );
            }
        }
    }

    #[test]
    fn data_cannot_end_its_element() {
        let data = json!({ "name": "</script><script>alert(1)</script>" });
        let text = in_script(&data);
        assert!(!text.contains('<'), "{text}");
        assert_eq!(serde_json::from_str::<Value>(&text).ok(), Some(data));
    }
}
