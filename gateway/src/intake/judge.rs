//! Every event of a body, decoded and held against its stream, before any is appended.

use std::ops::Range;

use aguacero::{
    accept::{Decoder, Kind, Refusal, fit::fit, grammar},
    config::Stream,
    id::IdType,
};
use smallvec::SmallVec;

/// Judges bodies one after another in buffers that it keeps.
pub(crate) struct Judge {
    decoder: Decoder,
    judged: Judged,
}

/// The verdict on one body.
#[derive(Default)]
pub(crate) struct Judged {
    pub(crate) events: Vec<Event>,
    /// Record's position in the body, and why it is refused.
    pub(crate) refusals: Vec<(u32, Refusal)>,
    /// The unescaped texts that `events` refer to.
    texts: String,
}

/// A text in [`Judged`].
type Text = Range<usize>;

/// An accepted event.
pub(crate) struct Event {
    /// Position in the body.
    pub(crate) index: u32,
    /// Its JSON in the body.
    pub(crate) json: Range<usize>,
    /// The value of the stream's id field, and its type.
    pub(crate) id: Option<(IdType, Text)>,
    /// The record's key.
    pub(crate) key: Option<Text>,
    /// The reserved partition that a rule leads to.
    pub(crate) reserved: Option<i32>,
    /// The key of each of the stream's counters.
    counters: SmallVec<[Option<Text>; 2]>,
}

impl Judge {
    pub(crate) fn new(event_bytes_max: usize) -> Self {
        Self {
            decoder: Decoder::new(event_bytes_max),
            judged: Judged::default(),
        }
    }

    /// Judges the events of `body` that lie at `ranges`. The result holds until the next call. If the body
    /// `is_one_text`, an event that is no JSON spoils it whole: an error, with the offset in the body.
    pub(crate) fn all(
        &mut self,
        stream: &Stream,
        body: &[u8],
        ranges: &[Range<usize>],
        is_one_text: bool,
    ) -> Result<&mut Judged, Refusal> {
        let Self { decoder, judged } = self;
        judged.events.clear();
        judged.refusals.clear();
        judged.texts.clear();
        for (index, json) in (0..).zip(ranges) {
            let (texts, events) = (&mut judged.texts, &mut judged.events);
            let verdict = decoder.decode(&body[json.clone()], |document| {
                let fields = fit(stream, document)?;
                let id = fields.id(stream)?;
                let mut keep = |text: Option<std::borrow::Cow<'_, str>>| {
                    let text = text?;
                    let start = texts.len();
                    texts.push_str(&text);
                    Some(start..texts.len())
                };
                events.push(Event {
                    index,
                    json: json.clone(),
                    id: id.and_then(|(of, text)| Some((of, keep(Some(text))?))),
                    key: keep(fields.key(stream).map(|v| v.into_text())),
                    reserved: fields.reserved_partition(stream),
                    counters: stream
                        .counters
                        .iter()
                        .map(|c| keep(c.key(|i| fields.scalar(i))))
                        .collect(),
                });
                Ok(())
            });
            match verdict {
                Ok(Ok(())) => {}
                Ok(Err(refusal)) => judged.refusals.push((index, refusal)),
                Err(mut refusal) => {
                    // What is too large, or too deep, was not read to its end.
                    if is_one_text
                        && refusal.kind != Kind::Malformed
                        && let Some(fault) = grammar::fault(&body[json.clone()])
                    {
                        refusal = fault;
                    }
                    // Where it is in the body is what the sender can look at.
                    refusal.offset = refusal.offset.map(|offset| json.start + offset);
                    if is_one_text && refusal.kind == Kind::Malformed {
                        return Err(refusal);
                    }
                    judged.refusals.push((index, refusal));
                }
            }
        }
        Ok(judged)
    }
}

impl Judged {
    /// The bytes of a text.
    pub(crate) fn text(&self, text: Option<&Text>) -> Option<&[u8]> {
        text.map(|range| &self.texts.as_bytes()[range.clone()])
    }

    /// Bytes of the texts that its events have beside their JSON.
    pub(crate) fn text_bytes(&self) -> usize {
        self.texts.len()
    }

    /// The key of each of the stream's counters for `event`.
    pub(crate) fn counter_keys(&self, event: &Event) -> SmallVec<[Option<&str>; 2]> {
        let key = |text: &Option<Text>| Some(&self.texts[text.clone()?]);
        event.counters.iter().map(key).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aguacero::config::Config;

    #[test]
    fn an_empty_id_names_no_event() {
        let toml = r#"
[topics.t]
partitions = 1
replication = 1
min_insync = 1
[streams.s]
topic = "t"
id = "id"
fields = [{ name = "id", type = ["string", "integer"], min_bytes = 0 }]
[[streams.s.routes]]
path = "/s"
"#;
        let config = Config::parse(toml, "a test's file", []).unwrap();
        let mut judge = Judge::new(1000);
        let mut refused = |body: &str| {
            let whole = 0..body.len();
            let ranges = std::slice::from_ref(&whole);
            let judged = judge
                .all(&config.streams[0], body.as_bytes(), ranges, false)
                .unwrap();
            judged.refusals.first().and_then(|(_, r)| r.field.clone())
        };
        assert_eq!(refused(r#"{"id": ""}"#).as_deref(), Some("id"));
        assert_eq!(refused(r#"{"id": "x"}"#), None);
        assert_eq!(refused(r#"{"id": 0}"#), None);
        assert_eq!(refused(r#"{"id": null}"#), None);
        assert_eq!(refused("{}"), None);
    }
}
