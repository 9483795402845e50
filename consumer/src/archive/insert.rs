//! Events into the archive: each id once, whoever else writes it at the same time.

use std::{collections::HashMap, time::Instant};

use bson::{Document, RawDocumentBuf, doc};
use futures_util::TryStreamExt;
use mongodb::{
    Collection,
    error::{Error, ErrorKind},
};

use super::{
    Archive, in_time,
    write::{BYTES_MAX, ENTRY_BYTES, write},
};
use crate::{
    batch::Source,
    decode::{Event, document::OURS},
    metric,
    retry::Backoff,
};

/// MongoDB's code for an id, or another unique value, that is there already.
const DUPLICATE_KEY: i32 = 11000;

/// MongoDB's codes for a document that it can never hold: Overflow (nested too deep), InvalidBSON and
/// BSONObjectTooLarge. Others, such as BadValue, can also be an operator's to mend: those are waited for.
const NEVER: [i32; 3] = [15, 22, 10334];

/// What the archive holds of a batch's events, after the write.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Archived {
    /// Of each event.
    pub outcomes: Vec<EventOutcome>,
    /// The documents that are stored with a place in the batch's partition: index of an event that says
    /// the same, and the offset that is stored.
    pub placed: Vec<(usize, i64)>,
    /// The highest stored offset of a document in the batch's partition that no event of the batch
    /// says the same as.
    pub unmatched: Option<i64>,
    /// Why MongoDB can never hold the events whose outcome is that.
    pub refused: Vec<(usize, String)>,
}

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventOutcome {
    /// The archive has it from here.
    New,
    /// The archive had it, with the same value.
    Repeat,
    /// The archive has another value under its id.
    Conflict,
    /// MongoDB can never hold it, or another event of the batch with the same id.
    Refused,
}

/// What the archive has under an id.
#[derive(Debug, Clone)]
enum Held {
    /// The document that was just written.
    Ours,
    /// One that was there.
    Other(Stored),
    /// Nothing, and why that will be so for ever.
    Refused(String),
}

/// What is asked of a document that was there.
#[derive(Debug, Clone, Default)]
struct Stored {
    hash: Option<Vec<u8>>,
    stream: String,
    incarnation: String,
    partition: i32,
    offset: i64,
}

/// What was there before, by id.
type Existing = HashMap<Vec<u8>, Stored>;

impl Archive {
    /// Writes the events, however long it takes. `again` says that most of them were probably written
    /// before. Then MongoDB is asked first: a document that it has to refuse costs it ten times as much
    /// as one that it is asked for.
    pub async fn insert(&self, source: &Source, events: &[Event], again: bool) -> Archived {
        let mut first_of: HashMap<_, usize> = HashMap::with_capacity(events.len());
        let first: Vec<_> = events
            .iter()
            .enumerate()
            .map(|(i, e)| *first_of.entry(e.id).or_insert(i))
            .collect();
        let mut held = vec![None; events.len()];
        for (c, collection) in self.collections.iter().enumerate() {
            let here = |i: &usize| first[*i] == *i && self.of_stream[events[*i].stream] == c;
            let indices: Vec<_> = (0..events.len()).filter(here).collect();
            if !indices.is_empty() {
                let before = if again {
                    was_there(collection, events, &indices).await
                } else {
                    Existing::new()
                };
                for i in &indices {
                    held[*i] = before.get(&events[*i].id.0[..]).cloned().map(Held::Other);
                }
                let rest: Vec<_> = indices.into_iter().filter(|i| held[*i].is_none()).collect();
                let written = self
                    .insert_into(collection, source, events, &rest, false)
                    .await;
                for (i, what) in rest.into_iter().zip(written) {
                    held[i] = Some(what);
                }
            }
        }
        let streams: Vec<_> = self
            .config
            .streams
            .iter()
            .map(|s| s.name.as_str())
            .collect();
        outcomes(&streams, source, events, &first, &held)
    }

