//! Dead letters: how many of each reason, the newest, one of them whole; and, for an operator, again or never.

use std::{cmp::Reverse, sync::Arc, time::Duration};

use aguacero::config::Config;
use bson::{Document, doc};
use consumer::{
    archive::{Filter, StoredDeadLetter},
    commands::replay::{Replayer, gave_no_answer},
    retry::RetryLimit,
};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::{
    mongo::{self, Mongo},
    text::cut,
};

/// Between two looks: a count looks at every dead letter there is.
pub const INTERVAL: Duration = Duration::from_secs(2);
/// Letters that are shown.
const SHOWN: usize = 50;
/// The last ones written, in which the newest are looked for: several consumers write beside each other.
const LOOKED_AT: i64 = 200;
/// Characters of a letter's reason in the list.
const DETAIL_CHARS: usize = 400;
/// Bytes of a value that are shown as text, and as hexadecimal.
const TEXT_BYTES: usize = 1 << 20;
const HEX_BYTES: usize = 64 << 10;
/// How long Kafka is waited for before a replay is given up: somebody looks.
const KAFKA_TIMEOUT: Duration = Duration::from_secs(8);

/// Counts and the newest, for everybody.
pub async fn read(config: &Config, mongo: &Mongo) -> Value {
    let (counts, newest) = tokio::join!(
        mongo::counted(counts(config, mongo)),
        mongo::counted(newest(config, mongo)),
    );
    state(counts, newest)
}

/// Each is shown without the other: of very many letters the count takes too long.
fn state(counts: Result<Vec<Value>, String>, newest: Result<Vec<Value>, String>) -> Value {
    let error = newest.as_ref().err().or(counts.as_ref().err());
    json!({ "mongodb": error, "counts": counts.as_ref().ok(), "letters": newest.as_ref().ok() })
}

async fn counts(config: &Config, mongo: &Mongo) -> Result<Vec<Value>, String> {
    let is = |field: &str| doc! { "$gt": [field, null] };
    let one_if = |condition: Document| doc! { "$sum": { "$cond": [condition, 1, 0] } };
    let stages = vec![doc! { "$group": {
        "_id": "$reason",
        "all": { "$sum": 1 },
        "replayed": one_if(is("$replayed_at")),
        "discarded": one_if(is("$discarded_at")),
        "closed": one_if(doc! { "$or": [is("$replayed_at"), is("$discarded_at")] }),
    } }];
    let count = |d: &Document| {
        json!({
            "reason": d.get_str("_id").unwrap_or("?"),
            "open": number(d, "all").unwrap_or(0) - number(d, "closed").unwrap_or(0),
            "replayed": number(d, "replayed"),
            "discarded": number(d, "discarded"),
        })
    };
    let found = mongo
        .aggregate(&config.mongodb.dead_letters, stages)
        .await?;
    let mut counts: Vec<_> = found.iter().map(count).collect();
    counts.sort_by_key(|c| Reverse(c["open"].as_i64()));
    Ok(counts)
}

async fn newest(config: &Config, mongo: &Mongo) -> Result<Vec<Value>, String> {
    let fields = doc! {
        "reason": 1, "detail": 1, "at": 1, "stream": 1, "topic": 1, "partition": 1, "offset": 1,
        "value_bytes": 1, "replayed_at": 1, "discarded_at": 1,
    };
    let collection = &config.mongodb.dead_letters;
    let mut found = mongo.last_inserted(collection, LOOKED_AT, fields).await?;
    found.sort_by_cached_key(|d| {
        let id = d.get_str("_id").unwrap_or_default().to_owned();
        Reverse((d.get_datetime("at").ok().copied(), id))
    });
    found.truncate(SHOWN);
    let letter = |d: &Document| {
        let text = |field| d.get_str(field).ok();
        let at = |field| d.get_datetime(field).ok().map(|at| at.timestamp_millis());
        json!({
            "id": text("_id"),
            "reason": text("reason"),
            "detail": cut(text("detail").unwrap_or_default(), DETAIL_CHARS),
            "at_ms": at("at"),
            "stream": text("stream"),
            "topic": text("topic"),
            "partition": number(d, "partition"),
            "offset": number(d, "offset"),
            "bytes": number(d, "value_bytes"),
            "replayed_ms": at("replayed_at"),
            "discarded_ms": at("discarded_at"),
        })
    };
    Ok(found.iter().map(letter).collect())
}

/// A whole number of any width.
fn number(d: &Document, field: &str) -> Option<i64> {
    match d.get(field) {
        Some(bson::Bson::Int32(n)) => Some(i64::from(*n)),
        Some(bson::Bson::Int64(n)) => Some(*n),
        _ => None,
    }
}

/// One letter, whole: none if there is none.
pub async fn whole(mongo: &Mongo, id: &str) -> Result<Option<Value>, String> {
    let letters = mongo::in_time(mongo.archive().dead_letters(&of(id))).await?;
    Ok(letters.first().map(|letter| {
        let value = letter.value().unwrap_or_default();
        let headers: Vec<_> = letter
            .headers()
            .map(|(name, value)| json!([name, shown(value.unwrap_or_default(), 4096)]))
            .collect();
        json!({
            "id": letter.id(),
            "detail": letter.text("detail"),
            "event": letter.event(),
            "cut": letter.text("cut"),
            "key": letter.key().map(|key| shown(key, 4096)),
            "headers": headers,
            "value": letter.value().map(|_| shown(value, TEXT_BYTES)),
            "value_bytes": letter.value_bytes(),
        })
    }))
}

