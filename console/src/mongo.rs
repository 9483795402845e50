//! MongoDB, as far as the console reads it.

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use aguacero::{
    config::{Config, Stream},
    log_limiter,
};
use bson::{Document, doc};
use consumer::archive::{Archive, client_options};
use futures_util::TryStreamExt as _;
use mongodb::{
    Client, Database,
    error::Error,
    options::{ReadPreference, SelectionCriteria},
};

use crate::metric::{self, From};

/// What the log says.
const UNREAD: &str = "MongoDB cannot be read";
/// How long the driver looks for a member that answers, and how long MongoDB may work for one question.
const TIMEOUT: Duration = Duration::from_millis(900);
/// When a question is given up: a connection that died silently would never say so.
const CALL_TIMEOUT: Duration = Duration::from_secs(3);

/// The archives. Cheap to clone.
#[derive(Clone)]
pub struct Mongo {
    config: Arc<Config>,
    client: Client,
}

impl Mongo {
    /// Connects in the background; fails only if the connection string or a file is wrong.
    pub async fn new(config: Arc<Config>) -> Result<Self, Error> {
        let mut options = client_options(&config.mongodb).await?;
        options
            .app_name
            .get_or_insert_with(|| "aguacero-console".into());
        options.server_selection_timeout.get_or_insert(TIMEOUT);
        options.connect_timeout.get_or_insert(TIMEOUT);
        // Pages go on while there is no primary.
        let nearby = ReadPreference::PrimaryPreferred {
            options: Some(Default::default()),
        };
        options
            .selection_criteria
            .get_or_insert(SelectionCriteria::ReadPreference(nearby));
        let client = Client::with_options(options)?;
        Ok(Self { config, client })
    }

    /// Its database.
    #[must_use]
    pub fn database(&self) -> Database {
        self.client.database(&self.config.mongodb.database)
    }

    /// The consumer's way to the same, for what is written.
    #[must_use]
    pub fn archive(&self) -> Archive {
        Archive::over(self.client.clone(), self.config.clone())
    }

    /// What a pipeline of stages makes of a collection.
    pub async fn aggregate(
        &self,
        collection: &str,
        stages: Vec<Document>,
    ) -> Result<Vec<Document>, String> {
        let asking = async {
            let collection = self.database().collection::<Document>(collection);
            let found = collection.aggregate(stages).max_time(TIMEOUT).await?;
            found.try_collect().await
        };
        in_time(asking).await
    }

    /// The last `count` documents that were inserted, without sorting all that there are.
    pub async fn last_inserted(
        &self,
        collection: &str,
        count: i64,
        fields: Document,
    ) -> Result<Vec<Document>, String> {
        let asking = async {
            let collection = self.database().collection::<Document>(collection);
            let find = collection.find(doc! {}).sort(doc! { "$natural": -1 });
            let find = find.limit(count).projection(fields).max_time(TIMEOUT);
            find.await?.try_collect().await
        };
        in_time(asking).await
    }

    /// When the newest event of a stream arrived, in milliseconds since 1970.
    pub async fn newest(&self, stream: &Stream) -> Result<Option<i64>, String> {
        let mut stages = latest(stream, 1);
        stages.push(doc! { "$project": { "_id": 0, "at": "$_aguacero.at" } });
        let found = self.aggregate(&stream.archive, stages).await?;
        let at = found.first().and_then(|d| d.get_datetime("at").ok());
        Ok(at.map(|at| at.timestamp_millis()))
    }
}

/// The stages that begin with a stream's newest events, by the index of the time of arrival.
#[must_use]
pub fn latest(stream: &Stream, count: i64) -> Vec<Document> {
    vec![
        doc! { "$match": { "_aguacero.stream": &stream.name } },
        doc! { "$sort": { "_aguacero.at": -1 } },
        doc! { "$limit": count },
    ]
}

/// `call`, or why it failed.
pub async fn in_time<T>(call: impl Future<Output = Result<T, Error>>) -> Result<T, String> {
    match tokio::time::timeout(CALL_TIMEOUT, call).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(format!("MongoDB: {}", words(&error))),
        Err(_) => Err(format!("MongoDB: no answer within {CALL_TIMEOUT:?}")),
    }
}

/// The error without the topology that the driver tells with it, which is a page long.
fn words(error: &Error) -> String {
    let text = error.kind.to_string();
    let text = text.split(" Topology:").next().unwrap_or(&text);
    text.chars().take(300).collect()
}

/// A read for everybody, counted.
pub async fn counted<T>(read: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    metric::read(From::Mongodb);
    let result = read.await;
    match &result {
        Ok(_) => log_limiter::ended(UNREAD, ""),
        Err(error) => {
            metric::read_failed(From::Mongodb);
            log_limiter::repeated(UNREAD, "", error);
        }
    }
    result
}

/// Since 1970.
#[must_use]
pub fn now() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}
