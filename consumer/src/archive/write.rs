//! One `insert` command, made from documents that are bytes already, and what MongoDB says of each.
//!
//! The driver's `insert_many` makes each document anew, parses it for its `_id`, and keeps every `_id` in
//! a map that nobody looks at: a tenth of the consumer's time and more.

use bson::{Bson, Document, RawDocumentBuf, raw::cstr, rawdoc};
use mongodb::{
    Collection,
    error::{Error, ErrorKind, InsertManyError},
};

/// Bytes of the documents in one command, each with [`ENTRY_BYTES`]: a command may have as many as the largest
/// document, 16 MiB, and 16 KiB more.
const BYTES_MAX: usize = 16 << 20;

/// What a document takes in a command beside itself, at most: a type, its position in digits, a NUL.
const ENTRY_BYTES: usize = 8;

/// BSON's tags (<https://bsonspec.org/spec.html>).
const DOCUMENT: u8 = 0x03;
const ARRAY: u8 = 0x04;

/// What MongoDB says against one document of a command; it takes the others nevertheless.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct WriteError {
    /// Of the document, in the command.
    pub(super) index: usize,
    /// MongoDB's code.
    pub(super) code: i32,
    /// For people, with what a validator found amiss. MongoDB leaves it out where it has refused very many.
    pub(super) message: String,
    /// Fields of the unique index that has the value already.
    key_pattern: Option<Document>,
}

/// Inserts what it can of `documents`, in any order, and tells what it cannot. An error concerns all of them.
pub(super) async fn write<'a>(
    collection: &Collection<RawDocumentBuf>,
    documents: impl Iterator<Item = &'a RawDocumentBuf> + Clone,
) -> Result<Vec<WriteError>, Error> {
    let command = command(collection, documents.clone())?;
    let database = collection.client().database(&collection.namespace().db);
    let answer = database.run_raw_command(command).await?;
    if answer.contains_key("writeConcernError") {
        let failure: InsertManyError = bson::deserialize_from_document(answer)?;
        return Err(ErrorKind::InsertMany(failure).into());
    }
    let errors = answer.get_array("writeErrors").into_iter().flatten();
    let errors: Vec<_> = errors.filter_map(Bson::as_document).collect();
    if let Some(told) = errors.iter().find(|e| OF_SERVER.contains(&code(e))) {
        let (code, message) = (code(told), told.get_str("errmsg").unwrap_or_default());
        return Err(Error::custom(format!("code {code}: {message}")));
    }
    let errors: Vec<_> = errors.into_iter().filter_map(WriteError::read).collect();
    let left_out = documents.count() as i64 - errors.len() as i64 - written(&answer);
    if left_out != 0 {
        let what = format!("MongoDB says nothing of {left_out} documents");
        return Err(Error::custom(what));
    }
    Ok(errors)
}

/// How many documents the answer says were written.
fn written(answer: &Document) -> i64 {
    match answer.get("n") {
        Some(Bson::Int32(n)) => (*n).into(),
        Some(Bson::Int64(n)) => *n,
        _ => 0,
    }
}

fn code(error: &Document) -> i32 {
    error.get_i32("code").unwrap_or_default()
}

impl WriteError {
    fn read(error: &Document) -> Option<Self> {
        let index = usize::try_from(error.get_i32("index").ok()?).ok()?;
        let mut message = error.get_str("errmsg").unwrap_or_default().to_owned();
        if let Ok(details) = error
            .get_document("errInfo")
            .and_then(|i| i.get_document("details"))
        {
            message = format!("{message}: {details}");
        }
        Some(Self {
            index,
            code: code(error),
            message,
            key_pattern: error.get_document("keyPattern").ok().cloned(),
        })
    }

    /// The collection has a document with this `_id`. Another unique index may say the same of another field.
    pub(super) fn is_of_id(&self) -> bool {
        self.code == DUPLICATE_KEY
            && match &self.key_pattern {
                Some(pattern) => pattern.keys().eq(["_id"]),
                None => self.message.contains(" index: _id_ "),
            }
    }

    /// No collection can ever hold such a document.
    pub(super) fn is_for_ever(&self) -> bool {
        NEVER.contains(&self.code)
    }
}

/// MongoDB's code for an id, or another unique value, that is there already.
const DUPLICATE_KEY: i32 = 11000;

/// MongoDB's codes for a document that it can never hold: Overflow (nested too deep), InvalidBSON and
/// BSONObjectTooLarge.
pub(super) const NEVER: [i32; 3] = [15, 22, 10334];

/// Codes that are told of one document and speak of the server, or of the whole collection: it is interrupted, steps
/// down, is out of memory or of space, has its writes blocked, lets nobody in. Any other will be told again. By
/// MongoDB's own categories (its `src/mongo/base/error_codes.yml`), in the order of the numbers.
const OF_SERVER: [i32; 58] = [
    // InternalError, HostUnreachable, HostNotFound, UnknownError, Unauthorized, AuthenticationFailed, LockTimeout
    1, 6, 7, 8, 13, 18, 24,
    // NamespaceNotFound, FileStreamFailed, LockBusy, MaxTimeMSExpired, StaleShardVersion, WriteConcernFailed
    26, 39, 46, 50, 63, 64,
    // ShardNotFound, InvalidNamespace, UnknownReplWriteConcern, NetworkTimeout, ShutdownInProgress, OperationFailed
    70, 73, 79, 89, 91, 96,
    // UnsatisfiableWriteConcern, LockFailed, WriteConflict, ConflictingOperationInProgress, CommandFailed
    100, 107, 112, 117, 125,
    // FailedToSatisfyReadPreference, ReadConcernMajorityNotAvailableYet, ExceededMemoryLimit, StaleEpoch
    133, 134, 146, 150,
    // CommandNotSupportedOnView, PrimarySteppedDown, FailPointEnabled, NetworkInterfaceExceededTimeLimit
    166, 189, 192, 202,
    // DatabaseDropPending, CannotImplicitlyCreateCollection, CursorKilled, SnapshotTooOld, SnapshotUnavailable
    215, 227, 237, 239, 246,
    // StaleDbVersion, TooManyLogicalSessions, ExceededTimeLimit, ClientDisconnect
    249, 261, 262, 279,
    // InterruptedDueToStorageChange, TemporarilyUnavailable, UserWritesBlocked, TransactionTooLargeForCache
    355, 365, 371, 388,
    // SocketException, LegacyNotPrimary, NotWritablePrimary, InterruptedAtShutdown, Interrupted
    9001, 10058, 10107, 11600, 11601,
    // InterruptedDueToReplStateChange, BackgroundOperationInProgressForDatabase, …ForNamespace, DatabaseDifferCase
    11602, 12586, 12587, 13297,
    // StaleConfig, NotPrimaryNoSecondaryOk, NotPrimaryOrSecondary, OutOfDiskSpace
    13388, 13435, 13436, 14031,
];

/// `all` in parts whose documents fit one command.
pub(super) fn parts<'a, 'd, T>(
    all: &'a [T],
    document: impl Fn(&'a T) -> &'d RawDocumentBuf,
) -> impl Iterator<Item = &'a [T]> {
    let mut rest = all;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = |one: &&'a T| {
            bytes += document(one).as_bytes().len() + ENTRY_BYTES;
            bytes <= BYTES_MAX
        };
        let fit = rest.iter().take_while(fits).count().max(1);
        let (part, after) = rest.split_at_checked(fit)?;
        rest = after;
        Some(part)
    })
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
