//! What every test here needs: a topic, a group, a database and a stream of its own.

use std::{
    collections::HashMap,
    io::Write,
    process::{Child, Command},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant, SystemTime},
};

use aguacero::{
    config::{Config, Stream},
    counts::Deltas,
    id::EventId,
    kafka::{Topics, client_config},
    ledger::{self, Entry, Part, Position},
    record::{HEADER, Header},
    shutdown::{Shutdown, Trigger},
};
use bson::{Document, doc};
use consumer::App;
use futures_util::TryStreamExt;
use rdkafka::{
    Message as _, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, AlterConfig, NewPartitions, ResourceSpecifier},
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer},
    message::{Header as KafkaHeader, OwnedHeaders},
    producer::{BaseProducer, BaseRecord, Producer},
};
use redis::aio::MultiplexedConnection;
use tempfile::NamedTempFile;
use tokio::task::JoinHandle;

/// Long enough for a machine that compiles at the same time.
const DEADLINE: Duration = Duration::from_secs(60);

pub(crate) struct World {
    pub(crate) config: Config,
    toml: String,
    pub(crate) database: mongodb::Database,
    pub(crate) redis: MultiplexedConnection,
    producer: BaseProducer,
    sequence: u64,
}

/// Header and value of a record.
pub(crate) type Raw<'a> = (Option<&'a [u8]>, Option<&'a [u8]>);

/// A consumer that runs in this process.
pub(crate) struct Running {
    trigger: Trigger,
    task: JoinHandle<anyhow::Result<()>>,
}

/// A consumer in a process of its own; killed when it is dropped.
pub(crate) struct Process {
    child: Child,
    _config: NamedTempFile,
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!("{name} is not set: these tests need real services, run `make test`")
    })
}

impl World {
    pub(crate) async fn new(partitions: i32) -> Self {
        Self::with(partitions, "", "").await
    }

    /// `consumer` are more lines for `[consumer]`, `streams` more streams; `NAME` in them is replaced.
    pub(crate) async fn with(partitions: i32, consumer: &str, streams: &str) -> Self {
        if std::env::var_os("AGUACERO_LOG").is_some() {
            aguacero::telemetry::init("test");
        }
        _ = aguacero::telemetry::metrics(); // what is counted before has no figure
        static TESTS: AtomicU32 = AtomicU32::new(0);
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let test = TESTS.fetch_add(1, Ordering::Relaxed);
        let name = format!(
            "c{:x}-{:x}-{test}",
            now.as_micros() & 0xffff_ffff,
            std::process::id()
        );
        let toml = CONFIG.replace("CONSUMER", consumer) + streams;
        let toml = toml
            .replace("NAME", &name)
            .replace("PARTITIONS", &partitions.to_string());
        let environment = [
            ("AGUACERO_KAFKA_BROKERS", variable("AGUACERO_KAFKA_BROKERS")),
            ("AGUACERO_MONGODB_URI", variable("AGUACERO_MONGODB_URI")),
            ("AGUACERO_REDIS_URL", variable("AGUACERO_REDIS_URL")),
        ];
        let environment = environment.into_iter().map(|(k, v)| (k.to_owned(), v));
        let config = Config::parse(&toml, "test", environment).unwrap_or_else(|e| panic!("{e}"));
        let database = mongodb::Client::with_uri_str(&config.mongodb.uri)
            .await
            .unwrap()
            .database(&config.mongodb.database);
        let redis = ledger::connect(&config.redis, Duration::from_secs(10))
            .await
            .unwrap();
        let producer = client_config(&config.kafka, "test").create().unwrap();
        Topics::new(&config.kafka, "test")
            .unwrap()
            .ensure(&config.topics)
            .await
            .unwrap();
        Self {
            config,
            toml,
            database,
            redis,
            producer,
            sequence: 0,
        }
    }

    pub(crate) fn topic(&self) -> &str {
        &self.config.topics[0].name
    }

    pub(crate) fn stream(&self) -> &Stream {
        &self.config.streams[0]
    }

    pub(crate) fn archive(&self) -> mongodb::Collection<Document> {
        self.database.collection(&self.stream().archive)
    }

    pub(crate) async fn start(&self) -> Running {
        self.start_with(self.config.clone()).await
    }

    /// A named replica.
    pub(crate) async fn start_as(&self, instance: &str, config: &Config) -> Running {
        let mut config = config.clone();
        config.consumer.instance = Some(instance.to_owned());
        self.start_with(config).await
    }

    async fn start_with(&self, config: Config) -> Running {
        let app = App::build(config).await.unwrap();
        Running::of(|shutdown| app.run(shutdown))
    }

