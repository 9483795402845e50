//! From what is written to what is meant: every key with its default and its bounds.
//!
//! The tables of the processes are below, one line a key: this is the one place where a default is
//! stated. Topics, streams, and how all of it must fit together are in the files beside.

mod access;
mod fields;
mod fingerprint;
mod relations;
mod streams;
mod tables;
mod topics;

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use ipnet::IpNet;
use toml::de::DeTable;

use crate::id::ID_BYTES_MAX;

use super::{
    AddressField, Config, Console, Consumer, FilesOf, Gateway, Kafka, KafkaClient, KafkaProducer,
    Mistakes, Mongodb, Postgres, Redis, RedisWriter, WasmProducer, names,
    raw::{Source, Table, one_of},
};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
const GIB: usize = 1024 * MIB;

/// The longest time that can be declared.
const HOUR_MS: u64 = 3_600_000;

/// Kafka's broker takes batches of up to 1,048,588 bytes by default; this leaves room for the
/// record's key, header and framing.
const EVENT_BYTES_LIMIT: usize = 1_000_000;

/// Defaults of `[consumer]`, and what the other processes that poll have in their place.
const SETTLE_STEP: i64 = 50_000;
const AUDIT_MS: u64 = 600_000;

/// The clients that produce.
const CLIENTS: [&str; 2] = ["engine", "librdkafka"];
/// What librdkafka can be told to compress with.
const COMPRESSIONS: [&str; 5] = ["none", "lz4", "zstd", "snappy", "gzip"];

/// Where proxies may tell a client's address.
const ADDRESS_FIELDS: [&str; 2] = ["x-forwarded-for", "forwarded"];

/// Reads `text`, which `file` stands for, and checks all of it; also the `files` that it names.
/// With mistakes, the values are stand-ins here and there.
pub(super) fn look(
    text: &str,
    file: &str,
    environment: BTreeMap<String, String>,
    files: &[FilesOf],
) -> (Config, Option<Mistakes>) {
    let (tree, errors) = DeTable::parse_recoverable(text);
    let source = Source::new(text, file, environment, files, &errors);
    let mut config = read(Table::root(&source, tree.get_ref()));
    relations::check(&source, &config);
    config.warnings = source.warnings();
    (config, source.mistakes(file))
}

fn read(root: Table<'_>) -> Config {
    let topics = topics::read(&root);
    let gateway = gateway(root.process("gateway"));
    let streams = streams::read(&root, &topics, gateway.keys.is_some());
    let mut config = Config {
        fingerprint: fingerprint::of_config(&topics, &streams),
        kafka: kafka(root.process("kafka")),
        redis: redis(root.process("redis")),
        mongodb: mongodb(root.process("mongodb")),
        postgres: postgres(root.process("postgres")),
        gateway,
        kafka_producer: kafka_producer(root.process("kafka_producer")),
        redis_writer: redis_writer(root.process("redis_writer")),
        wasm_producer: wasm_producer(root.process("wasm_producer")),
        consumer: consumer(root.process("consumer")),
        tables: tables(root.process("tables")),
        console: console(root.process("console")),
        topics,
        streams,
        warnings: Vec::new(),
    };
    root.done();
    // After the fingerprint, of which the bounds of a process are no part.
    let event_bytes_max = config.gateway.event_bytes_max;
    for stream in &mut config.streams {
        for (i, field) in stream.fields.iter_mut().enumerate() {
            let bound = match stream.id == Some(i) {
                true => event_bytes_max.min(ID_BYTES_MAX),
                false => event_bytes_max,
            };
            field.max_bytes = field.max_bytes.min(bound);
        }
    }
    config
}

fn kafka(table: Table<'_>) -> Kafka {
    let brokers = table.text("brokers", "127.0.0.1:9092", names::brokers);
    let is_tls = table.get::<bool>("tls").is_some_and(|tls| tls.value);
    let kafka = Kafka {
        message_timeout: table.millis("message_timeout_ms", 8_000, 10..=HOUR_MS),
        tls: access::tls(&table, is_tls, "tls = true"),
        sasl: access::sasl(&table, &brokers, is_tls),
        brokers,
    };
    table.done();
    kafka
}

