//! One TOML file, read by every process: `raw` reads it and reports every mistake together, with
//! line numbers; what comes out are the typed values below, which need no second look.
//!
//! The environment overrides a scalar of the process tables, for containers:
//! `AGUACERO_<TABLE>_<KEY>`, for example `AGUACERO_KAFKA_BROKERS` or `AGUACERO_GATEWAY_LISTEN`. An
//! empty variable is as good as none; one that overrides no key is a mistake.
//!
//! Every key of the file has its default in `check`; a file need declare no more than topics and
//! streams.

mod files;
mod key_kind;
mod names;
mod time;

mod raw;

mod access;
mod keys;
mod stores;
mod stream;
mod table;

mod check;
#[cfg(test)]
mod tests;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use ipnet::IpNet;

pub use access::{Credentials, Identity, Password, Sasl, Tls};
pub(crate) use files::read;
pub use files::{AccessError, FilesOf};
pub use keys::{Key, Rate, TokenHash, Writes, open_to_others, parse_keys};
pub use raw::{Mistake, Mistakes};
pub use stores::{ARCHIVES, Kafka, Mongodb, Postgres, Redis};
pub use stream::{
    Access, Cors, Counter, Field, FieldNames, OnIdConflict, Partitioning, Route, Rule, Spread,
    Stream, TextPlain, Type, Types, Via,
};
pub use table::{Column, ColumnValue, OnConflict, Table as SqlTable, TableName, quoted};
pub use time::{text_of, time_of};

/// Everything that the file declares, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// Of topics and streams (not of the process tables): two processes that disagree say so.
    pub fingerprint: u64,
    /// The broker, and the settings that every client of it shares.
    pub kafka: Kafka,
    /// Where the counters are shown.
    pub redis: Redis,
    /// Where the events are archived.
    pub mongodb: Mongodb,
    /// Where they become rows of tables.
    pub postgres: Postgres,
    /// The HTTP process.
    pub gateway: Gateway,
    /// The sidecar that produces.
    pub kafka_producer: KafkaProducer,
    /// The sidecar that counts.
    pub redis_writer: RedisWriter,
    /// The sidecar that produces in WebAssembly.
    pub wasm_producer: WasmProducer,
    /// The process that archives and settles.
    pub consumer: Consumer,
    /// The process that writes rows. Of a [`Consumer`]'s values it has those that concern polling.
    pub tables: Consumer,
    /// The pages for people.
    pub console: Console,
    /// Declared topics, in the order of the file.
    pub topics: Vec<Topic>,
    /// Declared streams, in the order of the file.
    pub streams: Vec<Stream>,
    /// What is no mistake, but should be looked at: a line each.
    pub warnings: Vec<String>,
}

