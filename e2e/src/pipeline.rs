//! The processes of one test, with topics, ports, sockets and databases of its own.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use aguacero::config::{Config, Stream, Via};
use tempfile::TempDir;
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    task::spawn_blocking,
};

use crate::{
    archive::Archive,
    client::Client,
    declaration::{via_of_all, with_routes_by, with_topics_called},
    eventually::once,
    kafka::{Kafka, Record},
    postgres::Postgres,
    process::{Kind, NotReady, Process},
    services::{Services, address_of},
    shown::Redis,
    wire::{Address, Wire},
};

/// Pipelines at the same time: more only make each other slow.
static ROOM: Semaphore = Semaphore::const_new(3);

/// How often another set of ports is tried.
const ATTEMPTS: usize = 5;
/// Below those that the system gives to outgoing connections, or one of them could sit on a port
/// while its process restarts.
const PORTS: std::ops::Range<u16> = 12_000..20_000;
/// Logical databases that the test services' Redis has, beside number 0.
const REDIS_DATABASES: u32 = 511;

/// What a pipeline is to be like.
#[derive(Debug, Clone)]
pub struct Builder {
    toml: String,
    settings: BTreeMap<String, String>,
    without: BTreeSet<Kind>,
    consumers: usize,
    tables: usize,
    table_database: Option<String>,
    pods: usize,
    is_wired: bool,
    has_clocks: bool,
    keeps_routes: bool,
    has_console: bool,
}

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

impl Builder {
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