fn redis(table: Table<'_>) -> Redis {
    let url = table.text("url", "redis://127.0.0.1:6379/0", names::redis_url);
    secret_stays_out(&table, "url", &url);
    let is_tls = url.starts_with("rediss:");
    let redis = Redis {
        tls: access::tls(&table, is_tls, "TLS: write rediss:// in url"),
        credentials: access::credentials(&table, access::Alone::Password),
        url,
    };
    access::one_password(&table, "url", &redis.url, redis.credentials.is_some());
    access::open_password(&table, &redis);
    table.done();
    redis
}

fn mongodb(table: Table<'_>) -> Mongodb {
    let uri = table.text("uri", "mongodb://127.0.0.1:27017", names::mongodb_uri);
    secret_stays_out(&table, "uri", &uri);
    let is_tls = table.get::<bool>("tls").is_some_and(|tls| tls.value);
    let mongodb = Mongodb {
        database: table.text("database", "aguacero", names::database),
        dead_letters: table.text("dead_letters", "dead_letters", names::collection),
        tls: access::tls_of_one_file(&table, is_tls, "tls = true"),
        credentials: access::credentials(&table, access::Alone::Neither),
        auth_source: table.text("auth_source", "admin", names::auth_source),
        uri,
    };
    access::one_password(&table, "uri", &mongodb.uri, mongodb.credentials.is_some());
    table.done();
    mongodb
}

fn postgres(table: Table<'_>) -> Postgres {
    let default = "postgres://127.0.0.1:5432/aguacero";
    let url = table.text("url", default, names::postgres_url);
    secret_stays_out(&table, "url", &url);
    let is_tls = table.get::<bool>("tls").is_some_and(|tls| tls.value);
    let postgres = Postgres {
        tls: access::tls(&table, is_tls, "tls = true"),
        credentials: access::credentials(&table, access::Alone::Username),
        username: access::text(&table, "username"),
        url,
    };
    access::one_password(&table, "url", &postgres.url, postgres.credentials.is_some());
    table.done();
    postgres
}

fn gateway(table: Table<'_>) -> Gateway {
    let ack_timeout = table.millis("ack_timeout_ms", 10_000, 10..=HOUR_MS);
    let ack_ms = u64::try_from(ack_timeout.as_millis()).unwrap_or(HOUR_MS);
    let gateway = Gateway {
        listen: table.address("listen", local(8080)),
        tls: access::identity(&table),
        admin: table.address("admin", local(9180)),
        keys: access::keys(&table),
        workers: table.number("workers", half_the_cores(), 1..=1024),
        connections_max: table.number("connections_max", 10_000, 1..=1_000_000),
        connections_per_address_max: table.number(
            "connections_per_address_max",
            1_000,
            1..=1_000_000,
        ),
        proxies: networks(&table, "proxies"),
        proxies_field: address_field(&table),
        body_bytes_max: table.number("body_bytes_max", 8 * MIB, 1..=GIB),
        // As Envoy's decompressor has it (max_inflate_ratio).
        expansion_max: table.number("expansion_max", 100, 1..=1_000_000),
        event_bytes_max: table.number("event_bytes_max", 900 * KIB, 1..=EVENT_BYTES_LIMIT),
        batch_records_max: table.number("batch_records_max", 10_000, 1..=1_000_000),
        // hyper refuses a buffer below 8 KiB.
        header_bytes_max: table.number("header_bytes_max", 16 * KIB, 8 * KIB..=MIB),
        idle_timeout: table.millis("idle_timeout_ms", 60_000, 10..=HOUR_MS),
        header_timeout: table.millis("header_timeout_ms", 10_000, 10..=HOUR_MS),
        body_timeout: table.millis("body_timeout_ms", 10_000, 10..=HOUR_MS),
        ack_timeout,
        request_timeout: table.millis("request_timeout_ms", 20_000, 10..=HOUR_MS),
        drain_delay: table.millis("drain_delay_ms", 0, 0..=HOUR_MS),
        drain_timeout: table.millis("drain_timeout_ms", ack_ms.max(20_000), 0..=HOUR_MS),
        partition_bytes_in_flight_max: table.number(
            "partition_bytes_in_flight_max",
            16 * MIB,
            1..=64 * GIB,
        ),
        bytes_in_flight_max: table.number("bytes_in_flight_max", 64 * MIB, 1..=64 * GIB),
        frames_in_flight_max: table.number("frames_in_flight_max", 2, 1..=64),
        slab_bytes_max: table.number("slab_bytes_max", MIB, KIB..=8 * MIB),
        partition_slow: table.millis("partition_slow_ms", ack_ms.min(1_000), 1..=HOUR_MS),
    };
    table.done();
    gateway
}