/// `[gateway]`. Deadlines nest: `kafka.message_timeout < ack_timeout < request_timeout`, and the
/// ingress in front should allow more than `request_timeout`.
#[derive(Debug, Clone)]
pub struct Gateway {
    /// Where events come in.
    pub listen: SocketAddr,
    /// What `listen` proves itself with, read again when it changes; without it, it speaks no TLS.
    pub tls: Option<Identity>,
    /// `/healthz`, `/readyz`, `/metrics`.
    pub admin: SocketAddr,
    /// Who may write to streams with `access = "keys"`; read by the gateway alone.
    pub keys: Option<PathBuf>,
    /// Current-thread runtimes; `None` in the file means half of the cores, at least one.
    pub workers: usize,
    /// Open connections in all; beyond it new ones wait in the listen queue.
    pub connections_max: usize,
    /// Open connections of one client's address (of an IPv6 network of 64 bits); behind a proxy, its requests
    /// in progress.
    pub connections_per_address_max: usize,
    /// Networks whose word for a client's address is taken.
    pub proxies: Vec<IpNet>,
    /// Where they say it.
    pub proxies_field: AddressField,
    /// Bytes of one body.
    pub body_bytes_max: usize,
    /// How many times its bytes a packed body may expand to.
    pub expansion_max: usize,
    /// Bytes of one event (also `Config`-wide what is accepted): 900 KiB, so that Kafka's 1 MiB and BSON's 16 MiB both hold.
    pub event_bytes_max: usize,
    /// Records in one batch.
    pub batch_records_max: usize,
    /// Bytes of the request line and the header fields together.
    pub header_bytes_max: usize,
    /// How long a connection may be silent before or between requests.
    pub idle_timeout: Duration,
    /// From the first byte of a request to the end of its header; also of a TLS handshake.
    pub header_timeout: Duration,
    /// How long a body, or an answer, may make no progress: 408, or the connection ends.
    pub body_timeout: Duration,
    /// From the last byte of the body to the receipt: 504 (or 503 if it never left).
    pub ack_timeout: Duration,
    /// From the request line to the answer. The body may take what `ack_timeout` leaves of it: 408.
    pub request_timeout: Duration,
    /// From SIGTERM, at which `/readyz` says 503, to the drain: so long everything else goes on, until nobody sends
    /// new clients here.
    pub drain_delay: Duration,
    /// From the beginning of the drain to the end.
    pub drain_timeout: Duration,
    /// Bytes that events hold until their receipt, for each topic-partition, divided by the workers: with more, a
    /// request does not enter it (503).
    pub partition_bytes_in_flight_max: usize,
    /// The same over all of them, and of all workers together. A request that begins below is taken whole.
    pub bytes_in_flight_max: usize,
    /// Frames sent and not yet receipted, for each worker.
    pub frames_in_flight_max: usize,
    /// Bytes that one slab encodes to, unless a single event takes more; a full one is closed and the next is opened
    /// behind it.
    pub slab_bytes_max: usize,
    /// Sticky spreading passes over a partition whose oldest receipt is due for longer than this.
    pub partition_slow: Duration,
}

/// The header field in which proxies tell whose request it is. They extend one and hand the other on as the
/// client wrote it, so it has to be known which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressField {
    /// `X-Forwarded-For`
    XForwardedFor,
    /// `Forwarded` (RFC 7239)
    Forwarded,
}

/// `[kafka_producer]`
#[derive(Debug, Clone)]
pub struct KafkaProducer {
    /// Unix socket that the gateway connects to.
    pub socket: PathBuf,
    /// `/healthz`, `/readyz`, `/metrics`.
    pub admin: SocketAddr,
    /// Who speaks to Kafka.
    pub client: KafkaClient,
    /// Bytes in the client's queue; above
    /// `gateway.bytes_in_flight_max` and `gateway.body_bytes_max` together.
    pub queue_bytes_max: usize,
    /// `compression.type`: none, lz4, zstd, snappy, gzip.
    pub compression: String,
    /// From SIGTERM to the end.
    pub drain_timeout: Duration,
}

/// A client that produces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KafkaClient {
    /// This project's own.
    Engine,
    /// The one that the world knows.
    Librdkafka,
}

/// `[redis_writer]`
#[derive(Debug, Clone)]
pub struct RedisWriter {
    /// Unix socket that the gateway connects to.
    pub socket: PathBuf,
    /// `/healthz`, `/readyz`, `/metrics`.
    pub admin: SocketAddr,
    /// Entries that a partition may have pending; beyond it the newest takes in more.
    pub pending_max: usize,
    /// From SIGTERM to the end.
    pub drain_timeout: Duration,
}

/// `[wasm_producer]`
#[derive(Debug, Clone)]
pub struct WasmProducer {
    /// Unix socket that the gateway connects to.
    pub socket: PathBuf,
    /// `/healthz`, `/readyz`, `/metrics`.
    pub admin: SocketAddr,
    /// The module, as bytes of WebAssembly.
    pub module: Option<PathBuf>,
    /// SHA-256 of the module, in hexadecimal; another is not run.
    pub sha256: Option<String>,
    /// A file with that sum, as `sha256sum` writes it: it can change while the process runs.
    pub sha256_file: Option<PathBuf>,
    /// Bytes of memory that an instance may have.
    pub memory_bytes_max: usize,
    /// How long one call of the module may take.
    pub call_timeout: Duration,
    /// From SIGTERM to the end.
    pub drain_timeout: Duration,
}