    /// A consumer in a process of its own, which can be killed.
    pub(crate) fn spawn(&self, instance: &str) -> Process {
        let (mut command, file) = command(&self.toml, &["run"]);
        command.env("AGUACERO_CONSUMER_INSTANCE", instance);
        Process::start((command, file))
    }

    /// The file that it was made from.
    pub(crate) fn toml(&self) -> &str {
        &self.toml
    }

    /// Puts records of the first stream into `partition`; says the offset of the last.
    pub(crate) fn send(&self, partition: i32, events: &[(EventId, &str)]) -> i64 {
        self.send_of(0, partition, events)
    }

    /// [`Self::send`], for the stream of this number.
    pub(crate) fn send_of(&self, stream: usize, partition: i32, events: &[(EventId, &str)]) -> i64 {
        let stream = &self.config.streams[stream];
        let records: Vec<_> = events
            .iter()
            .map(|(id, json)| (header(stream, *id), Some(json.as_bytes())))
            .collect();
        let records: Vec<_> = records
            .iter()
            .map(|(header, value)| (Some(&header[..]), *value))
            .collect();
        self.send_to(
            &self.config.topic_of(stream).name,
            partition,
            &records,
            None,
        )
    }

    /// [`Self::send_of`] of an event that arrived then: milliseconds since 1970.
    pub(crate) fn send_at(
        &self,
        stream: usize,
        partition: i32,
        at_ms: i64,
        (id, json): (EventId, &str),
    ) -> i64 {
        let header = header(&self.config.streams[stream], id);
        let record = (Some(&header[..]), Some(json.as_bytes()));
        self.send_to(self.topic(), partition, &[record], Some(at_ms))
    }

