//! Dead letters: written by the archiver, found and marked by `consumer dead-letters`.

use aguacero::{log_limiter, record::HEADER};
use bson::{Bson, DateTime, Document, RawDocumentBuf, doc, spec::BinarySubtype};
use futures_util::TryStreamExt as _;
use mongodb::error::Error;

use super::{
    Archive, in_time,
    insert::can_never_succeed,
    refused::MESSAGE_BYTES_MAX,
    write::{WriteError, parts, write},
};
use crate::{
    batch::Batch,
    decode::dead_letter::{self, DeadLetter, Reason},
    metric,
    retry::Backoff,
};

/// Which dead letters.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only these; empty is any.
    pub ids: Vec<String>,
    /// Only of this reason.
    pub reason: Option<String>,
    /// Only of this stream.
    pub stream: Option<String>,
    /// Only those that were neither replayed nor discarded (`true`), or that were (`false`); none is any.
    pub is_open: Option<bool>,
}

/// A dead letter, as MongoDB has it.
#[derive(Debug, Clone)]
pub struct StoredDeadLetter(Document);

impl Archive {
    /// Writes those of a batch, however long it takes. Again changes nothing.
    pub async fn write_dead_letters(&self, batch: &Batch, letters: &[DeadLetter]) {
        if letters.is_empty() {
            return;
        }
        let document = |l| dead_letter::document(&self.config, batch, l);
        let documents: Vec<_> = letters.iter().filter_map(document).collect();
        let about = self.about(&batch.source, self.dead_letters.name());
        if self.insert_dead_letters(&about, &documents).await.is_err() {
            // One of them can never be written; which one shows when each is written by itself.
            for letter in letters {
                self.write_dead_letter(&about, batch, letter).await;
            }
        }
        let mut reasons: Vec<Reason> = letters.iter().map(|letter| letter.reason).collect();
        reasons.sort_unstable();
        reasons.dedup();
        for reason in reasons {
            let of_reason = || letters.iter().filter(|letter| letter.reason == reason);
            let (count, reason) = (of_reason().count() as u64, reason.as_str());
            metrics::counter!(metric::DEAD_LETTERS, "reason" => reason).increment(count);
            let first = of_reason().next();
            let Some((letter, record)) = first.and_then(|l| Some((l, batch.record(l.record)?)))
            else {
                continue;
            };
            let place = dead_letter::place(&self.config, batch, &record);
            let stream = letter
                .stream
                .map(|s| format!("stream {}: ", self.config.streams[s].name));
            let (stream, why) = (
                stream.unwrap_or_default(),
                dead_letter::beginning(&letter.detail, MESSAGE_BYTES_MAX),
            );
            let detail = format!("{place}: {stream}{why}");
            log_limiter::repeated_times("records became dead letters", reason, &detail, count);
        }
    }

    /// Writes one, or a small one if MongoDB can never hold the whole.
    async fn write_dead_letter(&self, about: &str, batch: &Batch, letter: &DeadLetter) {
        let Some(whole) = dead_letter::document(&self.config, batch, letter) else {
            return;
        };
        let Err(error) = self.insert_dead_letters(about, &[whole]).await else {
            return;
        };
        let small = dead_letter::small(&self.config, batch, letter, &error.to_string());
        let Some(small) = small else { return };
        // Nothing of the record is in it: if MongoDB refuses even that, it is not the record's fault, and
        // nothing is skipped.
        let (mut backoff, small) = (Backoff::new(), [small]);
        while let Err(error) = self.insert_dead_letters(about, &small).await {
            backoff
                .after("a small dead letter cannot be written", about, &error)
                .await;
        }
    }

    /// However long it takes; an error is one that would come for ever.
    async fn insert_dead_letters(&self, about: &str, letters: &[Document]) -> Result<(), Error> {
        let documents = letters.iter().map(RawDocumentBuf::try_from);
        let documents: Vec<_> = documents.collect::<Result<_, _>>()?;
        let mut backoff = Backoff::new();
        loop {
            // One that is there already was written by an earlier attempt.
            let against = |error: &WriteError| !error.is_of_id();
            let error = match self.try_dead_letters(&documents).await {
                Err(error) if can_never_succeed(&error) => return Err(error),
                Ok(errors) => match errors.into_iter().find(against) {
                    None => return Ok(()),
                    Some(error) if error.is_for_ever() => return Err(Error::custom(error.message)),
                    // There is no place beside this one where it could be kept.
                    Some(WriteError { code, message, .. }) => Error::custom(format!(
                        "code {code}: {message}: take away the rule by which this collection refuses them"
                    )),
                },
                Err(error) => error,
            };
            backoff
                .after("dead letters cannot be written", about, &error)
                .await;
        }
    }

    /// One try; says what MongoDB has against some of them.
    async fn try_dead_letters(&self, letters: &[RawDocumentBuf]) -> Result<Vec<WriteError>, Error> {
        let collection = self.dead_letters.clone_with_type::<RawDocumentBuf>();
        let mut errors = Vec::new();
        for part in parts(letters, |letter| letter) {
            errors.extend(in_time(write(&collection, part.iter())).await?);
        }
        Ok(errors)
    }

