//! Indices of an archive. Making one that is there already changes nothing.

use std::collections::BTreeSet;

use aguacero::config::Stream;
use bson::{Document, doc};
use mongodb::{
    IndexModel,
    error::{Error, ErrorKind},
    options::Hint,
};

use super::{Archive, in_time};

/// For a stream's documents by their place in Kafka.
pub(super) fn position() -> Document {
    doc! { "_aguacero.stream": 1, "_aguacero.incarnation": 1, "_aguacero.partition": 1, "_aguacero.offset": 1 }
}

/// The same, for a query that must not choose another.
pub(super) fn by_position() -> Hint {
    Hint::Keys(position())
}

/// For "the last 20".
fn latest() -> Document {
    doc! { "_aguacero.at": -1 }
}

impl Archive {
    /// Makes what is missing: by position, by time of arrival, and by each field that a counter uses.
    pub async fn create_indices(&self) -> Result<(), Error> {
        for (i, collection) in self.collections.iter().enumerate() {
            let streams = self
                .config
                .streams
                .iter()
                .filter(|s| self.of_stream[s.index] == i);
            let fields: BTreeSet<_> = streams.flat_map(counted).collect();
            let keys = [position(), latest()]
                .into_iter()
                .chain(fields.into_iter().map(|field| doc! { field: 1 }));
            for keys in keys {
                let index = IndexModel::builder().keys(keys).build();
                match in_time(collection.create_index(index)).await {
                    Err(error) if has_other_options(&error) => {
                        tracing::warn!(%error, collection = collection.name(), "somebody has made this index: as good as ours");
                    }
                    made => _ = made?,
                }
            }
        }
        Ok(())
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
    matches!(error.kind.as_ref(), ErrorKind::Command(e) if matches!(e.code, 85 | 86))
}