    /// Puts records into `partition` of the first topic as they are: header and value.
    pub(crate) fn send_raw(&self, partition: i32, records: &[Raw<'_>]) -> i64 {
        self.send_to(self.topic(), partition, records, None)
    }

    fn send_to(&self, topic: &str, partition: i32, records: &[Raw<'_>], at_ms: Option<i64>) -> i64 {
        for (header, value) in records {
            let mut headers = OwnedHeaders::new();
            if let Some(header) = header {
                headers = headers.insert(KafkaHeader {
                    key: HEADER,
                    value: Some(*header),
                });
            }
            let mut record = BaseRecord::<(), [u8]>::to(topic)
                .partition(partition)
                .headers(headers);
            record.payload = *value;
            record.timestamp = at_ms;
            while let Err((error, again)) = self.producer.send(record) {
                assert!(error.to_string().contains("QueueFull"), "{error}");
                self.producer.poll(Duration::from_millis(10));
                record = again;
            }
        }
        self.producer.flush(DEADLINE).unwrap();
        let topics = Topics::new(&self.config.kafka, "test").unwrap();
        topics.offsets(topic, partition).unwrap().1 - 1
    }

    pub(crate) fn position(&self, partition: i32) -> Position {
        let incarnation = self.incarnation().expect("the topic is there");
        Position {
            incarnation,
            partition,
        }
    }

    /// Puts records of several streams (by number) into `partition`, as they come; says the offset of the last.
    pub(crate) fn send_mixed(&self, partition: i32, events: &[(usize, EventId, &str)]) -> i64 {
        let header =
            |(stream, id, _): &(usize, EventId, &str)| header(&self.config.streams[*stream], *id);
        let headers: Vec<_> = events.iter().map(header).collect();
        let records: Vec<_> = headers
            .iter()
            .zip(events)
            .map(|(header, (.., json))| (Some(&header[..]), Some(json.as_bytes())))
            .collect();
        self.send_to(self.topic(), partition, &records, None)
    }

    /// Adds live what a gateway would have added for these records.
    pub(crate) async fn live(
        &mut self,
        position: Position,
        offsets: (i64, i64),
        countries: &[&str],
    ) {
        self.live_of(0, position, offsets, countries).await;
    }

    /// [`Self::live`], for the stream of this number.
    pub(crate) async fn live_of(
        &mut self,
        stream: usize,
        position: Position,
        (first, last): (i64, i64),
        countries: &[&str],
    ) {
        let mut deltas = Deltas::none(&self.config.streams[stream]);
        for country in countries {
            deltas.events += 1;
            *deltas.counters[0].entry((*country).to_owned()).or_default() += 1;
        }
        self.sequence += 1;
        let entries = vec![Entry {
            position,
            first,
            last,
            deltas,
        }];
        let part = Part {
            stream: &self.config.streams[stream],
            run: [7; 16],
            sequence: self.sequence,
            entries,
        };
        for applied in ledger::live(&mut self.redis, 1000, &[part]).await.unwrap() {
            applied.unwrap();
        }
    }

    pub(crate) async fn archived(&self) -> u64 {
        self.archive().count_documents(doc! {}).await.unwrap()
    }

    pub(crate) async fn dead_letters(&self) -> Vec<Document> {
        let letters = self
            .database
            .collection::<Document>(&self.config.mongodb.dead_letters);
        letters
            .find(doc! {})
            .sort(doc! { "_id": 1 })
            .await
            .unwrap()
            .try_collect()
            .await
            .unwrap()
    }

    /// Every document of `stream`.
    async fn documents_of(&self, stream: &Stream) -> Vec<Document> {
        let archive = self.database.collection::<Document>(&stream.archive);
        let of_stream = doc! { "_aguacero.stream": &stream.name };
        archive
            .find(of_stream)
            .await
            .unwrap()
            .try_collect()
            .await
            .unwrap()
    }

    /// What the archive holds of `stream`: how many documents, and how many of each country.
    pub(crate) async fn archive_counts(&self, stream: &Stream) -> (i64, HashMap<String, i64>) {
        let documents = self.documents_of(stream).await;
        let mut countries = HashMap::new();
        for country in documents
            .iter()
            .filter_map(|d| d.get_str("país").or(d.get_str("pais")).ok())
        {
            *countries.entry(country.to_owned()).or_default() += 1;
        }
        (documents.len() as i64, countries)
    }

    /// How many documents of `stream` the archive holds of each position, and up to which offset.
    pub(crate) async fn archived_by_position(
        &self,
        stream: &Stream,
    ) -> std::collections::BTreeMap<String, (i64, i64)> {
        let mut positions = std::collections::BTreeMap::new();
        for document in self.documents_of(stream).await {
            let ours = document.get_document("_aguacero").unwrap();
            let place = format!(
                "{}/{}",
                ours.get_str("incarnation").unwrap_or("?"),
                ours.get_i32("partition").unwrap_or(-1)
            );
            let (count, last) = positions.entry(place).or_insert((0, -1));
            *count += 1;
            *last = (*last).max(ours.get_i64("offset").unwrap_or(-1));
        }
        positions
    }

    /// What Redis shows of `stream`; keys at zero are as good as none.
    pub(crate) async fn shown(&self, stream: &Stream) -> (i64, HashMap<String, i64>) {
        let mut shown = ledger::shown(&mut self.redis.clone(), stream)
            .await
            .unwrap();
        let countries = shown.counters.swap_remove(0);
        (
            shown.events,
            countries.into_iter().filter(|(_, n)| *n != 0).collect(),
        )
    }

    /// Waits until the archive has `n` documents and Redis shows them.
    pub(crate) async fn settled(&self, n: i64) {
        eventually("Redis shows what the archive holds", async || {
            let mut sum = 0;
            for stream in &self.config.streams {
                let (archived, shown) =
                    (self.archive_counts(stream).await, self.shown(stream).await);
                if archived != shown {
                    return Err(format!("archive {archived:?}, Redis {shown:?}"));
                }
                sum += archived.0;
            }
            if sum == n {
                Ok(())
            } else {
                Err(format!("{sum} of {n}"))
            }
        })
        .await;
    }

    pub(crate) async fn has_archived(&self, n: i64) {
        eventually("the archive has every event", async || {
            let archived = self.archived().await;
            if archived == n as u64 {
                Ok(())
            } else {
                Err(format!("{archived} of {n}"))
            }
        })
        .await;
    }

    /// Somebody who knows the group's name and is no member.
    fn group(&self) -> BaseConsumer {
        let mut client = client_config(&self.config.kafka, "test");
        client
            .set("group.id", &self.config.consumer.group)
            .set("enable.auto.commit", "false")
            .create()
            .unwrap()
    }

    /// The next offset of `partition` that the group will read.
    pub(crate) fn committed(&self, partition: i32) -> Option<i64> {
        let consumer = self.group();
        let asked = [(self.topic().to_owned(), partition)];
        consumer::poll::committed(&consumer, &asked).unwrap()[0].next
    }

    pub(crate) async fn has_committed(&self, partition: i32, next: i64) {
        eventually("the offset is committed", async || {
            match self.committed(partition) {
                Some(at) if at == next => Ok(()),
                other => Err(format!("{other:?} instead of {next}")),
            }
        })
        .await;
    }

    /// Lets the group, which has no members now, begin at `offset` again.
    pub(crate) fn reset(&self, partition: i32, offset: i64) {
        self.commit(partition, offset, "");
    }

    /// Commits for the group, which has no members now, as if it had read `incarnation`.
    pub(crate) fn commit(&self, partition: i32, offset: i64, incarnation: &str) {
        let consumer = self.group();
        let mut list = TopicPartitionList::new();
        let mut element = list.add_partition(self.topic(), partition);
        element.set_offset(Offset::Offset(offset)).unwrap();
        element.set_metadata(incarnation);
        consumer.assign(&list).unwrap();
        consumer
            .commit(&list, rdkafka::consumer::CommitMode::Sync)
            .unwrap();
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        client_config(&self.config.kafka, "test").create().unwrap()
    }

    /// Until the broker does not know it any more.
    pub(crate) async fn delete_topic(&self) {
        let old = self.incarnation();
        assert!(old.is_some(), "there is no topic");
        let results = self
            .admin()
            .delete_topics(&[self.topic()], &AdminOptions::new())
            .await
            .unwrap();
        results.into_iter().next().unwrap().unwrap();
        eventually("the topic is gone", async || match self.incarnation() {
            now if now != old => Ok(()),
            now => Err(format!("{now:?}")),
        })
        .await;
    }

    /// Makes the topic again, and waits until the broker tells of it.
    pub(crate) async fn create_topic(&self) {
        let topics = Topics::new(&self.config.kafka, "test").unwrap();
        eventually("the topic is made again", async || {
            let made = topics.ensure(&self.config.topics[..1]).await;
            made.map_err(|e| e.to_string())?;
            self.incarnation().map(|_| ()).ok_or("not yet".to_owned())
        })
        .await;
    }

    /// Kafka's id of the first topic, if there is one now.
    fn incarnation(&self) -> Option<String> {
        let topics = Topics::new(&self.config.kafka, "test").unwrap();
        let described = topics.describe(&[self.topic()]).unwrap();
        described.get(self.topic()).map(|d| d.incarnation.clone())
    }

    /// Until the topic has `partitions`, and the producer knows.
    pub(crate) async fn add_partitions(&self, partitions: usize) {
        let more = NewPartitions::new(self.topic(), partitions);
        let results = self
            .admin()
            .create_partitions(&[more], &AdminOptions::new())
            .await
            .unwrap();
        results.into_iter().next().unwrap().unwrap();
        eventually("the partitions are there", async || {
            let client = self.producer.client();
            let known = client.fetch_metadata(Some(self.topic()), DEADLINE).unwrap();
            match known.topics()[0].partitions().len() {
                n if n == partitions => Ok(()),
                n => Err(format!("{n}")),
            }
        })
        .await;
    }

    /// Deletes Kafka's records below `offset`, as its retention would.
    pub(crate) async fn delete_records(&self, partition: i32, offset: i64) {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(self.topic(), partition, Offset::Offset(offset))
            .unwrap();
        self.admin()
            .delete_records(&list, &AdminOptions::new())
            .await
            .unwrap();
    }

    /// Gives the first topic these settings, and no others.
    pub(crate) async fn alter_topic(&self, settings: &[(&str, &str)]) {
        let change = AlterConfig::new(ResourceSpecifier::Topic(self.topic()));
        let change = settings
            .iter()
            .fold(change, |c, (name, value)| c.set(name, value));
        let options = AdminOptions::new();
        let altered = self.admin().alter_configs([&change], &options).await;
        assert!(altered.unwrap().iter().all(Result::is_ok));
    }

    /// The next offset of partition 0 of the first topic.
    pub(crate) fn end(&self) -> i64 {
        let topics = Topics::new(&self.config.kafka, "test").unwrap();
        topics.offsets(self.topic(), 0).unwrap().1
    }

    /// How many records of partition 0 of the first topic can be read.
    pub(crate) fn readable(&self) -> usize {
        let topics = Topics::new(&self.config.kafka, "test").unwrap();
        let (first, end) = topics.offsets(self.topic(), 0).unwrap();
        let consumer = self.group();
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(self.topic(), 0, Offset::Offset(first))
            .unwrap();
        consumer.assign(&list).unwrap();
        let (mut read, mut next) = (0, first);
        while next < end {
            let message = consumer.poll(DEADLINE).expect("a record").unwrap();
            (read, next) = (read + 1, message.offset() + 1);
        }
        read
    }

    /// A figure from `/metrics`, of the line that begins so.
    pub(crate) fn metric(line: &str) -> Option<f64> {
        let all = aguacero::telemetry::metrics().render();
        let found = all.lines().find(|l| l.starts_with(line))?;
        found.rsplit(' ').next()?.parse().ok()
    }
}

impl Running {
    /// What runs until the shutdown that it is given.
    pub(crate) fn of<F>(run: impl FnOnce(Shutdown) -> F) -> Self
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let (trigger, shutdown) = Shutdown::new();
        Self {
            trigger,
            task: tokio::spawn(run(shutdown)),
        }
    }

    pub(crate) async fn stop(self) {
        self.trigger.fire();
        tokio::time::timeout(DEADLINE, self.task)
            .await
            .expect("the consumer drains")
            .unwrap()
            .unwrap();
    }
}

impl Process {
    pub(crate) fn start((mut command, config): (Command, NamedTempFile)) -> Self {
        Self {
            child: command.spawn().unwrap(),
            _config: config,
        }
    }
}

/// `consumer VERB… --config` a file with this text, which goes with it.
pub(crate) fn command(toml: &str, verb: &[&str]) -> (Command, NamedTempFile) {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(toml.as_bytes()).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_consumer"));
    command.args(verb).arg("--config").arg(file.path());
    (command, file)
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let (database, stream) = (self.database.clone(), self.stream().clone());
        let (mut redis, handle) = (self.redis.clone(), tokio::runtime::Handle::current());
        if !std::thread::panicking() {
            tokio::task::block_in_place(|| {
                handle.block_on(async {
                    _ = database.drop().await;
                    _ = ledger::clear(&mut redis, &stream, None, None).await;
                    _ = self
                        .admin()
                        .delete_topics(&[self.topic()], &AdminOptions::new())
                        .await;
                });
            });
        }
    }
}

