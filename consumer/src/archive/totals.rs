//! What the archive holds between two offsets: the totals that counters are settled to.

use std::time::{Duration, Instant};

use aguacero::{config::Stream, counts::Deltas, ledger::Position};
use bson::{Document, RawDocument, doc};
use mongodb::{
    ClientSession, Collection,
    error::Error,
    options::{CountOptions, Hint, ReadConcern},
};

use super::{Archive, in_time, index};
use crate::decode::document::OURS;

/// Keys in the totals of one step: as many as Redis adds in some milliseconds.
pub const KEYS_MAX: usize = 1000;
/// A step that has taken so long ends where it is.
const STEP_TIME: Duration = Duration::from_secs(5);
/// Documents that MongoDB reads for one answer: large ones take their time.
const ANSWER_DOCUMENTS: u32 = 1000;

/// Totals of the offsets above one and up to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Totals {
    /// The other.
    pub to: i64,
    /// What the archive holds between them.
    pub deltas: Deltas,
}

impl Archive {
    /// Counts the documents of `stream` in `position` whose offset is above `from` (none: from the
    /// beginning) and at most `to`, or as far as one step goes: `step` offsets from the first that has a
    /// document, 1,000 keys, 5 seconds.
    pub async fn totals(
        &self,
        stream: &Stream,
        position: &Position,
        (from, to): (Option<i64>, i64),
        step: i64,
    ) -> Result<Totals, Error> {
        // The session makes the second query wait until the majority has what the first could see:
        // a primary that was just elected may not know yet how much that is.
        let mut session = in_time(self.client.start_session().causal_consistency(true)).await?;
        let mut totals = Totals {
            to,
            deltas: Deltas::none(stream),
        };
        let Some(first) = self
            .offset_after(&mut session, stream, position, from, to)
            .await?
        else {
            return Ok(totals);
        };
        totals.to = to.min(first.saturating_add(step.max(1) - 1));
        let counting = self.counting(stream);
        let find = self
            .collection(stream)
            .find(between(stream, position, from, totals.to))
            .sort(index::position())
            .hint(self.by_position(stream))
            .projection(counting.projection())
            .batch_size(ANSWER_DOCUMENTS);
        let (started, mut last) = (Instant::now(), first);
        let mut cursor = in_time(async { find.session(&mut session).await }).await?;
        while let Some(document) = in_time(next(&mut cursor, &mut session)).await? {
            let offset = offset(&document).unwrap_or(last);
            let is_full = || totals.deltas.keys() >= KEYS_MAX || started.elapsed() > STEP_TIME;
            if offset > last && is_full() {
                totals.to = last;
                break;
            }
            last = offset;
            counting.count(stream, &document, &mut totals.deltas);
        }
        Ok(totals)
    }

    /// The first offset above `from` and up to `to` that has a document, with the majority or not.
    async fn offset_after(
        &self,
        session: &mut ClientSession,
        stream: &Stream,
        position: &Position,
        from: Option<i64>,
        to: i64,
    ) -> Result<Option<i64>, Error> {
        let collection = self.collection(stream).clone_with_type::<Document>();
        let find = collection
            .find_one(between(stream, position, from, to))
            .sort(index::position())
            .hint(self.by_position(stream))
            .projection(doc! { "_id": 0, format!("{OURS}.offset"): 1 })
            .read_concern(ReadConcern::local())
            .session(session);
        let found = in_time(find).await?;
        Ok(found.and_then(|d| d.get_document(OURS).ok()?.get_i64("offset").ok()))
    }

    /// The highest offset of `position` that has a document of `stream`, with the majority or not.
    pub async fn highest(
        &self,
        stream: &Stream,
        position: &Position,
    ) -> Result<Option<i64>, Error> {
        let collection = self.collection(stream).clone_with_type::<Document>();
        let backwards = doc! { "_aguacero.stream": -1, "_aguacero.incarnation": -1, "_aguacero.partition": -1, "_aguacero.offset": -1 };
        let find = collection
            .find_one(between(stream, position, None, i64::MAX))
            .sort(backwards)
            .hint(self.by_position(stream))
            .projection(doc! { "_id": 0, format!("{OURS}.offset"): 1 })
            .read_concern(ReadConcern::local());
        let found = in_time(find).await?;
        Ok(found.and_then(|d| d.get_document(OURS).ok()?.get_i64("offset").ok()))
    }

    /// How many documents of `stream` there are in `position` whose offset is above `from` and at most `to`.
    pub async fn count(
        &self,
        stream: &Stream,
        position: &Position,
        (from, to): (Option<i64>, i64),
    ) -> Result<u64, Error> {
        let options = CountOptions::builder()
            .hint(self.by_position(stream))
            .build();
        let between = between(stream, position, from, to);
        let count = self
            .collection(stream)
            .count_documents(between)
            .with_options(options);
        in_time(count).await
    }

    /// Every place that the archive has documents of `stream` from.
    pub async fn positions(&self, stream: &Stream) -> Result<Vec<Position>, Error> {
        let collection = self.collection(stream).clone_with_type::<Document>();
        let (mut positions, mut incarnation) = (Vec::new(), String::new());
        loop {
            let above = doc! { "_aguacero.stream": &stream.name, "_aguacero.incarnation": { "$gt": &incarnation } };
            let Some(next) = one_place(&collection, above, self.by_position(stream)).await? else {
                return Ok(positions);
            };
            incarnation.clone_from(&next.incarnation);
            let mut place = Some(next);
            while let Some(position) = place {
                let above = doc! {
                    "_aguacero.stream": &stream.name,
                    "_aguacero.incarnation": &incarnation,
                    "_aguacero.partition": { "$gt": position.partition },
                };
                positions.push(position);
                place = one_place(&collection, above, self.by_position(stream)).await?;
            }
        }
    }
}

async fn next(
    cursor: &mut mongodb::SessionCursor<bson::RawDocumentBuf>,
    session: &mut ClientSession,
) -> Result<Option<bson::RawDocumentBuf>, Error> {
    cursor.next(session).await.transpose()
}

fn offset(document: &RawDocument) -> Option<i64> {
    document.get_document(OURS).ok()?.get_i64("offset").ok()
}

/// The first place in the order of the index.
async fn one_place(
    collection: &Collection<Document>,
    filter: Document,
    by_position: Hint,
) -> Result<Option<Position>, Error> {
    let find = collection
        .find_one(filter)
        .sort(index::position())
        .hint(by_position)
        .projection(doc! { "_id": 0, "_aguacero.incarnation": 1, "_aguacero.partition": 1 });
    let found = in_time(find).await?;
    Ok(found.and_then(|document| {
        let ours = document.get_document(OURS).ok()?;
        Some(Position {
            incarnation: ours.get_str("incarnation").ok()?.to_owned(),
            partition: ours.get_i32("partition").ok()?,
        })
    }))
}

fn between(stream: &Stream, position: &Position, from: Option<i64>, to: i64) -> Document {
    doc! {
        "_aguacero.stream": &stream.name,
        "_aguacero.incarnation": &position.incarnation,
        "_aguacero.partition": position.partition,
        "_aguacero.offset": { "$gt": from.unwrap_or(-1), "$lte": to },
    }
}