/// `"10.0.0.0/8, ::1"`
fn networks(table: &Table<'_>, key: &'static str) -> Vec<IpNet> {
    let listed = table.text(key, "", |_| None::<String>);
    let names = listed.split(',').map(str::trim).filter(|n| !n.is_empty());
    let network = |name: &str| {
        let network = name
            .parse()
            .or_else(|_| name.parse().map(|a: IpAddr| a.into()));
        if network.is_err() {
            let what = format!("\"{name}\" is no network; write one like 10.0.0.0/8 or fd00::/8");
            table.report(key, what);
        }
        network.ok()
    };
    names.filter_map(network).collect()
}

fn address_field(table: &Table<'_>) -> AddressField {
    let unknown = |name: &str| {
        let known = ADDRESS_FIELDS.contains(&name);
        (!known).then(|| format!("there is no \"{name}\"; {}", one_of(name, &ADDRESS_FIELDS)))
    };
    match &*table.text("proxies_field", ADDRESS_FIELDS[0], unknown) {
        "forwarded" => AddressField::Forwarded,
        _ => AddressField::XForwardedFor,
    }
}

fn socket(table: &Table<'_>, default: &str) -> PathBuf {
    let beside = |path: &str| table.source().beside(path);
    let wrong = |path: &str| match path.is_empty() {
        true => names::socket(path),
        false => names::socket(&beside(path).display().to_string()),
    };
    beside(&table.text("socket", default, wrong))
}

fn kafka_producer(table: Table<'_>) -> KafkaProducer {
    let kafka_producer = KafkaProducer {
        socket: socket(&table, "/tmp/aguacero/kafka-producer.sock"),
        admin: table.address("admin", local(9181)),
        client: match &*table.text("client", "engine", client) {
            "librdkafka" => KafkaClient::Librdkafka,
            _ => KafkaClient::Engine,
        },
        queue_bytes_max: table.number("queue_bytes_max", 256 * MIB, MIB..=1024 * GIB),
        compression: table.text("compression", "none", compression),
        drain_timeout: table.millis("drain_timeout_ms", 20_000, 0..=HOUR_MS),
    };
    table.done();
    kafka_producer
}

fn redis_writer(table: Table<'_>) -> RedisWriter {
    let redis_writer = RedisWriter {
        socket: socket(&table, "/tmp/aguacero/redis-writer.sock"),
        admin: table.address("admin", local(9182)),
        pending_max: table.number("pending_max", 1_000, 1..=1_000_000),
        drain_timeout: table.millis("drain_timeout_ms", 20_000, 0..=HOUR_MS),
    };
    table.done();
    redis_writer
}

fn wasm_producer(table: Table<'_>) -> WasmProducer {
    let text = |key, wrong: fn(&str) -> Option<&'static str>| {
        Some(table.text(key, "", wrong)).filter(|text| !text.is_empty())
    };
    let file = |key| text(key, |_| None).map(|path| table.source().beside(&path));
    let sha256 = |sum: &str| {
        let fits = sum.is_empty() || sum.len() == 64 && sum.bytes().all(|b| b.is_ascii_hexdigit());
        (!fits).then_some("must be 64 hexadecimal digits, as sha256sum prints them")
    };
    let wasm_producer = WasmProducer {
        socket: socket(&table, "/tmp/aguacero/wasm-producer.sock"),
        admin: table.address("admin", local(9185)),
        module: file("module"),
        sha256: text("sha256", sha256).map(|sum| sum.to_ascii_lowercase()),
        sha256_file: file("sha256_file"),
        memory_bytes_max: table.number("memory_bytes_max", 512 * MIB, MIB..=4 * GIB),
        call_timeout: table.millis("call_timeout_ms", 1_000, 10..=HOUR_MS),
        drain_timeout: table.millis("drain_timeout_ms", 20_000, 0..=HOUR_MS),
    };
    if wasm_producer.sha256.is_some() && wasm_producer.sha256_file.is_some() {
        table.report(
            "sha256_file",
            "stands beside sha256; one of them says which module is run",
        );
    }
    table.done();
    wasm_producer
}

