//! The processes of one test, with topics, ports, sockets and databases of its own.
//!
//! A [`Builder`] says what it is to be like and makes it (`build`); the processes find the stores where `seen` says.

mod build;
mod builder;
mod names;
mod seen;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    process::Command,
};

use aguacero::config::{Config, Stream, Via};
use tempfile::TempDir;
use tokio::{sync::SemaphorePermit, task::spawn_blocking};

use crate::{
    archive::Archive,
    client::Client,
    declaration::{with_routes_by, with_topics_called},
    eventually::once,
    kafka::{Kafka, Record},
    postgres::Postgres,
    process::{Kind, NotReady, Process},
    shown::Redis,
    wire::Wire,
};

pub use builder::Builder;
pub(crate) use names::variable;
pub use names::wasm_module;

/// Which connections a wire carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Link {
    /// Of clients to a gateway.
    Clients,
    /// Of a gateway to its producers.
    Frames,
    /// Of a gateway to its redis-writer.
    Deltas,
    /// Of producers and consumers to the broker.
    Kafka,
    /// Of consumers to MongoDB.
    MongoDb,
    /// Of redis-writers and consumers to Redis.
    Redis,
    /// Of `consumer tables` to PostgreSQL.
    Postgres,
}

/// A pipeline that runs. Dropped, it is killed; if a test failed, it shows the ends of all logs.
pub struct Pipeline {
    /// HTTP in.
    pub gateway: Process,
    /// Into Kafka, by the first transport that any of the declared routes takes.
    pub producer: Process,
    /// The same by the second one, if they take two.
    pub other_producer: Option<Process>,
    /// Into Redis.
    pub redis_writer: Process,
    /// Further pods like the one above.
    pub pods: Vec<Pod>,
    /// From Kafka into MongoDB.
    pub consumers: Vec<Process>,
    /// From Kafka into PostgreSQL, if it has them.
    pub tables: Vec<Process>,
    /// Pages for people, if it has them.
    pub console: Option<Process>,
    /// The file, as every process has read it.
    pub config: Config,
    /// The broker.
    pub kafka: Kafka,
    /// This pipeline's own database of MongoDB.
    pub archive: Archive,
    /// This pipeline's own database of Redis.
    pub redis: Redis,
    /// This pipeline's own database of PostgreSQL, if it has tables.
    pub postgres: Option<Postgres>,
    /// What the processes are connected by, if it is wired.
    pub wires: Vec<(Link, Wire)>,
    database: String,
    owner_of_tables: BTreeMap<String, String>,
    prefix: String,
    via: Option<Via>,
    group: String,
    address: SocketAddr,
    folder: TempDir,
    _room: SemaphorePermit<'static>,
}

/// A gateway and its sidecars.
pub struct Pod {
    /// HTTP in.
    pub gateway: Process,
    /// Into Kafka, by the first transport that any of the declared routes takes.
    pub producer: Process,
    /// The same by the second one, if they take two.
    pub other_producer: Option<Process>,
    /// Into Redis.
    pub redis_writer: Process,
    address: SocketAddr,
}

impl Pipeline {
    /// From the text of a file.
    #[must_use]
    pub fn builder(toml: &str) -> Builder {
        Builder::new(toml)
    }

    /// From `aguacero.toml`, as it stands in the repository.
    #[must_use]
    pub fn weather() -> Builder {
        Self::builder(&crate::repository("aguacero.toml"))
    }

    /// Declares other topics and streams, for processes that are started from now on.
    pub fn declare(&mut self, toml: &str) {
        let toml = adapted(toml, &self.prefix, self.via);
        let file = self.folder.path().join("aguacero.toml");
        std::fs::write(file, &toml).expect("a file in our own folder");
        let declared = Config::parse(&toml, "this test's other file", []);
        let declared = declared.unwrap_or_else(|e| panic!("{e}"));
        (self.config.topics, self.config.streams) = (declared.topics, declared.streams);
    }

    /// `consumer tables VERB` as who owns the database, to which [`Process::command`] has no right where there are rights.
    ///
    /// # Panics
    /// This pipeline has no tables.
    #[must_use]
    pub fn tables_as_owner(&self, verb: &str) -> Command {
        let mut command = self.tables[0].command(&format!("tables {verb}"));
        command.envs(&self.owner_of_tables);
        command
    }

    /// Makes the tables that are declared.
    pub async fn apply_tables(&self) {
        let mut apply = self.tables_as_owner("apply");
        let output = spawn_blocking(move || apply.output()).await;
        let output = output.expect("joined").expect("a program that runs");
        assert!(output.status.success(), "tables apply: {output:?}");
    }

