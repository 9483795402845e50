//! An archive that is spread over shards. Each shard has its own index of `_id`, so MongoDB holds an id once only if
//! the id alone decides on which shard a document is.

use bson::{Document, doc};
use mongodb::error::Error;

use super::{Archive, in_time};
use crate::metric;

impl Archive {
    /// Says, in the log and in a metric, of each archive that may hold an event twice because of how it is sharded.
    pub async fn look_at_shards(&self) -> Result<(), Error> {
        let database = self.client.database(&self.config.mongodb.database);
        let hello = in_time(database.run_command(doc! { "hello": 1 })).await?;
        if !hello.get_str("msg").is_ok_and(|msg| msg == "isdbgrid") {
            return Ok(()); // no mongos: what there is is one replica set
        }
        for collection in &self.collections {
            let name = collection.namespace().to_string();
            let known = self.client.database("config").collection("collections");
            let found: Result<Option<Document>, Error> =
                in_time(known.find_one(doc! { "_id": &name })).await;
            match found {
                Ok(found) if found.as_ref().is_some_and(is_spread_by_another_field) => {
                    let key = found.and_then(|f| f.get_document("key").cloned().ok());
                    let key = key.unwrap_or_default().to_string();
                    self.tell_of_shards(collection.name(), true);
                    tracing::error!(
                        collection = name,
                        key,
                        "the archive is sharded by another field than _id: an event that is sent again may be in it twice; shard it by {{ _id: 1 }} or {{ _id: \"hashed\" }}"
                    );
                }
                Ok(_) => self.tell_of_shards(collection.name(), false),
                Err(error) => tracing::warn!(
                    collection = name,
                    %error,
                    "it cannot be seen by which field the archive is sharded: let the consumer's user find in config.collections, or make sure that it is _id"
                ),
            }
        }
        Ok(())
    }

    fn tell_of_shards(&self, collection: &str, is_wrong: bool) {
        let labels = [("collection", collection.to_owned())];
        metrics::gauge!(metric::SHARDED, &labels).set(f64::from(u8::from(is_wrong)));
    }
}

/// By the entry of `config.collections`.
fn is_spread_by_another_field(entry: &Document) -> bool {
    let is_gone = entry.get_bool("dropped").unwrap_or(false);
    let is_whole = entry.get_bool("unsplittable").unwrap_or(false);
    let by_id = |key: &Document| key.keys().eq(["_id"]);
    !is_gone && !is_whole && !entry.get_document("key").is_ok_and(by_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_id_alone_keeps_an_event_on_one_shard() {
        for (entry, is_wrong) in [
            (doc! { "key": { "_id": 1 } }, false),
            (doc! { "key": { "_id": "hashed" }, "unique": false }, false),
            (doc! { "key": { "país": 1 } }, true),
            (doc! { "key": { "país": 1, "_id": 1 } }, true),
            (doc! { "key": { "_id": 1, "país": 1 } }, true),
            (doc! { "key": { "país": 1 }, "dropped": true }, false),
            // On one shard as a whole.
            (doc! { "key": { "x": 1 }, "unsplittable": true }, false),
        ] {
            assert_eq!(is_spread_by_another_field(&entry), is_wrong, "{entry}");
        }
    }
}