/// Empties Redis as far as it concerns this test: everything under the streams' tags.
pub(crate) async fn forget(world: &mut World) {
    for stream in world.config.streams.clone() {
        let cleared = ledger::clear(&mut world.redis, &stream, None, None).await;
        assert!(cleared.unwrap());
        let meta = format!("{{{}}}:meta", stream.name);
        let () = redis::cmd("DEL")
            .arg(meta)
            .query_async(&mut world.redis)
            .await
            .unwrap();
    }
}

/// The header of a record of `stream`.
pub(crate) fn header(stream: &Stream, id: EventId) -> Vec<u8> {
    let mut out = Vec::new();
    Header {
        id,
        stream: &stream.name,
        client_key: b"",
    }
    .write(&mut out);
    out
}

/// `n` events with ids of their own, of five countries.
pub(crate) fn events(n: u64) -> Vec<(EventId, String)> {
    const COUNTRIES: [&str; 5] = ["Perú", "Chile", "España", "México", "Corea del Sur"];
    let base = EventId::new_base();
    let event = |i: u64| {
        (
            base.plus(i),
            format!(
                r#"{{"texto":"llueve {i} ☔","país":"{}"}}"#,
                COUNTRIES[i as usize % 5]
            ),
        )
    };
    (0..n).map(event).collect()
}

