//! What MongoDB holds.

use std::{collections::BTreeMap, time::Duration};

use aguacero::{
    config::{Mongodb, Stream},
    id::EventId,
};
use bson::{Binary, Bson, Document, RawDocumentBuf, doc, oid::ObjectId, spec::BinarySubtype};
use consumer::archive::client_options;
use mongodb::{Client, Database, error::ErrorKind, options::ReadConcern};

use crate::eventually;

/// Between a collection's name and an id: where its documents are that were taken away.
const ASIDE: &str = "_aside_";
/// The field that is the archive's own.
pub const OURS: &str = "_aguacero";

/// The database of one pipeline.
#[derive(Debug, Clone)]
pub struct Archive {
    database: Database,
}

impl Archive {
    /// The database called `name`; it need not be there.
    pub async fn open(access: &Mongodb, name: &str) -> Self {
        let options = client_options(access).await.expect("a connection string");
        let client = Client::with_options(options).expect("a client of MongoDB");
        Self {
            database: client.database(name),
        }
    }

    /// The port of the member that takes writes.
    pub async fn primary_port(&self) -> u16 {
        eventually("a primary", async || {
            let hello = self.database.run_command(doc! { "hello": 1 }).await;
            let hello = hello.map_err(|e| e.to_string())?;
            let address = hello.get_str("primary").map_err(|e| e.to_string())?;
            let port = address.rsplit(':').next().and_then(|p| p.parse().ok());
            port.ok_or_else(|| format!("its address is {address}"))
        })
        .await
    }

    /// How many documents a collection holds.
    pub async fn count(&self, collection: &str) -> u64 {
        self.database
            .collection::<Document>(collection)
            .count_documents(doc! {})
            .await
            .expect("MongoDB answers")
    }

    /// The same without counting, by what MongoDB remembers: exact unless it was killed.
    pub async fn size(&self, collection: &str) -> u64 {
        self.database
            .collection::<Document>(collection)
            .estimated_document_count()
            .await
            .expect("MongoDB answers")
    }

    /// Whether a collection holds this event, so that no change of the primary takes it away.
    pub async fn holds(&self, collection: &str, id: EventId) -> bool {
        let id = Binary {
            subtype: BinarySubtype::Uuid,
            bytes: id.0.to_vec(),
        };
        self.database
            .collection::<RawDocumentBuf>(collection)
            .find_one(doc! { "_id": id })
            .read_concern(ReadConcern::majority())
            .await
            .expect("MongoDB answers")
            .is_some()
    }

    /// The documents of a collection that `filter` finds. Read from their bytes: serde would take an
    /// event's own `{"$oid": …}` for something else.
    pub async fn find(&self, collection: &str, filter: Document) -> Vec<Document> {
        let collection = self.database.collection::<RawDocumentBuf>(collection);
        let mut cursor = collection.find(filter).await.expect("MongoDB answers");
        let mut documents = Vec::new();
        while cursor.advance().await.expect("MongoDB answers") {
            documents.push(Document::try_from(cursor.current()).expect("a document"));
        }
        documents
    }

    /// The archived events of a stream.
    pub async fn of_stream(&self, stream: &Stream) -> Vec<Document> {
        self.find(&stream.archive, doc! { "_aguacero.stream": &stream.name })
            .await
    }

    /// The dead letters.
    pub async fn dead_letters(&self) -> Vec<Document> {
        self.find("dead_letters", doc! {}).await
    }

    /// Takes a collection away with its indexes and its rules, in one step, as if it were dropped, and keeps its
    /// documents aside. Returns where.
    pub async fn take_away(&self, collection: &str) -> String {
        let name = |collection: &str| format!("{}.{collection}", self.database.name());
        let to = format!("{collection}{ASIDE}{}", ObjectId::new());
        let rename = doc! { "renameCollection": name(collection), "to": name(&to) };
        let admin = self.database.client().database("admin");
        eventually(&format!("{collection} taken away"), async || {
            done(admin.run_command(rename.clone()).await)
        })
        .await;
        to
    }

    /// Puts documents back beside what is there by now, as somebody does who has a backup.
    pub async fn put_back(&self, aside: &str, collection: &str) {
        let aside = self.database.collection::<Document>(aside);
        let merge = doc! { "$merge": { "into": collection, "whenMatched": "keepExisting" } };
        eventually(&format!("{collection} put back"), async || {
            done(aside.aggregate([merge.clone()]).await)
        })
        .await;
        eventually("what was aside dropped", async || done(aside.drop().await)).await;
    }

