//! A database, and batches of records as Kafka would give them.

use std::{
    future::poll_fn,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::Poll,
};

use aguacero::{
    config::Config,
    id::EventId,
    ledger::Position,
    record::{HEADER, Header},
};
use consumer::{
    batch::{Batch, Source},
    sink::{Outcome, Sink},
    transaction::TransactionSink,
};
use processor::{Apply, Pool, Tables, pool};

pub(crate) struct World {
    pub(crate) config: Arc<Config>,
    pub(crate) pool: Pool,
}

/// An event, and the stream that it is one of.
pub(crate) struct Sent {
    pub(crate) id: u64,
    pub(crate) stream: &'static str,
    pub(crate) at_ms: i64,
    pub(crate) json: String,
}

impl World {
    /// With the tables of a processor.
    pub(crate) async fn new(tables: &Tables) -> Self {
        static TESTS: AtomicU32 = AtomicU32::new(0);
        let mut config = declared();
        let test = TESTS.fetch_add(1, Ordering::Relaxed);
        let database = format!("guild_{}_{test}", std::process::id());
        let server = pool(&config.postgres, 1).unwrap();
        let client = server.get().await.unwrap();
        for statement in [
            format!("DROP DATABASE IF EXISTS {database}"),
            format!("CREATE DATABASE {database}"),
        ] {
            client.batch_execute(&statement).await.unwrap();
        }
        let (address, _) = config.postgres.url.rsplit_once('/').unwrap();
        config.postgres.url = format!("{address}/{database}");
        let pool = pool(&config.postgres, 4).unwrap();
        tables.ensure_soon(&pool, &config.postgres).await.unwrap();
        Self {
            config: Arc::new(config),
            pool,
        }
    }

    /// A processor that was just started.
    pub(crate) fn sink<A: Apply>(&self, apply: A) -> TransactionSink<A> {
        TransactionSink::new(self.config.clone(), self.pool.clone(), apply)
    }

    /// The records from `offset` on of a partition of the topic that the first of `events` is in.
    pub(crate) fn batch(&self, partition: i32, offset: i64, events: &[Sent]) -> Batch {
        let topic = self.config.stream(events[0].stream).unwrap().topic;
        let position = Position {
            incarnation: "i".into(),
            partition,
        };
        let mut batch = Batch::new(Arc::new(Source {
            topic,
            position,
            epoch: 0,
        }));
        for (offset, event) in (offset..).zip(events) {
            let mut id = [0; 16];
            id[8..].copy_from_slice(&event.id.to_be_bytes());
            let header = Header {
                id: EventId(id),
                stream: event.stream,
                client_key: b"",
            };
            let mut bytes = Vec::new();
            header.write(&mut bytes);
            let headers = [(HEADER.as_bytes(), Some(&bytes[..]))];
            let value = event.json.as_bytes();
            let stands = (offset, event.at_ms);
            batch.push(stands, None, Some(value), headers.into_iter());
        }
        batch
    }

    /// What one statement tells, row by row, as text.
    pub(crate) async fn rows(&self, sql: &str) -> Vec<Vec<Option<String>>> {
        let client = self.pool.get().await.unwrap();
        let messages = client.simple_query(sql).await.unwrap();
        let rows = messages.iter().filter_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        let cells = |row: &tokio_postgres::SimpleQueryRow| {
            let cell = |i| row.get(i).map(str::to_owned);
            (0..row.len()).map(cell).collect()
        };
        rows.map(cells).collect()
    }

    /// A figure.
    pub(crate) async fn count(&self, sql: &str) -> i64 {
        let rows = self.rows(sql).await;
        rows[0][0].as_ref().unwrap().parse().unwrap()
    }
}

/// Gives a batch to the sink, and waits until it is finished.
pub(crate) async fn write<S: Sink>(sink: &S, batch: Batch) {
    assert_eq!(sink.write(batch).await, Outcome::Finished);
}

/// What comes of `work` if it has to wait fewer than `polls` times; else it is dropped there.
pub(crate) async fn cut<T>(work: impl Future<Output = T>, polls: usize) -> Option<T> {
    let mut work = pin!(work);
    let mut left = polls;
    poll_fn(move |context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        work.as_mut().poll(context).map(Some)
    })
    .await
}

fn declared() -> Config {
    let toml = include_str!("../../../../examples/guild.toml");
    let environment = std::env::vars().filter(|(name, _)| name.starts_with("AGUACERO_POSTGRES_"));
    let environment: Vec<_> = environment.collect();
    assert!(
        environment
            .iter()
            .any(|(name, _)| name == "AGUACERO_POSTGRES_URL"),
        "AGUACERO_POSTGRES_URL is not set: these tests need a real PostgreSQL, run `make test`"
    );
    Config::parse(toml, "guild.toml", environment).unwrap_or_else(|e| panic!("{e}"))
}