    /// Writes the events `indices`, and says what the collection has under the id of each. `repeated`
    /// says that this process has tried before.
    async fn insert_into(
        &self,
        collection: &Collection<RawDocumentBuf>,
        source: &Source,
        events: &[Event],
        indices: &[usize],
        mut repeated: bool,
    ) -> Vec<Held> {
        let (started, mut backoff) = (Instant::now(), Backoff::new());
        if indices.is_empty() {
            return Vec::new();
        }
        loop {
            match self.attempt(collection, events, indices).await {
                Ok(there) => {
                    metrics::histogram!(metric::ARCHIVE).record(started.elapsed());
                    // What a try wrote whose answer was lost is what is there now.
                    let ours = |stored: &Stored, event: &Event| {
                        repeated && stored.is_in(source) && stored.offset == event.offset
                    };
                    let held = |&i: &usize| match there.get(&events[i].id.0[..]) {
                        Some(stored) if !ours(stored, &events[i]) => Held::Other(stored.clone()),
                        _ => Held::Ours,
                    };
                    return indices.iter().map(held).collect();
                }
                Err(error) if can_never_succeed(&error) => {
                    if let [_] = indices {
                        return vec![Held::Refused(error.to_string())];
                    }
                    // Which of them it is shows when each is written by itself.
                    let mut held = Vec::with_capacity(indices.len());
                    for one in indices.chunks(1) {
                        held.extend(
                            Box::pin(self.insert_into(collection, source, events, one, true)).await,
                        );
                    }
                    return held;
                }
                Err(error) => {
                    metrics::counter!(metric::ARCHIVE_RETRIES).increment(1);
                    repeated = true;
                    backoff
                        .after("documents cannot be archived", "", &error)
                        .await;
                }
            }
        }
    }

    /// One try. Says what was there already of those that could not be inserted.
    async fn attempt(
        &self,
        collection: &Collection<RawDocumentBuf>,
        events: &[Event],
        indices: &[usize],
    ) -> Result<Existing, Error> {
        let Ok(_permit) = self.writers.acquire().await else {
            return Err(Error::custom("the writers are closed"));
        };
        let (mut refused, mut last) = (Vec::new(), None);
        for part in parts(events, indices) {
            let documents = part.iter().map(|&i| &events[i].document);
            let Err(error) = in_time(write(collection, documents)).await else {
                continue;
            };
            let Some(there) = only_duplicates(&error) else {
                return Err(error);
            };
            refused.extend(there.iter().filter_map(|&at| part.get(at)));
            last = Some(error);
        }
        let Some(error) = last else {
            return Ok(Existing::new());
        };
        let ids: Vec<_> = refused.iter().map(|&&i| events[i].bson_id()).collect();
        let asked = ids.len();
        let there = in_time(lookup(collection, ids)).await?;
        if there.len() < asked {
            // Refused by another unique index, or written by somebody and not with the majority yet.
            return Err(error);
        }
        Ok(there)
    }
}

/// The events `indices` in parts whose documents fit one command.
fn parts<'a>(events: &[Event], indices: &'a [usize]) -> impl Iterator<Item = &'a [usize]> {
    let mut rest = indices;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = |i: &&usize| {
            bytes += events[**i].document.as_bytes().len() + ENTRY_BYTES;
            bytes <= BYTES_MAX
        };
        let fit = rest.iter().take_while(fits).count().max(1);
        let (part, after) = rest.split_at_checked(fit)?;
        rest = after;
        Some(part)
    })
}

