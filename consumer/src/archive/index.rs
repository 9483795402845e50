//! Indices of an archive. Making one that is there already changes nothing.

use std::collections::BTreeSet;

use aguacero::config::Stream;
use bson::{Document, doc};
use mongodb::{IndexModel, error::Error};

use super::{Archive, in_time};
use crate::count::is_path;

/// For a stream's documents by their place in Kafka.
pub(super) fn position() -> Document {
    doc! { "_aguacero.stream": 1, "_aguacero.incarnation": 1, "_aguacero.partition": 1, "_aguacero.offset": 1 }
}

/// For "the last 20".
fn latest() -> Document {
    doc! { "_aguacero.at": -1 }
}

impl Archive {
    /// Makes what is missing: by position, by time of arrival, and by each field that a counter uses.
    pub async fn create_indices(&self) -> Result<(), Error> {
        for (i, collection) in self.collections.iter().enumerate() {
            let streams = self.config.streams.iter().filter(|s| self.of_stream[s.index] == i);
            let fields: BTreeSet<_> = streams.flat_map(counted).collect();
            let keys = [position(), latest()].into_iter().chain(fields.into_iter().map(|field| doc! { field: 1 }));
            for keys in keys {
                let index = IndexModel::builder().keys(keys.clone()).build();
                in_time(collection.create_index(index)).await.or_else(|e| other_options(e, collection.name(), &keys))?;
            }
        }
        Ok(())
    }
}

/// Names of the fields that the stream's counters use, as far as MongoDB can have an index of them.
fn counted(stream: &Stream) -> impl Iterator<Item = &str> {
    let fields = stream.counters.iter().flat_map(|c| &c.by).map(|&by| stream.fields[by].name.as_str());
    fields.filter(|name| !is_path(name))
}

/// Somebody has made the same index with a name or options of their own: as good as ours.
fn other_options(error: Error, collection: &str, keys: &Document) -> Result<mongodb::results::CreateIndexResult, Error> {
    match *error.kind {
        mongodb::error::ErrorKind::Command(ref e) if matches!(e.code, 85 | 86) => {
            tracing::warn!(collection, %keys, error = e.message, "the archive has an index of its own for this");
            Ok(mongodb::results::CreateIndexResult::new(String::new()))
        }
        _ => Err(error),
    }
}
