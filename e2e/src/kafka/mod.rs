//! What Kafka holds, and what may happen to it.

mod write;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use aguacero::{
    id::EventId,
    kafka::{Described, Topics, client_config},
    record::{HEADER, Header},
};
use consumer::poll::Committed;
use rdkafka::{
    ClientConfig, Message as _, Offset, TopicPartitionList,
    admin::{
        AdminClient, AdminOptions, AlterConfig, ConfigSource, NewTopic, ResourceSpecifier,
        TopicReplication,
    },
    client::DefaultClientContext,
    consumer::{BaseConsumer, CommitMode, Consumer as _},
    error::KafkaResult,
    message::Headers as _,
    types::RDKafkaErrorCode,
};
use tokio::task::spawn_blocking;

use crate::{DEADLINE, eventually};

const CALL_TIMEOUT: Duration = Duration::from_secs(20);
const FORGET_TIMEOUT: Duration = Duration::from_secs(3);
const POLL_TIMEOUT: Duration = Duration::from_secs(1);

/// A record, as any consumer would see it.
#[derive(Debug, Clone)]
pub struct Record {
    /// Its partition.
    pub partition: i32,
    /// Its offset there.
    pub offset: i64,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value.
    pub value: Vec<u8>,
    /// Milliseconds since 1970.
    pub timestamp: i64,
    /// Names and values.
    pub headers: Vec<(String, Vec<u8>)>,
}

impl Record {
    /// What the one header says.
    #[must_use]
    pub fn header(&self) -> Header<'_> {
        let ours: Vec<_> = self
            .headers
            .iter()
            .filter(|(name, _)| name == HEADER)
            .collect();
        assert_eq!(ours.len(), 1, "one header of ours: {self:?}");
        Header::read(&ours[0].1).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// The event's id.
    #[must_use]
    pub fn id(&self) -> EventId {
        self.header().id
    }

    /// The value as text.
    #[must_use]
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.value).expect("accepted events are UTF-8")
    }
}

/// The header of a record of `stream`.
#[must_use]
pub fn header(stream: &str, id: EventId) -> Vec<u8> {
    let mut bytes = Vec::new();
    Header {
        id,
        stream,
        client_key: b"",
    }
    .write(&mut bytes);
    bytes
}

/// Where a partition is, by the brokers' ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Negative if there is none at the moment.
    pub leader: i32,
    /// All that are to hold it.
    pub replicas: Vec<i32>,
    /// Those of them that have everything that is acknowledged.
    pub in_sync: Vec<i32>,
}

/// The brokers.
#[derive(Debug, Clone)]
pub struct Kafka {
    access: aguacero::config::Kafka,
}

impl Kafka {
    /// At `brokers`.
    #[must_use]
    pub fn new(brokers: &str) -> Self {
        Self::with(aguacero::config::Kafka {
            brokers: brokers.to_owned(),
            message_timeout: CALL_TIMEOUT,
            tls: None,
            sasl: None,
        })
    }

    /// The same by TLS and with a user, if `access` says so.
    #[must_use]
    pub fn with(access: aguacero::config::Kafka) -> Self {
        Self { access }
    }

    fn client(&self) -> ClientConfig {
        let mut config = client_config(&self.access, "e2e");
        config.set("log_level", "2");
        config
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.client().create().expect("an admin client")
    }

    /// Every record of a topic, by partition and offset.
    pub async fn records(&self, topic: &str) -> Vec<Record> {
        let (client, topic) = (self.client(), topic.to_owned());
        spawn_blocking(move || read(client, &topic))
            .await
            .expect("reading a topic")
    }

    /// How many records a topic holds.
    pub async fn count(&self, topic: &str) -> u64 {
        let ends = self.ends(topic).await;
        ends.values()
            .map(|(first, next)| (next - first) as u64)
            .sum()
    }

    /// The first and the next offset of each partition that holds any record.
    pub async fn ends(&self, topic: &str) -> BTreeMap<i32, (i64, i64)> {
        let (client, topic) = (self.client(), topic.to_owned());
        let ends = move || ends(&client.create().expect("a consumer"), &topic);
        spawn_blocking(ends).await.expect("reading offsets")
    }

    /// Where each partition of a topic is.
    pub async fn places(&self, topic: &str) -> BTreeMap<i32, Place> {
        let (client, topic) = (self.client(), topic.to_owned());
        let places = move || places(&client, Some(&topic));
        let all = spawn_blocking(places).await.expect("asking for metadata");
        all.into_iter().map(|((_, p), place)| (p, place)).collect()
    }

    /// Waits until every partition of every topic is in sync on all of its brokers.
    pub async fn in_sync(&self) {
        eventually("every replica in sync", async || {
            let client = self.client();
            let all = spawn_blocking(move || places(&client, None)).await;
            let mut all = all.expect("asking for metadata").into_iter();
            match all.find(|(_, p)| p.leader < 0 || p.in_sync.len() < p.replicas.len()) {
                Some(behind) => Err(format!("{behind:?}")),
                None => Ok(()),
            }
        })
        .await;
    }

