//! How far dead letters have come in a partition, and which records are passed over.

use aguacero::ledger::Position;
use bson::{Document, doc};
use mongodb::error::Error;

use super::{Archive, in_time};
use crate::decode::dead_letter::{self, Reason};

/// The first offset behind a letter's record, if the record is not the only one that is passed over.
pub(crate) const PASSED_TO: &str = "passed_to";

impl Archive {
    /// The highest offset of a position that has a dead letter; none if there is none.
    pub async fn last_dead_letter(
        &self,
        topic: &str,
        position: &Position,
    ) -> Result<Option<i64>, Error> {
        // Ids begin with the place; behind a slash comes a nought.
        let place = format!("{topic}/{}/{}", position.incarnation, position.partition);
        let between = doc! { "_id": { "$gt": format!("{place}/"), "$lt": format!("{place}0") } };
        let find = self.dead_letters.find_one(between);
        let find = find.sort(doc! { "offset": -1 });
        let found = in_time(find.projection(doc! { "offset": 1 })).await?;
        Ok(found.and_then(|d| d.get_i64("offset").ok()))
    }

    /// Where to go on behind the record at `offset`, if somebody wants it to be passed over.
    pub async fn passed_over(
        &self,
        topic: &str,
        position: &Position,
        offset: i64,
    ) -> Result<Option<i64>, Error> {
        let letter = doc! {
            "_id": dead_letter::id(topic, position, offset),
            "reason": Reason::PassedOver.as_str(),
        };
        let found = in_time(self.dead_letters.find_one(letter)).await?;
        Ok(found.map(|letter| letter.get_i64(PASSED_TO).unwrap_or(offset + 1)))
    }

    /// Keeps a dead letter in the place of whatever has its id.
    pub async fn put_dead_letter(&self, letter: &Document) -> Result<(), Error> {
        let id = letter.get_str("_id").unwrap_or_default();
        let put = self.dead_letters.replace_one(doc! { "_id": id }, letter);
        in_time(put.upsert(true)).await?;
        Ok(())
    }
}
