//! MongoDB: one collection for each archive, and one for dead letters.
//!
//! In reading order: how MongoDB is reached ([`options`]), which indices it has ([`index`]) and how it is spread over
//! shards ([`shards`]); [`insert`] decides what is written and [`write`] writes it; what is there already is read
//! ([`stored`]) and compared ([`value`]), what MongoDB has against a document is its [`refused`], and [`outcome`] says
//! what became of each event; [`dead_letters`] keeps what cannot be written, and [`last`] tells which records are
//! passed over; [`count`] says what a document adds to the counters, [`totals`] reads back what all of them add, and
//! [`origin`] whose they are. A write counts
//! once the majority has it in its journal, and reading back sees exactly what counts.

mod options;

mod index;
mod shards;

mod insert;
mod outcome;
mod refused;
mod stored;
mod value;
mod write;

mod dead_letters;
mod last;

mod count;
mod explain;
mod origin;
mod totals;

use std::{sync::Arc, time::Duration};

use aguacero::config::{Config, Stream};
use bson::{Document, RawDocumentBuf, doc};
use mongodb::{
    Client, Collection,
    error::Error,
    options::{Acknowledgment, CollectionOptions, ReadConcern, SelectionCriteria, WriteConcern},
};
use tokio::sync::Semaphore;

use index::PositionHint;
use refused::Refusals;

pub use count::Counting;
pub use dead_letters::{Filter, StoredDeadLetter};
pub use explain::explain;
pub(crate) use last::PASSED_TO;
pub use options::client_options;
pub use origin::{Origin, explain_counters};
pub use outcome::{Archived, EventOutcome};
pub use refused::Refusal;
pub use totals::{KEYS_MAX, Totals};

/// How long the driver looks for a primary before it says that there is none.
const SELECTION_TIMEOUT: Duration = Duration::from_secs(3);
/// How long the majority may take; a write that takes longer is repeated.
const MAJORITY_TIMEOUT: Duration = Duration::from_secs(20);
/// When a call is given up: a connection that died silently would never say so.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// The archives of all streams.
pub struct Archive {
    config: Arc<Config>,
    client: Client,
    /// One for each distinct name.
    collections: Vec<Collection<RawDocumentBuf>>,
    /// Of each collection, the index that queries by position use.
    position_hints: Vec<PositionHint>,
    /// Of each collection.
    refusals: Vec<Refusals>,
    /// Of each stream, its position in `collections`.
    of_stream: Vec<usize>,
    counting: Vec<Counting>,
    dead_letters: Collection<Document>,
    concerns: CollectionOptions,
    /// Writes at the same time, over all partitions: a batch waits here in the order of arrival.
    writers: Semaphore,
}

impl Archive {
    /// Connects in the background; fails only if the connection string or a file is wrong.
    pub async fn new(config: Arc<Config>) -> Result<Self, Error> {
        let mut options = client_options(&config.mongodb).await?;
        options
            .app_name
            .get_or_insert_with(|| "aguacero-consumer".into());
        options
            .server_selection_timeout
            .get_or_insert(SELECTION_TIMEOUT);
        options.connect_timeout.get_or_insert(SELECTION_TIMEOUT);
        Ok(Self::over(Client::with_options(options)?, config))
    }

    /// By a client that somebody has made already.
    #[must_use]
    pub fn over(client: Client, config: Arc<Config>) -> Self {
        let database = client.database(&config.mongodb.database);
        let concerns = CollectionOptions::builder()
            .read_concern(ReadConcern::majority())
            .selection_criteria(SelectionCriteria::ReadPreference(
                mongodb::options::ReadPreference::Primary,
            ))
            .write_concern(
                WriteConcern::builder()
                    .w(Acknowledgment::Majority)
                    .journal(true)
                    .w_timeout(MAJORITY_TIMEOUT)
                    .build(),
            )
            .build();
        let mut names: Vec<&str> = Vec::new();
        let mut of_stream = Vec::new();
        for stream in &config.streams {
            let known = names.iter().position(|n| *n == stream.archive);
            of_stream.push(known.unwrap_or(names.len()));
            if known.is_none() {
                names.push(&stream.archive);
            }
        }
        Self {
            collections: names
                .iter()
                .map(|n| database.collection_with_options(n, concerns.clone()))
                .collect(),
            position_hints: names.iter().map(|_| PositionHint::default()).collect(),
            refusals: names.iter().map(|n| Refusals::of(n)).collect(),
            of_stream,
            counting: config.streams.iter().map(Counting::new).collect(),
            dead_letters: database
                .collection_with_options(&config.mongodb.dead_letters, concerns.clone()),
            concerns,
            writers: Semaphore::new(config.consumer.writers.max(1)),
            client,
            config,
        }
    }

    /// Whether MongoDB has a primary that answers.
    pub async fn ping(&self) -> Result<(), Error> {
        let database = self.client.database(&self.config.mongodb.database);
        in_time(database.run_command(doc! { "ping": 1 }))
            .await
            .map(|_| ())
    }

    /// How documents of stream `stream` are counted.
    #[must_use]
    pub fn counting(&self, stream: &Stream) -> &Counting {
        &self.counting[stream.index]
    }

    fn collection(&self, stream: &Stream) -> &Collection<RawDocumentBuf> {
        &self.collections[self.of_stream[stream.index]]
    }
}

/// `call`, or an error after [`CALL_TIMEOUT`].
async fn in_time<T>(call: impl IntoFuture<Output = Result<T, Error>>) -> Result<T, Error> {
    match tokio::time::timeout(CALL_TIMEOUT, call.into_future()).await {
        Ok(result) => result,
        Err(_) => Err(Error::custom(no_answer())),
    }
}

fn no_answer() -> String {
    format!("no answer within {CALL_TIMEOUT:?}")
}

/// Whether MongoDB has not answered in time.
#[must_use]
pub fn is_timeout(error: &Error) -> bool {
    error.get_custom() == Some(&no_answer())
}