    /// Those that `filter` finds, oldest first.
    pub async fn dead_letters(&self, filter: &Filter) -> Result<Vec<StoredDeadLetter>, Error> {
        let by_age = doc! { "at": 1, "_id": 1 };
        let find = self.dead_letters.find(filter.document()).sort(by_age);
        in_time(async { find.await?.map_ok(StoredDeadLetter).try_collect().await }).await
    }

    /// How many `filter` finds.
    pub async fn count_dead_letters(&self, filter: &Filter) -> Result<u64, Error> {
        in_time(self.dead_letters.count_documents(filter.document())).await
    }

    /// Notes in all that `filter` finds that nobody will replay them; returns how many they are. They are kept.
    pub async fn discard_dead_letters(&self, filter: &Filter) -> Result<u64, Error> {
        let update = doc! { "$set": { "discarded_at": DateTime::now() } };
        let updated = in_time(self.dead_letters.update_many(filter.document(), update)).await?;
        Ok(updated.matched_count)
    }

    /// Notes in a dead letter that its record stands in the topic again, and where.
    pub async fn mark_replayed(&self, letter: &StoredDeadLetter, offset: i64) -> Result<(), Error> {
        let replayed = doc! { "replayed_at": DateTime::now(), "replayed_offset": offset };
        let update = doc! { "$set": replayed };
        in_time(
            self.dead_letters
                .update_one(doc! { "_id": letter.id() }, update),
        )
        .await?;
        Ok(())
    }
}

impl Filter {
    fn document(&self) -> Document {
        let mut document = Document::new();
        if !self.ids.is_empty() {
            document.insert("_id", doc! { "$in": &self.ids });
        }
        if let Some(reason) = &self.reason {
            document.insert("reason", reason);
        }
        if let Some(stream) = &self.stream {
            document.insert("stream", stream);
        }
        if let Some(is_open) = self.is_open {
            let exists = |field: &str| doc! { field: { "$exists": true } };
            let closed = ["replayed_at", "discarded_at"].map(exists).to_vec();
            document.insert(if is_open { "$nor" } else { "$or" }, closed);
        }
        document
    }
}

impl StoredDeadLetter {
    /// `topic/incarnation/partition/offset`
    #[must_use]
    pub fn id(&self) -> &str {
        self.text("_id").unwrap_or_default()
    }

    /// A field that holds text.
    #[must_use]
    pub fn text(&self, field: &str) -> Option<&str> {
        self.0.get_str(field).ok()
    }

    /// A field that holds a time, as RFC 3339 in UTC.
    #[must_use]
    pub fn time(&self, field: &str) -> Option<String> {
        self.0
            .get_datetime(field)
            .ok()?
            .try_to_rfc3339_string()
            .ok()
    }

    /// Milliseconds since 1970 of the record.
    #[must_use]
    pub fn timestamp(&self) -> i64 {
        self.0
            .get_datetime("at")
            .map_or(0, |at| at.timestamp_millis())
    }

    /// Where the record stood.
    #[must_use]
    pub fn partition(&self) -> i32 {
        self.0.get_i32("partition").unwrap_or_default()
    }

    /// The event's id, if the archiver could read it.
    #[must_use]
    pub fn event(&self) -> Option<String> {
        match self.0.get("id") {
            Some(Bson::Binary(id)) if id.subtype == BinarySubtype::Uuid => {
                let id = aguacero::id::EventId(id.bytes.as_slice().try_into().ok()?);
                Some(id.to_string())
            }
            _ => None,
        }
    }

    /// The record's key.
    #[must_use]
    pub fn key(&self) -> Option<&[u8]> {
        bytes(&self.0, "key")
    }

    /// The record's value; none for a tombstone.
    #[must_use]
    pub fn value(&self) -> Option<&[u8]> {
        bytes(&self.0, "value")
    }

    /// Bytes of the record's value, of which a dead letter keeps as many as it has room for.
    #[must_use]
    pub fn value_bytes(&self) -> usize {
        let bytes = self.0.get_i64("value_bytes").unwrap_or_default();
        usize::try_from(bytes).unwrap_or_default()
    }

    /// Names and values of the record's headers.
    pub fn headers(&self) -> impl Iterator<Item = (&str, Option<&[u8]>)> {
        let headers = self.0.get_array("headers").into_iter().flatten();
        let documents = headers.filter_map(Bson::as_document);
        documents.map(|header| {
            (
                header.get_str("name").unwrap_or_default(),
                bytes(header, "value"),
            )
        })
    }

    /// The header of ours that counts, if it has one: the last.
    #[must_use]
    pub fn header(&self) -> Option<&[u8]> {
        self.headers().filter(|(name, _)| *name == HEADER).last()?.1
    }
}

fn bytes<'a>(document: &'a Document, field: &str) -> Option<&'a [u8]> {
    document.get_binary_generic(field).ok().map(Vec::as_slice)
}