/// `[console]`
#[derive(Debug, Clone)]
pub struct Console {
    /// Where browsers connect. `PORT` in the environment, as Cloud Run sets it, replaces it by all addresses at that port.
    pub listen: SocketAddr,
    /// `/healthz`, `/readyz`, `/metrics`.
    pub admin: SocketAddr,
    /// `http://host:port` of the gateway, for an event that somebody tries; empty: `gateway.listen`.
    pub gateway: String,
    /// Admin ports of each process, `host:port`, comma-separated; empty: that of its own table. A name that stands for
    /// several addresses is asked at each.
    pub gateway_admin: String,
    /// The same.
    pub kafka_producer_admin: String,
    /// The same.
    pub wasm_producer_admin: String,
    /// The same.
    pub redis_writer_admin: String,
    /// The same.
    pub consumer_admin: String,
    /// The same, of `consumer tables`.
    pub tables_admin: String,
    /// Holds the token of whoever may replay and discard dead letters; without it nobody may.
    pub token_file: Option<PathBuf>,
}

impl Console {
    /// The operator's token, as its file has it now; none if no file is named.
    pub fn token(&self) -> Result<Option<Password>, AccessError> {
        let token = |file: &PathBuf| {
            let credentials = Credentials {
                username: None,
                password_file: file.clone(),
            };
            credentials.password()
        };
        self.token_file.as_ref().map(token).transpose()
    }
}

/// `[consumer]`
#[derive(Debug, Clone)]
pub struct Consumer {
    /// `/healthz`, `/readyz`, `/metrics`.
    pub admin: SocketAddr,
    /// `group.id`
    pub group: String,
    /// `group.instance.id`: a replica that comes back under the same name takes its partitions back at once.
    pub instance: Option<String>,
    /// `session.timeout.ms`
    pub session_timeout: Duration,
    /// Documents in one `insert_many`.
    pub batch_records_max: usize,
    /// Bytes in one `insert_many`.
    pub batch_bytes_max: usize,
    /// Bytes fetched and not yet archived, over all partitions; beyond it partitions are paused.
    pub buffer_bytes_max: usize,
    /// Batches written at the same time, over all partitions.
    pub writers: usize,
    /// Offsets that one settle may read back from the archive.
    pub settle_step: i64,
    /// How often the counters of a partition are compared with the archive.
    pub audit_interval: Duration,
    /// How long a partition that is taken away may finish its batch; also from SIGTERM to the end.
    pub drain_timeout: Duration,
}

/// `[topics.NAME]`
#[derive(Debug, Clone)]
pub struct Topic {
    /// Kafka's name for it.
    pub name: String,
    /// How many there must be at least.
    pub partitions: i32,
    /// Replicas of each partition.
    pub replication: i32,
    /// `min.insync.replicas`; less on the broker is refused at start.
    pub min_insync: i32,
    /// What a topic that is made gets as `retention.ms`; less on the broker is refused at start. Zero: no bound, and
    /// the broker's default.
    pub retention_min: Duration,
    /// The same for `retention.bytes`, of each partition.
    pub retention_min_bytes: u64,
    /// Named partitions, which only a rule leads to, ascending by number.
    pub reserved: Vec<(String, i32)>,
    /// The others, ascending; never empty.
    pub ordinary: Vec<i32>,
}

impl Config {
    /// The topics that streams of `is_wanted` are declared for, and every stream that is declared for these, under new
    /// positions: what a process that has nothing to do with the others works with.
    #[must_use]
    pub fn narrowed(&self, is_wanted: impl Fn(&Stream) -> bool) -> Self {
        let mut config = self.clone();
        let wanted = |topic: usize| {
            let mut streams = self.streams.iter();
            streams.any(|stream| stream.topic == topic && is_wanted(stream))
        };
        let kept: Vec<_> = (0..self.topics.len()).filter(|t| wanted(*t)).collect();
        config.topics = kept
            .iter()
            .map(|topic| self.topics[*topic].clone())
            .collect();
        config.streams.retain(|stream| kept.contains(&stream.topic));
        for (index, stream) in config.streams.iter_mut().enumerate() {
            let topic = kept.iter().position(|topic| *topic == stream.topic);
            (stream.index, stream.topic) = (index, topic.unwrap_or_default());
        }
        config
    }

