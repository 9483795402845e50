//! Indices of an archive, made when the process starts and again whenever somebody has dropped them: with an index,
//! its collection or its database.

use std::{
    collections::BTreeSet,
    sync::{PoisonError, RwLock},
};

use aguacero::{config::Stream, log_limiter};
use bson::{Bson, Document, doc};
use futures_util::{TryStreamExt as _, future::join_all};
use mongodb::{
    Collection, IndexModel,
    error::{Error, ErrorKind},
    options::{Hint, IndexOptions},
};

use super::{Archive, in_time};
use crate::metric;

/// What the log says while it fails, and when something was mended.
const UNSEEN: &str = "the indices of an archive cannot be looked at";
const MENDED: &str = "indices of an archive were gone or hidden: made again";

/// What the index by position is called where somebody has used the usual name for another one.
const OTHER_NAME: &str = "aguacero_position";

/// MongoDB's codes.
const UNAUTHORIZED: i32 = 13;
const NAMESPACE_NOT_FOUND: i32 = 26;
const INDEX_OPTIONS_CONFLICT: i32 = 85;
const INDEX_KEY_SPECS_CONFLICT: i32 = 86;

/// The index that a collection's queries by position must use, and no other. By its name, as soon as that is known:
/// the fields alone can mean several, and one that leaves documents out (a partial one) would leave them uncounted.
#[derive(Debug)]
pub(super) struct PositionHint(RwLock<Hint>);

impl Default for PositionHint {
    fn default() -> Self {
        Self(RwLock::new(Hint::Keys(position())))
    }
}

impl PositionHint {
    fn get(&self) -> Hint {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn set(&self, name: String) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Hint::Name(name);
    }
}

/// For a stream's documents by their place in Kafka.
pub(super) fn position() -> Document {
    doc! { "_aguacero.stream": 1, "_aguacero.incarnation": 1, "_aguacero.partition": 1, "_aguacero.offset": 1 }
}

/// For "the last 20".
fn latest() -> Document {
    doc! { "_aguacero.at": -1 }
}

impl Archive {
    /// The index by position of `stream`'s collection, for a query that must not choose another.
    pub(super) fn by_position(&self, stream: &Stream) -> Hint {
        self.position_hints[self.of_stream[stream.index]].get()
    }

    /// Makes what is missing: by position, by time of arrival, and by each field that a counter uses.
    pub async fn create_indices(&self) -> Result<(), Error> {
        for c in 0..self.collections.len() {
            self.make_indices(c).await?;
        }
        Ok(())
    }

    /// The same, to be called every second: what was dropped meanwhile is counted and logged.
    pub async fn mend_indices(&self) {
        join_all((0..self.collections.len()).map(async |c| {
            let name = self.collections[c].name();
            self.refusals[c].look();
            match self.make_indices(c).await {
                Ok(made) => {
                    let labels = [("collection", name.to_owned())];
                    metrics::counter!(metric::INDICES_MENDED, &labels).increment(made.len() as u64);
                    if made.is_empty() {
                        log_limiter::ended(UNSEEN, name);
                        return;
                    }
                    log_limiter::repeated(MENDED, name, &made.join(", "));
                }
                Err(error) => log_limiter::repeated(UNSEEN, name, &error),
            }
        }))
        .await;
    }

    /// Makes what collection `c` has not, and says which. An index of the same fields is as good as ours, except for
    /// the one by position.
    async fn make_indices(&self, c: usize) -> Result<Vec<String>, Error> {
        let collection = &self.collections[c];
        let Some(there) = indices_of(collection).await? else {
            self.make_unseen(c).await?;
            return Ok(Vec::new());
        };
        let mut made = Vec::new();
        let (name, is_mended) = match usable(&there) {
            Some((name, false)) => (name, false),
            Some((name, true)) => (show(collection, name).await?, true),
            None => {
                let is_taken = |name: &str| there.iter().any(|i| name_of(i) == name);
                let usual = usual_name(&position());
                let name = if is_taken(&usual) { OTHER_NAME } else { &usual };
                (make(collection, position(), name).await?, true)
            }
        };
        made.extend(is_mended.then(|| name.clone()));
        self.position_hints[c].set(name);
        for keys in self.other_keys(c) {
            if !there.iter().any(|i| has_keys(i, &keys)) {
                let name = usual_name(&keys);
                made.push(make(collection, keys, &name).await?);
            }
        }
        Ok(made)
    }