/// Bytes as text; where they are none, in hexadecimal too.
fn shown(bytes: &[u8], bytes_max: usize) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => json!({ "text": beginning(text, bytes_max), "hex": null }),
        Err(_) => {
            let begin = &bytes[..bytes.len().min(bytes_max)];
            json!({ "text": String::from_utf8_lossy(begin), "hex": hex(&bytes[..bytes.len().min(HEX_BYTES)]) })
        }
    }
}

fn beginning(text: &str, bytes_max: usize) -> &str {
    let ends = (0..=bytes_max.min(text.len())).rev();
    let end = { ends }.find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or(0)]
}

/// Sixteen bytes a line, with where it begins.
fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(bytes.len() * 4);
    for (line, bytes) in bytes.chunks(16).enumerate() {
        // Writing to a string cannot fail.
        _ = write!(out, "{:08x} ", line * 16);
        for byte in bytes {
            _ = write!(out, " {byte:02x}");
        }
        out.push('\n');
    }
    out
}

fn of(id: &str) -> Filter {
    Filter {
        ids: vec![id.to_owned()],
        ..Filter::default()
    }
}

/// What an operator does.
pub struct Operator {
    config: Arc<Config>,
    mongo: Mongo,
    /// One after the other, as a person does it.
    turn: Mutex<()>,
}

/// What became of it: done, in words; there is no such letter; or why not.
#[derive(Debug)]
pub enum Outcome {
    /// At which offset it stands again; none: discarded.
    Done(Option<i64>),
    /// No letter of this id.
    Unknown,
    /// Why.
    Failed(String),
}

impl Operator {
    /// Connects when it is asked to do something.
    #[must_use]
    pub fn new(config: Arc<Config>, mongo: Mongo) -> Self {
        Self {
            config,
            mongo,
            turn: Mutex::default(),
        }
    }

    /// As `consumer dead-letters replay ID [--as STREAM]`.
    pub async fn replay(&self, id: &str, stream_of: Option<&str>) -> Outcome {
        let _turn = self.turn.lock().await;
        let archive = Arc::new(self.mongo.archive());
        let letters = match mongo::in_time(archive.dead_letters(&of(id))).await {
            Ok(letters) => letters,
            Err(why) => return Outcome::Failed(why),
        };
        let Some(letter) = letters.first() else {
            return Outcome::Unknown;
        };
        match self.send(archive.clone(), letter, stream_of).await {
            Ok(offset) => Outcome::Done(Some(offset)),
            Err(error) if gave_no_answer(&error) => Outcome::Failed(format!(
                "Kafka at {} is away: {error:#}",
                self.config.kafka.brokers
            )),
            Err(error) => Outcome::Failed(format!("{error:#}")),
        }
    }

    async fn send(
        &self,
        archive: Arc<consumer::archive::Archive>,
        letter: &StoredDeadLetter,
        stream_of: Option<&str>,
    ) -> anyhow::Result<i64> {
        let replayer = Replayer::new(self.config.clone(), archive, stream_of, None)?;
        replayer.reach(RetryLimit::after(KAFKA_TIMEOUT)).await?;
        let sent = replayer.one(letter).await;
        // librdkafka takes its time to end.
        tokio::task::spawn_blocking(move || drop(replayer));
        sent
    }

    /// As `consumer dead-letters discard ID`.
    pub async fn discard(&self, id: &str) -> Outcome {
        let _turn = self.turn.lock().await;
        let archive = self.mongo.archive();
        match mongo::in_time(archive.discard_dead_letters(&of(id))).await {
            Ok(0) => Outcome::Unknown,
            Ok(_) => Outcome::Done(None),
            Err(why) => Outcome::Failed(why),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_shown_while_they_cannot_be_counted() {
        let late = || Err("MongoDB: late".to_owned());
        let some = || Ok(vec![json!({ "id": "a" })]);
        let shown = state(late(), some());
        assert_eq!(shown["letters"][0]["id"], "a");
        assert!(shown["counts"].is_null());
        assert_eq!(shown["mongodb"], "MongoDB: late");
        assert!(state(some(), late())["letters"].is_null());
        assert!(state(some(), some())["mongodb"].is_null());
    }

    #[test]
    fn bytes_that_are_no_text_are_shown_in_hexadecimal() {
        let text = shown("Su lluvia ⏎".as_bytes(), 100);
        assert_eq!(text, json!({ "text": "Su lluvia ⏎", "hex": null }));
        let bytes = shown(b"a\xff", 100);
        assert_eq!(
            bytes,
            json!({ "text": "a\u{fffd}", "hex": "00000000  61 ff\n" })
        );
    }

    #[test]
    fn a_text_is_cut_between_characters() {
        assert_eq!(beginning("añb", 2), "a");
        assert_eq!(beginning("añb", 3), "añ");
        assert_eq!(beginning("añb", 9), "añb");
    }
}