    /// Reads and checks the file at `path` under the environment's overrides, and the `files` that it names.
    pub fn load(path: &std::path::Path, files: &[FilesOf]) -> Result<Self, Mistakes> {
        match Self::read(path, files)? {
            (config, None) => Ok(config),
            (_, Some(mistakes)) => Err(mistakes),
        }
    }

    /// [`Config::load`] for the gateway, and the keys that it names: what is wrong with any file is told together.
    pub fn load_with_keys(path: &std::path::Path) -> Result<(Self, Vec<Key>), Vec<Mistakes>> {
        let (config, mistakes) =
            Self::read(path, &[FilesOf::Gateway]).map_err(|mistakes| vec![mistakes])?;
        let mut mistakes: Vec<_> = mistakes.into_iter().collect();
        let keys = config.keys().unwrap_or_else(|wrong| {
            mistakes.push(wrong);
            Vec::new()
        });
        match mistakes.is_empty() {
            true => Ok((config, keys)),
            false => Err(mistakes),
        }
    }

    /// The keys in the file of `gateway.keys`, as it is now; none if none is configured.
    pub fn keys(&self) -> Result<Vec<Key>, Mistakes> {
        let Some(path) = &self.gateway.keys else {
            return Ok(Vec::new());
        };
        let file = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|error| Mistakes::unreadable_keys(&file, &error))?;
        self.parse_keys(&text)
    }

    /// The keys in `text`, which the file of `gateway.keys` holds.
    pub fn parse_keys(&self, text: &str) -> Result<Vec<Key>, Mistakes> {
        let file = self.gateway.keys.as_deref().unwrap_or("keys.toml".as_ref());
        let streams: Vec<_> = self.streams.iter().map(|s| s.name.as_str()).collect();
        parse_keys(text, &file.display().to_string(), Some(&streams))
    }

    fn read(
        path: &std::path::Path,
        files: &[FilesOf],
    ) -> Result<(Self, Option<Mistakes>), Mistakes> {
        let text = std::fs::read_to_string(path).map_err(|e| Mistakes::unreadable(path, &e))?;
        // `vars` would panic on a variable, anyone's, that is not Unicode.
        let environment = std::env::vars_os().filter_map(|(name, value)| {
            Some((
                name.into_string().ok()?,
                value.to_string_lossy().into_owned(),
            ))
        });
        let file = path.display().to_string();
        Ok(check::look(&text, &file, environment.collect(), files))
    }

    /// Reads and checks `text`, and no other file; `name` stands for the file in the mistakes.
    pub fn parse(
        text: &str,
        name: &str,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, Mistakes> {
        Self::parse_for(&[], text, name, environment)
    }

    /// [`Self::parse`], and the `files` that `text` names.
    pub fn parse_for(
        files: &[FilesOf],
        text: &str,
        name: &str,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, Mistakes> {
        match check::look(text, name, environment.into_iter().collect(), files) {
            (config, None) => Ok(config),
            (_, Some(mistakes)) => Err(mistakes),
        }
    }

    /// The topic that `stream` writes to.
    #[must_use]
    pub fn topic_of(&self, stream: &Stream) -> &Topic {
        &self.topics[stream.topic]
    }

    /// The names of the declared topics. All are read, also those that no stream writes to any more.
    #[must_use]
    pub fn topic_names(&self) -> Vec<&str> {
        self.topics.iter().map(|t| t.name.as_str()).collect()
    }

    /// The transports that the declared routes take, in order.
    #[must_use]
    pub fn vias(&self) -> Vec<Via> {
        let routes = || self.streams.iter().flat_map(|s| &s.routes);
        let is_taken = |via: &Via| routes().any(|route| route.via == *via);
        Via::ALL.into_iter().filter(is_taken).collect()
    }

    /// The Unix socket of the process that produces.
    #[must_use]
    pub fn socket_of(&self, via: Via) -> &std::path::Path {
        match via {
            Via::Grpc => &self.kafka_producer.socket,
            Via::Wasm => &self.wasm_producer.socket,
        }
    }

    /// The stream called `name`.
    #[must_use]
    pub fn stream(&self, name: &str) -> Option<&Stream> {
        self.streams.iter().find(|s| s.name == name)
    }
}
