//! One `insert` command, made from documents that are bytes already, and what MongoDB says of each.
//!
//! The driver's `insert_many` makes each document anew, parses it for its `_id`, and keeps every `_id` in
//! a map that nobody looks at: a tenth of the consumer's time and more.

use bson::{RawDocumentBuf, raw::cstr, rawdoc};
use mongodb::{
    Collection,
    error::{Error, ErrorKind, InsertManyError},
};

/// Bytes of the documents in one command, each with [`ENTRY_BYTES`]: a command may have as many as the largest
/// document, 16 MiB, and 16 KiB more.
pub(super) const BYTES_MAX: usize = 16 << 20;

/// What a document takes in a command beside itself, at most: a type, its position in digits, a NUL.
pub(super) const ENTRY_BYTES: usize = 8;

/// BSON's tags (<https://bsonspec.org/spec.html>).
const DOCUMENT: u8 = 0x03;
const ARRAY: u8 = 0x04;

/// Inserts what it can of `documents`, in any order. Documents that MongoDB has refused are told as
/// [`ErrorKind::InsertMany`], as `insert_many` does.
pub(super) async fn write<'a>(
    collection: &Collection<RawDocumentBuf>,
    documents: impl Iterator<Item = &'a RawDocumentBuf> + Clone,
) -> Result<(), Error> {
    let command = command(collection, documents)?;
    let database = collection.client().database(&collection.namespace().db);
    let answer = database.run_raw_command(command).await?;
    if !answer.contains_key("writeErrors") && !answer.contains_key("writeConcernError") {
        return Ok(());
    }
    let failure: InsertManyError = bson::deserialize_from_document(answer)?;
    Err(ErrorKind::InsertMany(failure).into())
}

fn command<'a>(
    collection: &Collection<RawDocumentBuf>,
    documents: impl Iterator<Item = &'a RawDocumentBuf> + Clone,
) -> Result<RawDocumentBuf, Error> {
    let mut head = rawdoc! { "insert": collection.name(), "ordered": false };
    if let Some(concern) = collection.write_concern() {
        let concern = bson::serialize_to_raw_document_buf(concern)?;
        head.append(cstr!("writeConcern"), concern);
    }
    let mut bytes = head.into_bytes();
    bytes.pop(); // what ends it
    let entries = documents.clone().map(|d| d.as_bytes().len() + ENTRY_BYTES);
    bytes.reserve(entries.sum::<usize>() + 20);
    bytes.push(ARRAY);
    bytes.extend_from_slice(b"documents\0");
    let array = bytes.len();
    bytes.extend_from_slice(&[0; 4]);
    let mut digits = itoa::Buffer::new();
    for (i, document) in documents.enumerate() {
        bytes.push(DOCUMENT);
        bytes.extend_from_slice(digits.format(i).as_bytes());
        bytes.push(0);
        bytes.extend_from_slice(document.as_bytes());
    }
    close(&mut bytes, array);
    close(&mut bytes, 0);
    Ok(RawDocumentBuf::from_bytes(bytes)?)
}

/// Ends the document or array that begins at `start`.
fn close(bytes: &mut Vec<u8>, start: usize) {
    bytes.push(0);
    let len = (bytes.len() - start) as i32;
    bytes[start..start + 4].copy_from_slice(&len.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use bson::{Bson, Document, doc};
    use mongodb::{Client, options::ClientOptions};

    #[tokio::test]
    async fn a_command_holds_its_documents_in_their_order() {
        let options = ClientOptions::builder().build();
        let client = Client::with_options(options).unwrap();
        let collection = client.database("d").collection("c");
        let documents: Vec<_> = (0..12)
            .map(|i| rawdoc! { "_id": i, "a": { "b": "c" } })
            .collect();
        let command = command(&collection, documents.iter()).unwrap();
        assert_eq!(command.iter().next().unwrap().unwrap().0, "insert");
        let command = Document::try_from(&*command).unwrap();
        let held = documents.iter().map(|d| Document::try_from(&**d).unwrap());
        let held: Vec<Bson> = held.map(Bson::from).collect();
        let wanted = doc! { "insert": "c", "ordered": false, "documents": held };
        assert_eq!(command, wanted);
    }
}