/// What became of each event, from what the archive has under its id; `first` is the first event of the
/// batch with the same id, and the only one that was written.
fn outcomes(
    streams: &[&str],
    source: &Source,
    events: &[Event],
    first: &[usize],
    held: &[Option<Held>],
) -> Archived {
    let mut archived = Archived {
        outcomes: Vec::with_capacity(events.len()),
        ..Archived::default()
    };
    let mut known = vec![false; events.len()];
    for (i, event) in events.iter().enumerate() {
        let (outcome, offset) = match &held[first[i]] {
            Some(Held::Other(stored)) if stored.hash.as_deref() == Some(&event.hash[..]) => {
                let here = stored.is_in(source) && stored.stream == streams[event.stream];
                (EventOutcome::Repeat, here.then_some(stored.offset))
            }
            Some(Held::Other(_)) => (EventOutcome::Conflict, None),
            Some(Held::Refused(why)) => {
                archived.refused.push((i, why.clone()));
                (EventOutcome::Refused, None)
            }
            _ if first[i] == i => (EventOutcome::New, Some(event.offset)),
            _ if events[first[i]].hash == event.hash => (EventOutcome::Repeat, None),
            _ => (EventOutcome::Conflict, None),
        };
        if let Some(offset) = offset.filter(|_| !std::mem::replace(&mut known[first[i]], true)) {
            archived.placed.push((i, offset));
        }
        archived.outcomes.push(outcome);
    }
    for (held, known) in held.iter().zip(&known) {
        if let Some(Held::Other(stored)) = held
            && !known
            && stored.is_in(source)
        {
            archived.unmatched = archived.unmatched.max(Some(stored.offset));
        }
    }
    archived
}

/// The documents that were refused, if that is all that went wrong and the majority has the others.
pub(super) fn only_duplicates(error: &Error) -> Option<Vec<usize>> {
    let ErrorKind::InsertMany(failure) = error.kind.as_ref() else {
        return None;
    };
    let errors = failure.write_errors.as_ref()?;
    let all =
        failure.write_concern_error.is_none() && errors.iter().all(|e| e.code == DUPLICATE_KEY);
    all.then(|| errors.iter().map(|e| e.index).collect())
}

/// Whether one of the documents is such that trying again is of no use.
pub(super) fn can_never_succeed(error: &Error) -> bool {
    match error.kind.as_ref() {
        // The driver's own judgement, such as of a document's size.
        ErrorKind::InvalidArgument { .. } => true,
        ErrorKind::Command(failure) => NEVER.contains(&failure.code),
        ErrorKind::InsertMany(failure) => {
            let mut errors = failure.write_errors.iter().flatten();
            errors.any(|e| NEVER.contains(&e.code))
        }
        _ => false,
    }
}

/// What the majority had under the ids of the events `indices` before anything was written; waits for
/// MongoDB.
async fn was_there(
    collection: &Collection<RawDocumentBuf>,
    events: &[Event],
    indices: &[usize],
) -> Existing {
    let mut backoff = Backoff::new();
    loop {
        let ids = indices.iter().map(|&i| events[i].bson_id()).collect();
        match in_time(lookup(collection, ids)).await {
            Ok(there) => return there,
            Err(error) => {
                backoff
                    .after("the archive does not answer", "", &error)
                    .await
            }
        }
    }
}

/// What the majority has under `ids`.
async fn lookup(
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
    let by_id = |d: &Document| Some((d.get("_id").and_then(as_uuid)?, stored(d)));
    Ok(documents.iter().filter_map(by_id).collect())
}

fn as_uuid(id: &bson::Bson) -> Option<Vec<u8>> {
    match id {
        bson::Bson::Binary(binary) if binary.subtype == bson::spec::BinarySubtype::Uuid => {
            Some(binary.bytes.clone())
        }
        _ => None,
    }
}

/// A document that somebody else has put there has none of it.
fn stored(document: &Document) -> Stored {
    let Ok(ours) = document.get_document(OURS) else {
        return Stored {
            partition: -1,
            ..Stored::default()
        };
    };
    let text = |name| ours.get_str(name).unwrap_or_default().to_owned();
    Stored {
        hash: ours.get_binary_generic("hash").ok().cloned(),
        stream: text("stream"),
        incarnation: text("incarnation"),
        partition: ours.get_i32("partition").unwrap_or(-1),
        offset: ours.get_i64("offset").unwrap_or(-1),
    }
}

impl Stored {
    fn is_in(&self, source: &Source) -> bool {
        self.incarnation == source.position.incarnation
            && self.partition == source.position.partition
    }
}

#[cfg(test)]
#[path = "insert_tests.rs"]
mod tests;
