//! A pipeline is made: its file, its databases, its processes. Nothing is started yet.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use aguacero::config::{Config, Via};
use tempfile::TempDir;
use tokio::sync::SemaphorePermit;

use super::{
    Builder, Link, Pipeline, Pod, adapted,
    names::{free_address, socket, test_name, unique, variable, wasm_files},
    seen::Seen,
};
use crate::{
    archive::Archive,
    declaration::via_of_all,
    kafka::Kafka,
    postgres::Postgres,
    process::{Kind, Process},
    services::Services,
    shown::Redis,
    wire::{Address, Wire},
};

/// Logical databases that the test services' Redis has, beside number 0.
const REDIS_DATABASES: u32 = 511;

/// Makes processes of one pipeline.
struct Maker<'a> {
    services: &'a Services,
    environment: BTreeMap<String, String>,
    folder: &'a Path,
    file: PathBuf,
}

impl Builder {
    pub(super) async fn build(&self, room: SemaphorePermit<'static>) -> Pipeline {
        let services = Services::from_env();
        let (test, id) = (test_name(), unique());
        let (prefix, group) = (format!("{test}-{id}-"), format!("{test}-{id}"));
        let via = via_of_all().filter(|_| !self.keeps_routes);
        let (config, folder, file) = declared(&adapted(&self.toml, &prefix, via), &services);
        let (redis, number) = own_redis(&config, &services).await;
        let database = self.settings.get(&variable("mongodb.database"));
        let database = database.cloned().unwrap_or(format!("e2e-{id}"));
        let postgres = match self.tables {
            0 => None,
            _ => {
                let name = self.table_database.clone();
                let name = name.unwrap_or(format!("e2e-{id}"));
                Some(Postgres::open(&services, &name).await)
            }
        };
        let mut wires = Vec::new();
        let mut seen = Seen::directly(&services, number, postgres.as_ref());
        if self.is_wired {
            seen.through_wires(&services, number, postgres.as_ref(), &mut wires)
                .await;
        }
        let mut environment = seen.variables(&database, &group);
        environment.extend(wasm_files());
        environment.extend(self.settings.clone());
        let maker = Maker {
            services: &services,
            environment,
            folder: folder.path(),
            file,
        };
        let mut vias = config.vias();
        if vias.is_empty() {
            vias.push(Via::Grpc);
        }
        let mut pods = Vec::new();
        for number in 0..self.pods {
            pods.push(self.pod(number, &maker, &vias, &mut wires).await);
        }
        let first = pods.remove(0);
        let consumers = maker.several(Kind::Consumer, self.consumers);
        let tables = maker.several(Kind::Tables, self.tables);
        let console = self
            .has_console
            .then(|| maker.console(&first, &consumers, &tables));
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
            let processes = pipeline.processes();
            processes.for_each(|process| process.set_clock(0));
        }
        pipeline
    }

    /// A gateway with its sidecars.
    async fn pod(
        &self,
        number: usize,
        maker: &Maker<'_>,
        vias: &[Via],
        wires: &mut Vec<(Link, Wire)>,
    ) -> Pod {
        let name = |program: &str| match number {
            0 => program.to_owned(),
            n => format!("{program}-{n}"),
        };
        let mut address = free_address();
        let listen = address.to_string();
        let of = |key: &'static str, program: &str| (key, socket(maker.folder, &name(program)));
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
            maker.process(&name(kind.program()), kind, &settings)
        };
        let mut producers = vias
            .iter()
            .map(|via| new(Kind::that_produces(*via), &sockets));
        Pod {
            gateway: new(Kind::Gateway, &sockets_seen),
            producer: producers.next().expect("at least one"),
            other_producer: producers.next(),
            redis_writer: new(Kind::RedisWriter, &sockets),
            address,
        }
    }
}

/// What a file declares, and the file, in a folder of its own.
fn declared(toml: &str, services: &Services) -> (Config, TempDir, PathBuf) {
    let mut known = services.access.clone();
    known.insert(variable("kafka.brokers"), services.brokers.clone());
    known.insert(variable("mongodb.uri"), services.mongodb.clone());
    known.insert(variable("redis.url"), services.redis.clone());
    let config = Config::parse(toml, "this test's file", known).unwrap_or_else(|e| panic!("{e}"));
    let folder = tempfile::Builder::new().prefix("e2e-").tempdir();
    let folder = folder.expect("a temporary folder");
    let file = folder.path().join("aguacero.toml");
    std::fs::write(&file, toml).expect("a file in our own folder");
    (config, folder, file)
}

/// A database of Redis that is empty, and its number.
async fn own_redis(config: &Config, services: &Services) -> (Redis, u32) {
    let at = |number| aguacero::config::Redis {
        url: services.redis_database(number),
        ..config.redis.clone()
    };
    let number = 1 + Redis::with(&at(0)).await.next("e2e:databases").await % REDIS_DATABASES;
    let redis = Redis::with(&at(number)).await;
    redis.flush().await;
    (redis, number)
}

impl Maker<'_> {
    fn process(&self, name: &str, kind: Kind, settings: &[(&str, &str)]) -> Process {
        let mut environment = self.services.access_of(kind.user());
        environment.extend(self.environment.clone());
        let admin = free_address();
        let table = kind.name().replace('-', "_");
        environment.insert(variable(&format!("{table}.admin")), admin.to_string());
        for (key, value) in settings {
            environment.insert(variable(key), (*value).to_owned());
        }
        let name = name.to_owned();
        Process::new(name, kind, self.folder, &self.file, environment, admin)
    }

    /// So many of a kind, each with a lasting name of its own.
    fn several(&self, kind: Kind, count: usize) -> Vec<Process> {
        let one = |i: usize| match count {
            1 => self.process(kind.name(), kind, &[]),
            _ => {
                let name = format!("{}-{i}", kind.name());
                let instance = format!("{}.instance", kind.name());
                self.process(&name, kind, &[(&instance, &name)])
            }
        };
        (0..count).map(one).collect()
    }

    /// One that knows where the others are.
    fn console(&self, pod: &Pod, consumers: &[Process], tables: &[Process]) -> Process {
        let gateway = format!("http://{}", pod.address);
        let mut settings = vec![
            ("console.listen".to_owned(), free_address().to_string()),
            ("console.gateway".to_owned(), gateway),
        ];
        let all = [&pod.gateway, &pod.producer, &pod.redis_writer];
        let all = all.into_iter().chain(&pod.other_producer);
        for process in all.chain(consumers) {
            let table = process.kind().program().replace('-', "_");
            let admin = process.admin().to_string();
            settings.push((format!("console.{table}_admin"), admin));
        }
        for process in tables {
            let admin = process.admin().to_string();
            settings.push(("console.tables_admin".to_owned(), admin));
        }
        let settings: Vec<_> = settings.iter().map(|(k, v)| (&**k, &**v)).collect();
        self.process("console", Kind::Console, &settings)
    }
}
