//! What a pipeline is to be like.

use std::collections::{BTreeMap, BTreeSet};

use tokio::sync::Semaphore;

use super::{Pipeline, names::variable};
use crate::process::{Kind, NotReady};

/// Pipelines at the same time: more only make each other slow.
static ROOM: Semaphore = Semaphore::const_new(3);

/// How often another set of ports is tried.
const ATTEMPTS: usize = 5;
/// What a pipeline is to be like.
#[derive(Debug, Clone)]
pub struct Builder {
    pub(super) toml: String,
    pub(super) settings: BTreeMap<String, String>,
    without: BTreeSet<Kind>,
    pub(super) consumers: usize,
    pub(super) tables: usize,
    pub(super) table_database: Option<String>,
    pub(super) pods: usize,
    pub(super) is_wired: bool,
    pub(super) has_clocks: bool,
    pub(super) keeps_routes: bool,
    pub(super) has_console: bool,
}

impl Builder {
    /// From the text of a file: one pod and one consumer.
    pub(super) fn new(toml: &str) -> Self {
        Self {
            toml: toml.to_owned(),
            settings: BTreeMap::new(),
            without: BTreeSet::new(),
            consumers: 1,
            tables: 0,
            table_database: None,
            pods: 1,
            is_wired: false,
            has_clocks: false,
            keeps_routes: false,
            has_console: false,
        }
    }

    /// A key of a process table other than in the file: `("gateway.ack_timeout_ms", 500)`.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl ToString) -> Self {
        self.settings.insert(variable(key), value.to_string());
        self
    }

    /// This one is not started, but can be later.
    #[must_use]
    pub fn without(mut self, kind: Kind) -> Self {
        self.without.insert(kind);
        self
    }

    /// Only gateway and producers are started.
    #[must_use]
    pub fn into_kafka_only(self) -> Self {
        self.without(Kind::RedisWriter).without(Kind::Consumer)
    }

    /// What waits for a receipt waits until a process that was killed is there again, however long that takes this machine.
    #[must_use]
    pub fn waiting_long(self) -> Self {
        self.with("gateway.ack_timeout_ms", 60_000)
            .with("gateway.drain_timeout_ms", 60_000)
            .with("gateway.request_timeout_ms", 90_000)
    }

    /// So many consumers, each with a lasting name of its own.
    #[must_use]
    pub fn consumers(mut self, consumers: usize) -> Self {
        self.consumers = consumers;
        self
    }

    /// With so many `consumer tables`, each with a lasting name of its own, and a database of its own in PostgreSQL.
    #[must_use]
    pub fn tables(mut self, tables: usize) -> Self {
        self.tables = tables;
        self
    }

    /// Its tables are in the database of this name, which is there, and stays: where there are rights, in the only
    /// one that they are given in.
    #[must_use]
    pub fn tables_in(mut self, database: &str) -> Self {
        self.table_database = Some(database.to_owned());
        self
    }

    /// So many gateways, each with sidecars of its own.
    #[must_use]
    pub fn pods(mut self, pods: usize) -> Self {
        self.pods = pods;
        self
    }

    /// With wires that a test can cut between all of them.
    #[must_use]
    pub fn wired(mut self) -> Self {
        self.is_wired = true;
        self
    }

    /// With a wall clock of its own for each process, which a test can step.
    #[must_use]
    pub fn clocks(mut self) -> Self {
        self.has_clocks = true;
        self
    }

    /// Its routes go as they are declared, whatever `E2E_VIA` says.
    #[must_use]
    pub fn as_declared(mut self) -> Self {
        self.keeps_routes = true;
        self
    }

    /// With a console, which knows where everything is.
    #[must_use]
    pub fn console(mut self) -> Self {
        self.has_console = true;
        self
    }

    /// Starts it and waits until every process is ready.
    pub async fn start(self) -> Pipeline {
        for _ in 0..ATTEMPTS {
            let mut pipeline = self.clone().prepare().await;
            match pipeline.try_start(&self.without).await {
                Ok(()) => return pipeline,
                Err(NotReady::AddressTaken) => {}
                Err(why) => panic!("a process did not start: {why}"),
            }
        }
        panic!("some address was taken by somebody else, {ATTEMPTS} times");
    }

    /// Makes everything but starts nothing.
    pub async fn prepare(self) -> Pipeline {
        let room = ROOM.acquire().await.expect("never closed");
        self.build(room).await
    }
}