fn console(table: Table<'_>) -> Console {
    let hosts = |key| {
        table.text(key, "", |hosts| match hosts.is_empty() {
            true => None,
            false => names::brokers(hosts),
        })
    };
    let console = Console {
        listen: table.address("listen", local(8090)),
        admin: table.address("admin", local(9184)),
        gateway: table.text("gateway", "", names::http_url),
        gateway_admin: hosts("gateway_admin"),
        kafka_producer_admin: hosts("kafka_producer_admin"),
        wasm_producer_admin: hosts("wasm_producer_admin"),
        redis_writer_admin: hosts("redis_writer_admin"),
        consumer_admin: hosts("consumer_admin"),
        tables_admin: hosts("tables_admin"),
        token_file: access::token(&table),
    };
    table.done();
    console
}

fn consumer(table: Table<'_>) -> Consumer {
    let consumer = Consumer {
        settle_step: table.number("settle_step", SETTLE_STEP, 1..=10_000_000),
        audit_interval: table.millis("audit_interval_ms", AUDIT_MS, 1_000..=24 * HOUR_MS),
        ..polling(&table, local(9183), "aguacero-archive", 5_000)
    };
    table.done();
    consumer
}

fn tables(table: Table<'_>) -> Consumer {
    let consumer = polling(&table, local(9186), "aguacero-tables", 10_000);
    table.done();
    consumer
}

/// What every process that reads from Kafka has; `records` of a batch at most, unless told.
fn polling(table: &Table<'_>, admin: SocketAddr, group: &str, records: usize) -> Consumer {
    Consumer {
        admin: table.address("admin", admin),
        group: table.text("group", group, names::group),
        instance: instance(table),
        // librdkafka takes no more than its `max.poll.interval.ms`.
        session_timeout: table.millis("session_timeout_ms", 10_000, 1_000..=300_000),
        // MongoDB takes 100,000 writes and 48,000,000 bytes in one command.
        batch_records_max: table.number("batch_records_max", records, 1..=100_000),
        batch_bytes_max: table.number("batch_bytes_max", 8 * MIB, 1..=40 * MIB),
        buffer_bytes_max: table.number("buffer_bytes_max", 64 * MIB, 1..=64 * GIB),
        writers: table.number("writers", 2, 1..=256),
        settle_step: SETTLE_STEP,
        audit_interval: Duration::from_millis(AUDIT_MS),
        drain_timeout: table.millis("drain_timeout_ms", 10_000, 0..=HOUR_MS),
    }
}

fn instance(table: &Table<'_>) -> Option<String> {
    let name = table.text("instance", "", |name| {
        if name.is_empty() {
            None
        } else {
            names::topic(name)
        }
    });
    Some(name).filter(|name| !name.is_empty())
}

fn client(name: &str) -> Option<String> {
    let known = CLIENTS.contains(&name);
    (!known).then(|| format!("there is no \"{name}\"; {}", one_of(name, &CLIENTS)))
}

fn compression(name: &str) -> Option<String> {
    let known = COMPRESSIONS.contains(&name);
    (!known).then(|| format!("there is no \"{name}\"; {}", one_of(name, &COMPRESSIONS)))
}

/// A password does not belong into a file that is passed around and committed.
fn secret_stays_out(table: &Table<'_>, key: &'static str, url: &str) {
    let spot = table.spot_of(key);
    if spot.in_environment() || !names::has_password(url) {
        return;
    }
    let variable = format!(
        "AGUACERO_{}_{}",
        table.name().to_uppercase(),
        key.to_uppercase()
    );
    table.report(
        key,
        format!("carries a password; take it out here and set {variable} instead, or name a file with it by password_file"),
    );
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// At least one, and not more than have room in the kafka-producer's queue with all other defaults.
fn half_the_cores() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| (cores.get() / 2).clamp(1, 64))
}