    async fn try_start(&mut self, without: &BTreeSet<Kind>) -> Result<(), NotReady> {
        if !self.tables.is_empty() && !without.contains(&Kind::Tables) {
            self.apply_tables().await;
        }
        let mut starting = Vec::new();
        for process in self.processes_mut() {
            if !without.contains(&process.kind()) {
                process.start();
                starting.push(process);
            }
        }
        // A gateway is not ready before its producers are.
        let is_without_producer = without.iter().any(|kind| kind.is_producer());
        for process in starting {
            if !(is_without_producer && process.kind() == Kind::Gateway) {
                process.try_ready().await?;
            }
        }
        Ok(())
    }

    /// Where events come in.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where events come in at each pod.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let others = self.pods.iter().map(|pod| pod.address);
        std::iter::once(self.address).chain(others).collect()
    }

    /// A new client of the gateway.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::new(self.address)
    }

    /// A declared stream.
    #[must_use]
    pub fn stream(&self, name: &str) -> &Stream {
        self.config
            .stream(name)
            .unwrap_or_else(|| panic!("no stream {name}"))
    }

    /// What the topic of a stream is called in this test.
    #[must_use]
    pub fn topic(&self, stream: &str) -> &str {
        &self.config.topic_of(self.stream(stream)).name
    }

    /// What a declared topic is called in this test.
    #[must_use]
    pub fn topic_called(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Waits until the gateway has no connection left.
    pub async fn nobody_connected(&self) {
        once("no connection left", async || {
            self.gateway.metric("aguacero_gateway_connections").await == 0.0
        })
        .await;
    }

    /// Everything in the topic of a stream.
    pub async fn records(&self, stream: &str) -> Vec<Record> {
        self.kafka.records(self.topic(stream)).await
    }

    /// The consumers' group.
    #[must_use]
    pub fn group(&self) -> &str {
        &self.group
    }

    /// The only consumer.
    pub fn consumer(&mut self) -> &mut Process {
        &mut self.consumers[0]
    }

    /// One of the processes, by its place among all of them.
    pub fn process(&mut self, number: usize) -> &mut Process {
        let all = self.processes_mut().into_iter().nth(number);
        all.unwrap_or_else(|| panic!("no process {number}"))
    }

    /// The gateway of a pod, by its place among [`Self::addresses`].
    pub fn gateway_mut(&mut self, number: usize) -> &mut Process {
        match number.checked_sub(1) {
            None => &mut self.gateway,
            Some(other) => &mut self.pods[other].gateway,
        }
    }

    /// Every process.
    pub fn processes(&self) -> impl Iterator<Item = &Process> {
        let pods = self.pods.iter().flat_map(|pod| {
            let producers = [&pod.producer].into_iter().chain(&pod.other_producer);
            producers.chain([&pod.redis_writer, &pod.gateway])
        });
        let producers = [&self.producer].into_iter().chain(&self.other_producer);
        producers
            .chain([&self.redis_writer, &self.gateway])
            .chain(pods)
            .chain(&self.consumers)
            .chain(&self.tables)
            .chain(&self.console)
    }

    /// The same, to do something to them.
    pub fn processes_mut(&mut self) -> Vec<&mut Process> {
        let pods = self.pods.iter_mut().flat_map(|pod| {
            let producers = [&mut pod.producer]
                .into_iter()
                .chain(&mut pod.other_producer);
            producers.chain([&mut pod.redis_writer, &mut pod.gateway])
        });
        let producers = [&mut self.producer]
            .into_iter()
            .chain(&mut self.other_producer);
        producers
            .chain([&mut self.redis_writer, &mut self.gateway])
            .chain(pods)
            .chain(&mut self.consumers)
            .chain(&mut self.tables)
            .chain(&mut self.console)
            .collect()
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for process in self.processes() {
                eprintln!("{}", process.log_tail());
            }
        }
        self.processes_mut().into_iter().for_each(Process::end);
        self.forget();
    }
}

impl Pipeline {
    /// Takes its topics and databases away, as far as the services answer. A runtime of its own, since
    /// the test's is busy with dropping this.
    fn forget(&self) {
        let topics: Vec<_> = self.config.topics.iter().map(|t| t.name.clone()).collect();
        let (kafka, archive, postgres) = (
            self.kafka.clone(),
            (self.config.mongodb.clone(), self.database.clone()),
            self.postgres.clone(),
        );
        let forgetting = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.expect("a runtime").block_on(async {
                kafka.forget(&topics).await;
                Archive::open(&archive.0, &archive.1).await.forget().await;
                if let Some(postgres) = postgres {
                    postgres.forget().await;
                }
            });
        });
        _ = forgetting.join();
    }
}

/// The declaration as this pipeline's processes read it.
fn adapted(toml: &str, prefix: &str, via: Option<Via>) -> String {
    let toml = with_topics_called(prefix, toml);
    match via {
        Some(via) => with_routes_by(via, &toml),
        None => toml,
    }
}