    async fn build(&self, room: SemaphorePermit<'static>) -> Pipeline {
        let services = Services::from_env();
        let (test, id) = (test_name(), unique());
        let prefix = format!("{test}-{id}-");
        let via = via_of_all().filter(|_| !self.keeps_routes);
        let toml = adapted(&self.toml, &prefix, via);
        let mut known = services.access.clone();
        known.insert(variable("kafka.brokers"), services.brokers.clone());
        known.insert(variable("mongodb.uri"), services.mongodb.clone());
        known.insert(variable("redis.url"), services.redis.clone());
        let config =
            Config::parse(&toml, "this test's file", known).unwrap_or_else(|e| panic!("{e}"));
        let redis_at = |number| aguacero::config::Redis {
            url: services.redis_database(number),
            ..config.redis.clone()
        };
        let folder = tempfile::Builder::new()
            .prefix("e2e-")
            .tempdir()
            .expect("a temporary folder");
        let file = folder.path().join("aguacero.toml");
        std::fs::write(&file, toml).expect("a file in our own folder");

        let number =
            1 + Redis::with(&redis_at(0)).await.next("e2e:databases").await % REDIS_DATABASES;
        let redis_url = services.redis_database(number);
        let redis = Redis::with(&redis_at(number)).await;
        redis.flush().await;
        let database = self.settings.get(&variable("mongodb.database"));
        let database = database.cloned().unwrap_or(format!("e2e-{id}"));
        let group = format!("{test}-{id}");
        let postgres = match self.tables {
            0 => None,
            _ => {
                let name = self.table_database.clone();
                let name = name.unwrap_or(format!("e2e-{id}"));
                Some(Postgres::open(&services, &name).await)
            }
        };
        let mut postgres_seen = postgres.as_ref().map(|p| p.url().to_owned());

        let mut wires = Vec::new();
        let (mut brokers, mut mongodb, mut redis_seen) = (
            services.brokers.clone(),
            services.mongodb.clone(),
            redis_url.clone(),
        );
        if self.is_wired {
            let advertised = services
                .kafka_wires
                .iter()
                .map(|(from, _)| from.to_string());
            let advertised: Vec<_> = advertised.collect();
            for (from, to) in &services.kafka_wires {
                wires.push((Link::Kafka, Wire::from_port(*from, *to).await));
            }
            if !advertised.is_empty() {
                brokers = advertised.join(",");
            }
            if let Some(address) = address_of(&redis_url) {
                let wire = Wire::to_port(address).await;
                redis_seen = format!("redis://{}/{number}", wire.address);
                wires.push((Link::Redis, wire));
            }
            // Only a single member can be reached through a proxy: others would be found by their names.
            if let Some(address) = address_of(&services.mongodb) {
                let wire = Wire::to_port(address).await;
                mongodb = format!("mongodb://{}/?directConnection=true", wire.address);
                wires.push((Link::MongoDb, wire));
            }
            if let Some(postgres) = &postgres
                && let Some(address) = address_of(postgres.url())
            {
                let wire = Wire::to_port(address).await;
                postgres_seen = Some(postgres.url_by(&wire.address.to_string()));
                wires.push((Link::Postgres, wire));
            }
        }
        let mut environment = BTreeMap::new();
        for (key, value) in [
            ("kafka.brokers", brokers),
            ("mongodb.uri", mongodb),
            ("mongodb.database", database.clone()),
            ("redis.url", redis_seen),
            ("consumer.group", group.clone()),
        ] {
            environment.insert(variable(key), value);
        }
        if let Some(url) = postgres_seen {
            environment.insert(variable("postgres.url"), url);
            environment.insert(variable("tables.group"), format!("{group}-tables"));
        }
        environment.extend(wasm_files());
        environment.extend(self.settings.clone());
        let new = |name: &str, kind: Kind, settings: &[(&str, &str)]| {
            let mut seen = services.access_of(kind.user());
            seen.extend(environment.clone());
            process(name, kind, folder.path(), &file, seen, settings)
        };
        let several = |kind: Kind, count: usize| -> Vec<Process> {
            let one = |i: usize| match count {
                1 => new(kind.name(), kind, &[]),
                _ => {
                    let name = format!("{}-{i}", kind.name());
                    let instance = format!("{}.instance", kind.name());
                    new(&name, kind, &[(&instance, &name)])
                }
            };
            (0..count).map(one).collect()
        };
        let mut vias = config.vias();
        if vias.is_empty() {
            vias.push(Via::Grpc);
        }
        let mut pods = Vec::new();
        for number in 0..self.pods {
            let name = |program: &str| match number {
                0 => program.to_owned(),
                n => format!("{program}-{n}"),
            };
            let mut address = free_address();
            let listen = address.to_string();
            let of =
                |key: &'static str, program: &str| (key, socket(folder.path(), &name(program)));
            let sockets = [
                of("kafka_producer.socket", "kafka-producer"),
                of("wasm_producer.socket", "wasm-producer"),
                of("redis_writer.socket", "redis-writer"),
            ];
            let mut sockets_seen = sockets.clone();
            if self.is_wired {
                let wire = Wire::to_port(address).await;
                if let Address::Tcp(wired) = wire.address {
                    address = wired;
                }
                wires.push((Link::Clients, wire));
                for (key, seen) in &mut sockets_seen {
                    let link = match *key {
                        "redis_writer.socket" => Link::Deltas,
                        "wasm_producer.socket" if !vias.contains(&Via::Wasm) => continue,
                        "kafka_producer.socket" if !vias.contains(&Via::Grpc) => continue,
                        _ => Link::Frames,
                    };
                    let wire = Wire::to_socket(Path::new(seen));
                    *seen = wire.address.to_string();
                    wires.push((link, wire));
                }
            }
            let new = |kind: Kind, sockets: &[(&'static str, String)]| {
                let sockets = sockets.iter().map(|(key, socket)| (*key, &**socket));
                let settings: Vec<_> = sockets.chain([("gateway.listen", &*listen)]).collect();
                new(&name(kind.program()), kind, &settings)
            };
            let mut producers = vias
                .iter()
                .map(|via| new(Kind::that_produces(*via), &sockets));
            pods.push(Pod {
                gateway: new(Kind::Gateway, &sockets_seen),
                producer: producers.next().expect("at least one"),
                other_producer: producers.next(),
                redis_writer: new(Kind::RedisWriter, &sockets),
                address,
            });
        }
        let first = pods.remove(0);
        let consumers = several(Kind::Consumer, self.consumers);
        let tables = several(Kind::Tables, self.tables);
        let console = self.has_console.then(|| {
            let listen = free_address().to_string();
            let mut settings = vec![
                ("console.listen".to_owned(), listen),
                (
                    "console.gateway".to_owned(),
                    format!("http://{}", first.address),
                ),
            ];
            let all = [&first.gateway, &first.producer, &first.redis_writer];
            let all = all.into_iter().chain(&first.other_producer);
            for process in all.chain(&consumers) {
                let table = process.kind().program().replace('-', "_");
                settings.push((
                    format!("console.{table}_admin"),
                    process.admin().to_string(),
                ));
            }
            let settings: Vec<_> = settings.iter().map(|(k, v)| (&**k, &**v)).collect();
            new("console", Kind::Console, &settings)
        });
        let pipeline = Pipeline {
            gateway: first.gateway,
            producer: first.producer,
            other_producer: first.other_producer,
            redis_writer: first.redis_writer,
            address: first.address,
            pods,
            consumers,
            tables,
            console,
            kafka: Kafka::with(config.kafka.clone()),
            archive: Archive::open(&config.mongodb, &database).await,
            config,
            redis,
            postgres,
            wires,
            database,
            owner_of_tables: services.owner_of_tables(),
            prefix,
            via,
            group,
            folder,
            _room: room,
        };
        if self.has_clocks {
            pipeline
                .processes()
                .for_each(|process| process.set_clock(0));
        }
        pipeline
    }
}

impl Pipeline {
    /// From the text of a file.
    #[must_use]
    pub fn builder(toml: &str) -> Builder {
        Builder {
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

/// The file of the wasm-producer's module: as the environment says, or where `scripts/wasm` puts it.
#[must_use]
pub fn wasm_module() -> PathBuf {
    wasm_files()["AGUACERO_WASM_PRODUCER_MODULE"].clone().into()
}

/// That file and the one with its sum, by the variables that name them.
fn wasm_files() -> BTreeMap<String, String> {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/wasm/producer.wasm");
    let built = built.display().to_string();
    let files = [
        ("wasm_producer.module", built.clone()),
        ("wasm_producer.sha256_file", format!("{built}.sha256")),
    ];
    let variables = files.map(|(key, file)| {
        let name = variable(key);
        let file = std::env::var(&name).unwrap_or(file);
        (name, file)
    });
    variables.into()
}

fn process(
    name: &str,
    kind: Kind,
    folder: &Path,
    file: &Path,
    mut environment: BTreeMap<String, String>,
    settings: &[(&str, &str)],
) -> Process {
    let admin = free_address();
    let table = kind.name().replace('-', "_");
    environment.insert(variable(&format!("{table}.admin")), admin.to_string());
    for (key, value) in settings {
        environment.insert(variable(key), (*value).to_owned());
    }
    Process::new(name.to_owned(), kind, folder, file, environment, admin)
}

/// `gateway.listen` as the environment spells it.
pub(crate) fn variable(key: &str) -> String {
    format!("AGUACERO_{}", key.replace('.', "_").to_uppercase())
}

fn socket(folder: &Path, name: &str) -> String {
    let path: PathBuf = folder.join(format!("{name}.sock"));
    path.display().to_string()
}

/// The running test's own name, fit for a topic.
fn test_name() -> String {
    let thread = std::thread::current();
    let name = thread
        .name()
        .unwrap_or("test")
        .replace("::", "-")
        .replace('_', "-");
    name.chars()
        .filter(|c| c.is_ascii_alphanumeric() || *c == '-')
        .take(80)
        .collect()
}

/// What no other test and no earlier run has had.
fn unique() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_micros();
    format!(
        "{now:x}-{:x}-{}",
        std::process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    )
}

/// An address on which nobody listens now, and that no other test of this process is given.
fn free_address() -> SocketAddr {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    let seed = u64::from(std::process::id()) * 7919 + given.len() as u64 * 13;
    let span = u64::from(PORTS.end - PORTS.start);
    let ports = (0..span).map(|i| PORTS.start + ((seed + i) % span) as u16);
    let free = |port: &u16| {
        !given.contains(port) && TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok()
    };
    let port = ports.into_iter().find(free).expect("a free port");
    given.insert(port);
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}
