//! What the archive holds between two offsets: the totals that counters are settled to.

use aguacero::{config::Stream, counts::Deltas, ledger::Position};
use bson::{Document, doc};
use mongodb::{ClientSession, Collection, error::Error, options::ReadConcern};

use super::{Archive, in_time, index};
use crate::decode::document::OURS;

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
    /// beginning) and at most `to`, or as far as one step goes.
    pub async fn totals(
        &self,
        stream: &Stream,
        position: &Position,
        from: Option<i64>,
        to: i64,
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
        totals.to = to.min(first.saturating_add(self.config.consumer.settle_step.max(1) - 1));
        let between = between(stream, position, from, totals.to);
        let counting = self.counting(stream);
        let find = self
            .collection(stream)
            .find(between)
            .hint(index::by_position());
        let find = find.projection(counting.projection());
        in_time(async {
            let mut cursor = find.session(&mut session).await?;
            while let Some(document) = cursor.next(&mut session).await.transpose()? {
                counting.count(stream, &document, &mut totals.deltas);
            }
            Ok(totals)
        })
        .await
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
            .sort(doc! { format!("{OURS}.offset"): 1 })
            .hint(index::by_position())
            .projection(doc! { "_id": 0, format!("{OURS}.offset"): 1 })
            .read_concern(ReadConcern::local())
            .session(session);
        let found = in_time(find).await?;
        Ok(found.and_then(|d| d.get_document(OURS).ok()?.get_i64("offset").ok()))
    }

    /// Every place that the archive has documents of `stream` from.
    pub async fn positions(&self, stream: &Stream) -> Result<Vec<Position>, Error> {
        let collection = self.collection(stream).clone_with_type::<Document>();
        let (mut positions, mut incarnation) = (Vec::new(), String::new());
        loop {
            let above = doc! { "_aguacero.stream": &stream.name, "_aguacero.incarnation": { "$gt": &incarnation } };
            let Some(next) = one_place(&collection, above).await? else {
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
                place = one_place(&collection, above).await?;
            }
        }
    }
}

/// The first place in the order of the index.
async fn one_place(
    collection: &Collection<Document>,
    filter: Document,
) -> Result<Option<Position>, Error> {
    let find = collection
        .find_one(filter)
        .sort(index::position())
        .hint(index::by_position())
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