    /// Without the right to see which indices there are.
    async fn make_unseen(&self, c: usize) -> Result<(), Error> {
        for keys in std::iter::once(position()).chain(self.other_keys(c)) {
            let name = usual_name(&keys);
            make(&self.collections[c], keys, &name).await?;
        }
        Ok(())
    }

    /// Of the indices beside the one by position.
    fn other_keys(&self, c: usize) -> impl Iterator<Item = Document> {
        let streams = self.config.streams.iter();
        let here = streams.filter(|s| self.of_stream[s.index] == c);
        let fields: BTreeSet<_> = here.flat_map(counted).collect();
        let of_fields = fields.into_iter().map(|field| doc! { field: 1 });
        std::iter::once(latest()).chain(of_fields)
    }
}

/// As MongoDB lists them; none if that is not allowed.
async fn indices_of<T: Send + Sync>(
    collection: &Collection<T>,
) -> Result<Option<Vec<Document>>, Error> {
    let database = collection.client().database(&collection.namespace().db);
    let list = doc! { "listIndexes": collection.name() };
    let listed = in_time(async { database.run_cursor_command(list).await?.try_collect().await });
    match listed.await {
        Ok(indices) => Ok(Some(indices)),
        Err(error) if code(&error) == Some(NAMESPACE_NOT_FOUND) => Ok(Some(Vec::new())),
        Err(error) if code(&error) == Some(UNAUTHORIZED) => {
            let hint = "give the consumer's user listIndexes (scripts/rights): an index that is hidden is not seen";
            log_limiter::repeated("indices cannot be listed", collection.name(), &hint);
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// The name of an index by position that has all documents, compares as the collection does, and is not hidden, if
/// possible; and whether it is.
fn usable(there: &[Document]) -> Option<(String, bool)> {
    let of_ids = there.iter().find(|i| has_keys(i, &doc! { "_id": 1 }));
    let collation = |index: &Document| index.get("collation").cloned();
    let own = of_ids.and_then(collation);
    let has_all = |index: &&Document| {
        has_keys(index, &position())
            && !index.contains_key("partialFilterExpression")
            && !is_set(index, "sparse")
            && collation(index) == own
    };
    let mut good: Vec<_> = there.iter().filter(has_all).collect();
    good.sort_by_key(|index| is_set(index, "hidden"));
    let best = good.first()?;
    Some((name_of(best).to_owned(), is_set(best, "hidden")))
}

fn is_set(index: &Document, option: &str) -> bool {
    index.get_bool(option).unwrap_or(false)
}

fn name_of(index: &Document) -> &str {
    index.get_str("name").unwrap_or_default()
}

/// Whether an index has these keys, in this order. A shell may write the directions as another type of number.
fn has_keys(index: &Document, keys: &Document) -> bool {
    let direction = |value: &Bson| match value {
        Bson::Int32(n) => Some(f64::from(*n)),
        Bson::Int64(n) => Some(*n as f64),
        Bson::Double(n) => Some(*n),
        _ => None,
    };
    let Ok(has) = index.get_document("key") else {
        return false;
    };
    let (a, b) = (has.iter(), keys.iter());
    has.len() == keys.len()
        && a.zip(b).all(|((a, x), (b, y))| {
            a == b && direction(x).is_some() && direction(x) == direction(y)
        })
}

/// As MongoDB and its drivers call an index that is given no name.
fn usual_name(keys: &Document) -> String {
    let parts: Vec<_> = keys
        .iter()
        .map(|(name, value)| format!("{name}_{value}"))
        .collect();
    parts.join("_")
}

/// Says its name.
async fn make<T: Send + Sync>(
    collection: &Collection<T>,
    keys: Document,
    name: &str,
) -> Result<String, Error> {
    let options = IndexOptions::builder().name(name.to_owned()).build();
    let index = IndexModel::builder().keys(keys).options(options).build();
    match in_time(collection.create_index(index)).await {
        Err(error) if has_other_options(&error) => {
            log_limiter::repeated(
                "somebody has made an index of ours, with other options",
                collection.name(),
                &error,
            );
        }
        made => _ = made?,
    }
    Ok(name.to_owned())
}

/// Lets queries use the index `name` again.
async fn show<T: Send + Sync>(collection: &Collection<T>, name: String) -> Result<String, Error> {
    let database = collection.client().database(&collection.namespace().db);
    let index = doc! { "name": &name, "hidden": false };
    let modify = doc! { "collMod": collection.name(), "index": index };
    match in_time(database.run_command(modify)).await {
        Ok(_) => Ok(name),
        Err(error) => Err(Error::custom(format!(
            "the index {name} is hidden and must not be: unhide it ({error})"
        ))),
    }
}

/// Names of the fields that the stream's counters use.
fn counted(stream: &Stream) -> impl Iterator<Item = &str> {
    stream
        .counters
        .iter()
        .flat_map(|c| &c.by)
        .map(|&by| stream.fields[by].name.as_str())
}

/// The same index is there with another name or other options.
fn has_other_options(error: &Error) -> bool {
    matches!(
        code(error),
        Some(INDEX_OPTIONS_CONFLICT | INDEX_KEY_SPECS_CONFLICT)
    )
}

fn code(error: &Error) -> Option<i32> {
    match error.kind.as_ref() {
        ErrorKind::Command(failure) => Some(failure.code),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_by_position_is_one_that_leaves_no_document_out() {
        let ids = doc! { "key": { "_id": 1 }, "name": "_id_" };
        let index = |name: &str, more: Document| {
            let mut index = doc! { "key": position(), "name": name };
            index.extend(more);
            index
        };
        let partial = index("partial", doc! { "partialFilterExpression": { "a": 1 } });
        let sparse = index("sparse", doc! { "sparse": true });
        let spanish = index("spanish", doc! { "collation": { "locale": "es" } });
        let hidden = index("hidden", doc! { "hidden": true });
        let unique = index("unique", doc! { "unique": true });
        let other = doc! { "key": { "_aguacero.stream": 1 }, "name": "other" };
        let useless = [ids, partial, sparse, spanish, other];
        assert_eq!(usable(&useless), None);
        let with = |more: &[&Document]| {
            let all = useless.iter().chain(more.iter().copied());
            usable(&all.cloned().collect::<Vec<_>>())
        };
        assert_eq!(with(&[&hidden]), Some(("hidden".to_owned(), true)));
        assert_eq!(
            with(&[&hidden, &unique]),
            Some(("unique".to_owned(), false))
        );
        // A collection that compares so by itself.
        let ids = doc! { "key": { "_id": 1 }, "name": "_id_", "collation": { "locale": "es" } };
        let found = usable(&[
            ids,
            index("spanish", doc! { "collation": { "locale": "es" } }),
        ]);
        assert_eq!(found, Some(("spanish".to_owned(), false)));
    }

    #[test]
    fn directions_are_numbers_of_any_type() {
        let of_a_shell = doc! { "key": { "_aguacero.at": -1.0 }, "name": "a" };
        assert!(has_keys(&of_a_shell, &latest()));
        let upwards = doc! { "key": { "_aguacero.at": 1 }, "name": "a" };
        assert!(!has_keys(&upwards, &latest()));
        let hashed = doc! { "key": { "a": "hashed" }, "name": "a" };
        assert!(!has_keys(&hashed, &doc! { "a": 1 }));
        assert_eq!(usual_name(&latest()), "_aguacero.at_-1");
    }
}
