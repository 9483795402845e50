//! What MongoDB holds.

use std::time::Duration;

use aguacero::{
    config::{Mongodb, Stream},
    id::EventId,
};
use bson::{Binary, Bson, Document, RawDocumentBuf, doc, spec::BinarySubtype};
use consumer::archive::client_options;
use mongodb::{Client, Database, options::ReadConcern};

use crate::eventually;

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

    /// Lets go of everything.
    pub async fn forget(&self) {
        _ = tokio::time::timeout(Duration::from_secs(3), self.database.drop()).await;
    }
}

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
