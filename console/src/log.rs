//! The newest entries of a stream's archive, cut; and one of them whole.

use std::{collections::HashMap, sync::Arc};

use aguacero::config::{Config, Stream};
use bson::{Binary, Bson, Document, doc, spec::BinarySubtype};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    json,
    mongo::{self, Mongo, latest},
    text::cut,
};

/// Entries that are shown.
const SHOWN: i64 = 20;
/// Bytes of documents that are read in one go, to show how they begin; one larger document is read by itself.
const BYTES_MAX: i64 = 2 << 20;
/// Characters of a document that are shown in the list.
const CHARS: usize = 400;
/// Bytes in which there are more characters than that.
const BEGIN_BYTES: usize = 4 * (CHARS + 1);
/// Bytes of one document's text that are shown.
const TEXT_BYTES: usize = 2 << 20;

/// Reads one stream for everybody.
pub struct Reader {
    config: Arc<Config>,
    stream: usize,
    mongo: Mongo,
    /// How the documents begin that were shown last: each is read once.
    begin: HashMap<Uuid, String>,
}

impl Reader {
    /// Of the stream at that position.
    #[must_use]
    pub fn new(config: Arc<Config>, stream: usize, mongo: Mongo) -> Self {
        Self {
            config,
            stream,
            mongo,
            begin: HashMap::new(),
        }
    }

    /// The newest, newest first.
    pub async fn read(&mut self) -> Value {
        match mongo::counted(self.entries()).await {
            Ok(entries) => json!({ "mongodb": null, "entries": entries }),
            Err(error) => json!({ "mongodb": error, "entries": null }),
        }
    }

    async fn entries(&mut self) -> Result<Vec<Value>, String> {
        let stream = &self.config.streams[self.stream];
        let mut stages = latest(stream, SHOWN);
        // What is ours of each, and how large it is: never all of it, each second.
        stages.push(doc! { "$project": { "_aguacero": 1, "bytes": { "$bsonSize": "$$ROOT" } } });
        let found = self.mongo.aggregate(&stream.archive, stages).await?;
        let there: Vec<_> = found.iter().filter_map(|d| Some((id_of(d)?, d))).collect();
        self.begin
            .retain(|id, _| there.iter().any(|(i, _)| i == id));
        let (mut new, mut bytes) = (Vec::new(), 0);
        for (id, entry) in there.iter().filter(|(id, _)| !self.begin.contains_key(id)) {
            bytes += number(entry, "bytes").unwrap_or(0);
            if !new.is_empty() && bytes > BYTES_MAX {
                break; // the next second
            }
            new.push(*id);
        }
        if !new.is_empty() {
            let ids: Vec<_> = new.into_iter().map(binary).collect();
            let stages = vec![
                doc! { "$match": { "_id": { "$in": ids } } },
                doc! { "$unset": ["_aguacero"] },
            ];
            for mut document in self.mongo.aggregate(&stream.archive, stages).await? {
                if let Some(id) = id_of(&document) {
                    document.remove("_id");
                    let (text, _) = json::text(&document, false, BEGIN_BYTES);
                    self.begin.insert(id, cut(&text, CHARS));
                }
            }
        }
        let entry = |(id, entry): &(Uuid, &Document)| {
            let ours = entry.get_document("_aguacero").ok();
            json!({
                "id": id.to_string(),
                "at_ms": ours.and_then(|o| o.get_datetime("at").ok()).map(|at| at.timestamp_millis()),
                "partition": ours.and_then(|o| number(o, "partition")),
                "offset": ours.and_then(|o| number(o, "offset")),
                "bytes": number(entry, "bytes"),
                "text": self.begin.get(id),
            })
        };
        Ok(there.iter().map(entry).collect())
    }
}

/// One event, whole as far as it is shown: none if the archive has none of this id.
pub async fn whole(mongo: &Mongo, stream: &Stream, id: Uuid) -> Result<Option<Value>, String> {
    let stages = vec![doc! { "$match": { "_id": binary(id) } }];
    let found = mongo.aggregate(&stream.archive, stages).await?;
    Ok(found.into_iter().next().map(|document| {
        let ours = document
            .get_document("_aguacero")
            .cloned()
            .unwrap_or_default();
        json!({
            "id": id.to_string(),
            "stream": ours.get_str("stream").unwrap_or_default(),
            "partition": number(&ours, "partition"),
            "offset": number(&ours, "offset"),
            "text": shown(&document),
        })
    }))
}

/// In lines; where that is not all, it says so.
fn shown(document: &Document) -> String {
    let (mut text, is_cut) = json::text(document, true, TEXT_BYTES);
    if is_cut {
        text.push_str("\n… cut: no more than 2 MiB of a document are shown");
    }
    text
}

fn binary(id: Uuid) -> Binary {
    Binary {
        subtype: BinarySubtype::Uuid,
        bytes: id.into_bytes().to_vec(),
    }
}

fn id_of(document: &Document) -> Option<Uuid> {
    match document.get("_id")? {
        Bson::Binary(binary) => Uuid::from_slice(&binary.bytes).ok(),
        _ => None,
    }
}

/// A whole number of any width.
fn number(document: &Document, field: &str) -> Option<i64> {
    match document.get(field)? {
        Bson::Int32(n) => Some((*n).into()),
        Bson::Int64(n) => Some(*n),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_that_is_cut_says_so() {
        let short = shown(&doc! { "a": 1 });
        assert_eq!(short, "{\n  \"a\": 1\n}");
        let long = shown(&doc! { "a": "b".repeat(3 << 20) });
        assert!(long.len() < TEXT_BYTES + 100);
        assert!(long.ends_with("… cut: no more than 2 MiB of a document are shown"));
    }
}
