//! What the archive has under an id already.

use std::collections::HashMap;

use bson::{Document, RawDocumentBuf, doc};
use futures_util::TryStreamExt;
use mongodb::{Collection, error::Error};

use super::{in_time, value::same_event};
use crate::{
    batch::Source,
    decode::{Event, document::OURS},
    retry::Backoff,
};

/// Documents that are read whole in one query: 100 of the largest arrive within the time of a call.
const WHOLE_MAX: usize = 100;

/// What the log says while it fails.
const UNREADABLE: &str = "the archive does not answer";

/// What is asked of a document that was there.
#[derive(Debug, Clone, Default)]
pub(super) struct Stored {
    /// None: somebody else has put it there.
    pub(super) hash: Option<Vec<u8>>,
    pub(super) stream: String,
    pub(super) incarnation: String,
    pub(super) partition: i32,
    pub(super) offset: i64,
}

/// What was there before, by id.
pub(super) type Existing = HashMap<[u8; 16], Stored>;

impl Stored {
    /// A document that somebody else has put there has none of it.
    pub(super) fn read(document: &Document) -> Self {
        let Ok(ours) = document.get_document(OURS) else {
            return Self {
                partition: -1,
                ..Self::default()
            };
        };
        let text = |name| ours.get_str(name).unwrap_or_default().to_owned();
        Self {
            hash: ours.get_binary_generic("hash").ok().cloned(),
            stream: text("stream"),
            incarnation: text("incarnation"),
            partition: ours.get_i32("partition").unwrap_or(-1),
            offset: ours.get_i64("offset").unwrap_or(-1),
        }
    }

    pub(super) fn is_in(&self, source: &Source) -> bool {
        self.incarnation == source.position.incarnation
            && self.partition == source.position.partition
    }
}

/// What the majority had under the ids of the events `indices` before anything was written; waits for
/// MongoDB.
pub(super) async fn was_there(
    collection: &Collection<RawDocumentBuf>,
    about: &str,
    events: &[Event],
    indices: &[usize],
) -> Existing {
    let mut backoff = Backoff::new();
    loop {
        let ids = indices.iter().map(|&i| events[i].bson_id()).collect();
        match in_time(lookup(collection, ids)).await {
            Ok(there) => return there,
            Err(error) => backoff.after(UNREADABLE, about, &error).await,
        }
    }
}

/// What the majority has under `ids`.
pub(super) async fn lookup(
    collection: &Collection<RawDocumentBuf>,
    ids: Vec<bson::Binary>,
) -> Result<Existing, Error> {
    let names = ["hash", "stream", "incarnation", "partition", "offset"];
    let projection: Document = names
        .iter()
        .map(|name| (format!("{OURS}.{name}"), 1.into()))
        .collect();
    let found = collection
        .clone_with_type::<Document>()
        .find(doc! { "_id": { "$in": ids } })
        .projection(projection)
        .await?;
    let documents: Vec<_> = found.try_collect().await?;
    let by_id = |d: &Document| Some((as_uuid(d.get("_id")?)?, Stored::read(d)));
    Ok(documents.iter().filter_map(by_id).collect())
}

/// Which of the events `indices` say the same as the document that the majority has under their ids. Waits for
/// MongoDB.
pub(super) async fn equal_to_stored(
    collection: &Collection<RawDocumentBuf>,
    about: &str,
    events: &[Event],
    indices: &[usize],
) -> Vec<usize> {
    let mut equal = Vec::new();
    for some in indices.chunks(WHOLE_MAX) {
        let mut backoff = Backoff::new();
        loop {
            match in_time(compare(collection, events, some)).await {
                Ok(found) => break equal.extend(found),
                Err(error) => backoff.after(UNREADABLE, about, &error).await,
            }
        }
    }
    equal
}

async fn compare(
    collection: &Collection<RawDocumentBuf>,
    events: &[Event],
    indices: &[usize],
) -> Result<Vec<usize>, Error> {
    let mut of_id: HashMap<[u8; 16], Vec<usize>> = HashMap::new();
    for &i in indices {
        of_id.entry(events[i].id.0).or_default().push(i);
    }
    let ids = of_id.values().map(|some| events[some[0]].bson_id());
    let ids: Vec<_> = ids.collect();
    let (mut found, mut equal) = (
        collection.find(doc! { "_id": { "$in": ids } }).await?,
        vec![],
    );
    while let Some(stored) = found.try_next().await? {
        let id = stored.get("_id").ok().flatten().map(bson::Bson::try_from);
        let id = id.and_then(Result::ok).as_ref().and_then(as_uuid);
        let asked = id.and_then(|id| of_id.get(&id)).into_iter().flatten();
        equal.extend(asked.filter(|&&i| same_event(&stored, &events[i].document)));
    }
    Ok(equal)
}

fn as_uuid(id: &bson::Bson) -> Option<[u8; 16]> {
    match id {
        bson::Bson::Binary(binary) if binary.subtype == bson::spec::BinarySubtype::Uuid => {
            binary.bytes.as_slice().try_into().ok()
        }
        _ => None,
    }
}