/// As [`World::send`] takes them.
pub(crate) fn borrowed(events: &[(EventId, String)]) -> Vec<(EventId, &str)> {
    events
        .iter()
        .map(|(id, json)| (*id, json.as_str()))
        .collect()
}

/// Asks until the answer is yes, or tells what it was at the deadline.
pub(crate) async fn eventually<T>(
    what: &str,
    mut ask: impl AsyncFnMut() -> Result<T, String>,
) -> T {
    let started = Instant::now();
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(state) => assert!(
                started.elapsed() < DEADLINE,
                "not after {DEADLINE:?}: {what}: {state}"
            ),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A second stream, in the topic of this name.
pub(crate) fn second_stream(topic: &str) -> String {
    SECOND.replace("TOPIC", topic)
}

const SECOND: &str = r#"
[streams.NAME-b]
topic = "TOPIC"
archive = "events"
fields = [{ name = "país", type = "string" }]
counters = [{ name = "by_country", by = ["país"] }]
[[streams.NAME-b.routes]]
path = "/NAME-b"
via = "grpc"
"#;

const CONFIG: &str = r#"
[topics.NAME]
partitions = PARTITIONS
replication = 1
min_insync = 1

[streams.NAME]
topic = "NAME"
archive = "events"
fields = [
  { name = "texto", aliases = ["text"], type = "string" },
  { name = "país", aliases = ["pais", "country"], type = "string" },
]
counters = [{ name = "by_country", by = ["país"] }]
[[streams.NAME.routes]]
path = "/NAME"
via = "grpc"

[mongodb]
database = "test-NAME"

[consumer]
admin = "127.0.0.1:0"
group = "NAME"
CONSUMER
"#;