    /// Where documents of a collection are that was taken away.
    pub async fn aside(&self, collection: &str) -> Vec<String> {
        let names = self.database.list_collection_names().await;
        let mut names = names.expect("MongoDB answers");
        names.retain(|name| {
            name.strip_prefix(collection)
                .is_some_and(|n| n.starts_with(ASIDE))
        });
        names
    }

    /// Drops every index of a collection but that of `_id`.
    pub async fn drop_indexes(&self, collection: &str) {
        let drop = doc! { "dropIndexes": collection, "index": "*" };
        eventually("indexes dropped", async || {
            done(self.database.run_command(drop.clone()).await)
        })
        .await;
    }

    /// Lets a collection refuse documents that have a field, or take them again.
    pub async fn set_refused(&self, collection: &str, field: Option<&str>) {
        let rule = field.map_or(doc! {}, |field| doc! { field: { "$exists": false } });
        let change = doc! { "collMod": collection, "validator": rule };
        eventually("a rule of the collection's own", async || {
            done(self.database.run_command(change.clone()).await)
        })
        .await;
    }

    /// Lets a collection refuse all but one of the documents that have a field, and have a greater `n` than it has by
    /// far; or take them again. False if there are too many already.
    pub async fn set_unique(&self, collection: &str, field: Option<&str>) -> bool {
        let name = "e2e_unique";
        let Some(field) = field else {
            let drop = doc! { "dropIndexes": collection, "index": name };
            eventually("an index dropped", async || {
                done(self.database.run_command(drop.clone()).await)
            })
            .await;
            return true;
        };
        let of_database = self.database.collection::<Document>(collection);
        let last = of_database.find_one(doc! {}).sort(doc! { "n": -1 }).await;
        let last = last
            .expect("MongoDB answers")
            .and_then(|d| d.get_i32("n").ok());
        let these = doc! { field: { "$exists": true }, "n": { "$gt": last.unwrap_or(0) + 1000 } };
        let index = doc! { "key": { field: 1 }, "name": name, "unique": true, "partialFilterExpression": these };
        let create = doc! { "createIndexes": collection, "indexes": [index] };
        self.database.run_command(create).await.is_ok()
    }

    /// How often each value of a field is there.
    pub async fn counted_by(&self, collection: &str, field: &str) -> BTreeMap<String, i64> {
        let group = doc! { "$group": { "_id": format!("${field}"), "n": { "$sum": 1_i64 } } };
        let of_database = self.database.collection::<Document>(collection);
        let mut cursor = of_database
            .aggregate([group])
            .await
            .expect("MongoDB answers");
        let mut counts = BTreeMap::new();
        while cursor.advance().await.expect("MongoDB answers") {
            let count = Document::try_from(cursor.current()).expect("a document");
            let key = count.get_str("_id").expect("a text").to_owned();
            counts.insert(key, count.get_i64("n").expect("a number"));
        }
        counts
    }

    /// Lets go of everything.
    pub async fn forget(&self) {
        _ = tokio::time::timeout(Duration::from_secs(3), self.database.drop()).await;
    }
}

/// What is not there need not be done.
fn done<T>(result: Result<T, mongodb::error::Error>) -> Result<(), String> {
    match result {
        Ok(_) => Ok(()),
        Err(e) if matches!(&*e.kind, ErrorKind::Command(e) if NOT_THERE.contains(&e.code)) => {
            Ok(())
        }
        Err(e) => Err(e.to_string()),
    }
}

/// `NamespaceNotFound`, `IndexNotFound`.
const NOT_THERE: [i32; 2] = [26, 27];

/// The id of an archived event.
#[must_use]
pub fn id_of(document: &Document) -> EventId {
    match document.get("_id") {
        Some(Bson::Binary(b)) if b.subtype == BinarySubtype::Uuid => {
            EventId(b.bytes.as_slice().try_into().expect("16 bytes"))
        }
        other => panic!("_id is {other:?}"),
    }
}

/// A field of `_aguacero`.
#[must_use]
pub fn ours<'a>(document: &'a Document, field: &str) -> &'a Bson {
    let ours = document
        .get_document(OURS)
        .unwrap_or_else(|e| panic!("{OURS}: {e}: {document}"));
    ours.get(field)
        .unwrap_or_else(|| panic!("no {field} in {document}"))
}