    /// The topic as the broker has it, if it is there.
    pub async fn describe(&self, topic: &str) -> Option<Described> {
        let kafka = self.access.clone();
        let topic = topic.to_owned();
        let describe = move || {
            let topics = Topics::new(&kafka, "e2e").expect("an admin client");
            topics
                .describe(&[&topic])
                .expect("Kafka answers")
                .remove(&topic)
        };
        spawn_blocking(describe).await.expect("describing a topic")
    }

    /// Makes a topic of one replica, unless somebody was faster, and waits until it is there.
    pub async fn create(&self, topic: &str, partitions: i32) {
        self.create_on(topic, partitions, 1).await;
    }

    /// The same on so many brokers, of which all but one must have an event.
    pub async fn create_on(&self, topic: &str, partitions: i32, replicas: i32) {
        let min_insync = (replicas - 1).max(1).to_string();
        let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(replicas))
            .set("min.insync.replicas", &min_insync);
        eventually(&format!("topic {topic} made"), async || {
            let made = self
                .admin()
                .create_topics([&new], &options())
                .await
                .map_err(|e| e.to_string())?;
            match made.into_iter().next() {
                Some(Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
        eventually(&format!("topic {topic} there"), async || {
            self.describe(topic).await.ok_or("not yet".into())
        })
        .await;
    }

    /// Deletes a topic and makes it again. A process that starts in between may make it first.
    pub async fn recreate(&self, topic: &str, partitions: i32) {
        let before = self.describe(topic).await.map(|t| t.incarnation);
        let deleted = self
            .admin()
            .delete_topics(&[topic], &options())
            .await
            .expect("Kafka answers");
        assert!(deleted.iter().all(Result::is_ok), "{deleted:?}");
        eventually(&format!("topic {topic} gone"), async || {
            match self.describe(topic).await {
                Some(there) if Some(&there.incarnation) == before.as_ref() => {
                    Err(format!("{there:?}"))
                }
                _ => Ok(()),
            }
        })
        .await;
        self.create(topic, partitions).await;
    }

    /// Deletes what a partition has below `offset`, as retention does.
    pub async fn delete_records(&self, topic: &str, partition: i32, offset: i64) {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(offset))
            .expect("an offset");
        let deleted = self.admin().delete_records(&list, &options()).await;
        deleted.expect("Kafka answers");
    }

    /// Sets a configuration value of a topic, which the brokers follow from then on.
    pub async fn set(&self, topic: &str, key: &str, value: &str) {
        self.set_all(topic, &[(key, value)]).await;
    }

    /// Sets these, and what was set before to the broker's defaults.
    pub async fn set_all(&self, topic: &str, settings: &[(&str, &str)]) {
        let change = AlterConfig::new(ResourceSpecifier::Topic(topic));
        let change = settings
            .iter()
            .fold(change, |change, (key, value)| change.set(key, value));
        let set = self.admin().alter_configs([&change], &options()).await;
        let set = set.expect("Kafka answers");
        assert!(set.iter().all(Result::is_ok), "{set:?}");
        eventually(&format!("topic {topic} set to {settings:?}"), async || {
            let has = self.settings(topic).await;
            let mut each = settings.iter();
            match each.all(|(key, value)| has.get(*key).is_some_and(|v| v == value)) {
                true => Ok(()),
                false => Err(format!("{has:?}")),
            }
        })
        .await;
    }

    /// What a topic is set to itself, whatever the broker's defaults are.
    pub async fn settings(&self, topic: &str) -> BTreeMap<String, String> {
        let (admin, options) = (self.admin(), options());
        let resource = ResourceSpecifier::Topic(topic);
        let told = admin.describe_configs([&resource], &options).await;
        let told = told.expect("Kafka answers").into_iter().flatten();
        let own = told
            .flat_map(|t| t.entries)
            .filter(|e| e.source == ConfigSource::DynamicTopic);
        own.map(|e| (e.name, e.value.unwrap_or_default())).collect()
    }

    /// Deletes topics, without looking whether that succeeds.
    pub async fn forget(&self, topics: &[String]) {
        let names: Vec<_> = topics.iter().map(String::as_str).collect();
        _ = self
            .admin()
            .delete_topics(&names, &options().request_timeout(Some(FORGET_TIMEOUT)))
            .await;
    }

    /// How many records of a topic a group has not committed yet.
    pub async fn behind(&self, group: &str, topic: &str) -> u64 {
        let mut client = self.client();
        client.set("group.id", group);
        let topic = topic.to_owned();
        spawn_blocking(move || {
            let consumer: BaseConsumer = client.create().expect("a consumer");
            let ends = ends(&consumer, &topic);
            let mut partitions = TopicPartitionList::new();
            for partition in ends.keys() {
                partitions.add_partition(&topic, *partition);
            }
            let committed = consumer.committed_offsets(partitions, CALL_TIMEOUT);
            let committed = committed.expect("the group's offsets");
            let behind = ends.iter().map(|(partition, (first, next))| {
                let committed = committed.find_partition(&topic, *partition);
                let committed = committed.and_then(|c| c.offset().to_raw());
                next - committed.filter(|offset| *offset >= 0).unwrap_or(*first)
            });
            behind.map(|n| n.max(0) as u64).sum()
        })
        .await
        .expect("reading offsets")
    }

    /// Puts the offsets of a group without members to the beginning of a topic.
    pub async fn rewind(&self, group: &str, topic: &str) {
        let mut client = self.client();
        client.set("group.id", group);
        let topic = topic.to_owned();
        spawn_blocking(move || {
            let consumer: BaseConsumer = client.create().expect("a consumer");
            let mut offsets = TopicPartitionList::new();
            for (partition, (first, _)) in ends(&consumer, &topic) {
                offsets
                    .add_partition_offset(&topic, partition, Offset::Offset(first))
                    .expect("an offset");
            }
            consumer
                .commit(&offsets, CommitMode::Sync)
                .expect("a group without members takes any offsets");
        })
        .await
        .expect("rewinding a group");
    }

    /// What a group has committed of a partition.
    pub async fn committed(&self, group: &str, topic: &str, partition: i32) -> Committed {
        let mut client = self.client();
        client.set("group.id", group);
        let asked = [(topic.to_owned(), partition)];
        let ask = move || {
            let consumer: BaseConsumer = client.create().expect("a consumer");
            answer(|| consumer::poll::committed(&consumer, &asked))
        };
        let mut committed = spawn_blocking(ask).await.expect("asking for offsets");
        committed.remove(0)
    }
}

fn options() -> AdminOptions {
    AdminOptions::new()
        .request_timeout(Some(CALL_TIMEOUT))
        .operation_timeout(Some(CALL_TIMEOUT))
}

/// Asks until there is an answer: a broker that was short of processor time may have no leaders.
fn answer<T>(mut ask: impl FnMut() -> KafkaResult<T>) -> T {
    let began = Instant::now();
    loop {
        match ask() {
            Ok(answer) => return answer,
            Err(error) => assert!(began.elapsed() < DEADLINE, "Kafka does not answer: {error}"),
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn ends(consumer: &BaseConsumer, topic: &str) -> BTreeMap<i32, (i64, i64)> {
    let metadata = answer(|| consumer.fetch_metadata(Some(topic), CALL_TIMEOUT));
    let partitions = metadata
        .topics()
        .iter()
        .flat_map(|t| t.partitions())
        .map(|p| p.id());
    let ends = partitions.map(|p| {
        (
            p,
            answer(|| consumer.fetch_watermarks(topic, p, CALL_TIMEOUT)),
        )
    });
    ends.filter(|(_, (first, next))| next > first).collect()
}

fn places(client: &ClientConfig, topic: Option<&str>) -> BTreeMap<(String, i32), Place> {
    let consumer: BaseConsumer = client.create().expect("a consumer");
    let metadata = consumer
        .fetch_metadata(topic, CALL_TIMEOUT)
        .expect("Kafka answers");
    let topics = metadata.topics().iter();
    let partitions = topics.flat_map(|t| t.partitions().iter().map(|p| (t.name().to_owned(), p)));
    let place = |(topic, p): (String, &rdkafka::metadata::MetadataPartition)| {
        let place = Place {
            leader: p.leader(),
            replicas: p.replicas().to_vec(),
            in_sync: p.isr().to_vec(),
        };
        ((topic, p.id()), place)
    };
    partitions.map(place).collect()
}

fn read(mut client: ClientConfig, topic: &str) -> Vec<Record> {
    client
        .set("group.id", "e2e-reads-and-never-commits")
        .set("enable.auto.commit", "false");
    let consumer: BaseConsumer = client.create().expect("a consumer");
    let ends = ends(&consumer, topic);
    let mut assignment = TopicPartitionList::new();
    for (&partition, &(first, _)) in &ends {
        assignment
            .add_partition_offset(topic, partition, Offset::Offset(first))
            .expect("an offset");
    }
    consumer.assign(&assignment).expect("an assignment");
    let mut left: i64 = ends.values().map(|(first, next)| next - first).sum();
    let mut records = Vec::new();
    let mut deadline = Instant::now() + CALL_TIMEOUT;
    while left > 0 {
        let message = match consumer.poll(POLL_TIMEOUT) {
            Some(Ok(message)) => message,
            // Such as that a broker is away: others may have what is asked for.
            other => {
                assert!(Instant::now() < deadline, "{left} records left: {other:?}");
                continue;
            }
        };
        deadline = Instant::now() + CALL_TIMEOUT;
        if message.offset() >= ends[&message.partition()].1 {
            continue; // came after we looked
        }
        left -= 1;
        let headers = message.headers().into_iter().flat_map(|h| h.iter());
        records.push(Record {
            partition: message.partition(),
            offset: message.offset(),
            key: message.key().map(<[u8]>::to_vec),
            value: message.payload().unwrap_or_default().to_vec(),
            timestamp: message.timestamp().to_millis().unwrap_or_default(),
            headers: headers
                .map(|h| (h.key.to_owned(), h.value.unwrap_or_default().to_vec()))
                .collect(),
        });
    }
    records.sort_by_key(|r| (r.partition, r.offset));
    records
}
