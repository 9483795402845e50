//! What a broker may answer, and a producer that fails for good: on librdkafka's own mock of a cluster,
//! since a real broker can hardly be made to say these things.

use std::collections::HashMap;

use aguacero::kafka::Described;
use aguacero_proto::produce::{Receipt, Request};
use bytes::Bytes;
use rdkafka::{
    Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier},
    bindings::{rd_kafka_resp_err_t as Error, rd_kafka_test_fatal_error},
    consumer::{BaseConsumer, Consumer as _},
    mocking::MockCluster,
    producer::DefaultProducerContext,
    types::RDKafkaApiKey,
};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::*;
use crate::client::Clients;

/// Longer than anything takes here.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
/// When librdkafka gives a record up.
const MESSAGE_TIMEOUT: Duration = Duration::from_millis(1500);

pub(super) fn slab(id: u64, topic: &str, values: &[&str]) -> Slab {
    let ends = values.iter().scan(0, |end, value| {
        *end += value.len() as u32;
        Some(*end)
    });
    Slab {
        id,
        topic: topic.into(),
        partition: 0,
        values: values.concat().into(),
        ends: ends.collect(),
        streams: vec!["s".into()],
        requests: vec![Request {
            events: values.len() as u32,
            ..Request::default()
        }],
        ..Slab::default()
    }
}

/// Of a topic with one partition on one broker.
pub(super) fn config(brokers: &str, topic: &str) -> Config {
    let toml = format!(
        "[kafka]\nbrokers = \"{brokers}\"\n[topics.{topic}]\npartitions = 1\nreplication = 1\nmin_insync = 1\n\
         [streams.s]\ntopic = \"{topic}\"\n[[streams.s.routes]]\npath = \"/s\"\n"
    );
    Config::parse(&toml, "test", []).unwrap()
}

/// A topic with one partition and so many replicas of it, all in sync as far as anybody waits for them.
pub(super) fn known(topic: &str, replicas: usize) -> Known {
    let described = Described {
        replicas,
        in_sync: vec![1],
        min_insync: 1,
        incarnation: "i".into(),
        partitions: 1,
        batch_bytes_max: 1_000_000,
    };
    Known::new(HashMap::from([(topic.to_owned(), described)]))
}

struct Bench {
    cluster: MockCluster<'static, DefaultProducerContext>,
    producers: Arc<Producers>,
    clients: Clients,
    topics: Known,
    sender: UnboundedSender<Receipt>,
    receipts: UnboundedReceiver<Receipt>,
    next: u64,
}

impl Bench {
    fn new() -> Self {
        Self::with_replicas(1)
    }

    /// Of a topic that is said to have so many.
    fn with_replicas(replicas: usize) -> Self {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic("t", 1, 1).unwrap();
        let mut config = config(&cluster.bootstrap_servers(), "t");
        config.kafka.message_timeout = MESSAGE_TIMEOUT;
        let topics = known("t", replicas);
        let (sender, receipts) = unbounded_channel();
        let producers = Arc::new(Producers::new(&config, topics.clone()).unwrap());
        Self {
            clients: Clients::of(producers.clone(), topics.clone()),
            topics,
            producers,
            cluster,
            sender,
            receipts,
            next: 0,
        }
    }

    /// The topic was looked at: so many replicas are in sync, of those that an event must have.
    fn found(&self, in_sync: usize, min_insync: usize) {
        let mut topics = self.topics.topics.write().unwrap();
        let topic = topics.get_mut("t").unwrap();
        (topic.in_sync, topic.min_insync) = (vec![in_sync], min_insync);
    }

    /// Produces a slab with these values.
    fn produce(&mut self, values: &[&str]) -> u64 {
        self.next += 1;
        let slab = slab(self.next, "t", values);
        self.clients.produce(slab, Bytes::new(), &self.sender);
        self.next
    }

    async fn receipt(&mut self) -> Receipt {
        let receipt = tokio::time::timeout(PATIENCE, self.receipts.recv()).await;
        receipt.expect("a receipt in time").unwrap()
    }

    /// The outcome of a slab that has one for all of its records.
    async fn outcome(&mut self, slab: u64) -> Outcome {
        let receipt = self.receipt().await;
        assert_eq!((receipt.slab, &receipt.exceptions[..]), (slab, &[][..]));
        receipt.outcome()
    }

    /// A slab is stored, as soon as the producer in use takes it: until then it is told as not stored.
    async fn goes_on(&mut self, value: &str) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let slab = self.produce(&[value]);
            match self.outcome(slab).await {
                Outcome::Stored => return,
                Outcome::NotStored => {}
                other => panic!("{other:?}"),
            }
            assert!(tokio::time::Instant::now() < deadline, "never stored");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn fail_produce(&self, error: Error, times: usize) {
        let errors = vec![error; times];
        self.cluster.request_errors(RDKafkaApiKey::Produce, &errors);
    }

    fn producer(&self) -> Arc<BaseProducer<Context>> {
        Arc::clone(&self.producers.current.read().unwrap())
    }

    /// Makes the producer in use fail for good; it is let go of when the last report has come.
    #[allow(unsafe_code)]
    fn break_producer(&self) -> std::sync::Weak<BaseProducer<Context>> {
        let producer = self.producer();
        let error = Error::RD_KAFKA_RESP_ERR_INVALID_PRODUCER_ID_MAPPING;
        // SAFETY: the client is alive, and the text ends with a NUL and is copied.
        unsafe {
            rd_kafka_test_fatal_error(producer.client().native_ptr(), error, c"a test".as_ptr())
        };
        Arc::downgrade(&producer)
    }

    /// The values in the only topic.
    async fn log(&self) -> Vec<String> {
        log(self.cluster.bootstrap_servers(), "t").await
    }
}

/// The values in a topic's only partition.
pub(super) async fn log(brokers: String, topic: &str) -> Vec<String> {
    let topic = topic.to_owned();
    let read = move || {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("group.id", "test")
            .create()
            .unwrap();
        let (_, end) = consumer.fetch_watermarks(&topic, 0, PATIENCE).unwrap();
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&topic, 0, Offset::Beginning)
            .unwrap();
        consumer.assign(&list).unwrap();
        let mut values = Vec::new();
        let deadline = std::time::Instant::now() + PATIENCE;
        while (values.len() as i64) < end {
            match consumer.poll(Duration::from_secs(1)) {
                Some(Ok(record)) => {
                    values.push(String::from_utf8(record.payload().unwrap().to_vec()).unwrap());
                }
                // Such as that the broker did not answer at once.
                other => assert!(std::time::Instant::now() < deadline, "{other:?}"),
            }
        }
        values
    };
    tokio::task::spawn_blocking(read).await.unwrap()
}

#[tokio::test]
async fn after_a_fatal_error_what_was_on_its_way_is_unknown_and_the_stream_goes_on() {
    let mut b = Bench::new();
    b.goes_on("before").await;
    for round in 0..2 {
        b.cluster
            .broker_round_trip_time(-1, Duration::from_millis(700))
            .unwrap();
        // What has not left yet is told as not stored: until one is on its way.
        for attempt in 1.. {
            let slab = b.produce(&["a", "b"]);
            tokio::time::sleep(Duration::from_millis(20 * attempt)).await;
            let broken = b.break_producer();
            let outcome = b.outcome(slab).await;
            let gone = async {
                while broken.strong_count() > 0 {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            let gone = tokio::time::timeout(PATIENCE, gone).await;
            gone.expect("the failed producer is let go of");
            match outcome {
                Outcome::Unknown => break,
                Outcome::NotStored if attempt < 20 => {}
                other => panic!("round {round}, attempt {attempt}: {other:?}"),
            }
        }
        b.cluster
            .broker_round_trip_time(-1, Duration::ZERO)
            .unwrap();
        b.goes_on("after").await;
    }
    let log = b.log().await;
    let of = |value: &str| log.iter().filter(|v| *v == value).count();
    assert_eq!((of("before"), of("after")), (1, 2), "{log:?}");
    assert!(of("a") <= 2 && of("b") <= 2, "{log:?}");
}

#[tokio::test]
async fn a_fatal_error_with_nothing_on_its_way_costs_no_record() {
    let mut b = Bench::new();
    for round in 0..3 {
        b.goes_on(&round.to_string()).await;
        b.break_producer();
    }
    b.goes_on("last").await;
    assert_eq!(b.log().await, ["0", "1", "2", "last"]);
}

/// The status that librdkafka gives a record decides, not the error's name.
#[tokio::test]
async fn what_a_broker_refuses_for_long_is_not_stored_only_if_that_is_certain() {
    for (error, expected) in [
        (
            Error::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
            Outcome::NotStored,
        ),
        (
            Error::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
            Outcome::NotStored,
        ),
        (
            Error::RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR,
            Outcome::NotStored,
        ),
        (
            Error::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
            Outcome::NotStored,
        ),
        (
            Error::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE,
            Outcome::NotStored,
        ),
        (
            Error::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND,
            Outcome::Unknown,
        ),
        (Error::RD_KAFKA_RESP_ERR_UNKNOWN, Outcome::Unknown),
        (Error::RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT, Outcome::Unknown),
        (Error::RD_KAFKA_RESP_ERR__TRANSPORT, Outcome::Unknown),
    ] {
        let mut b = Bench::new();
        b.goes_on("before").await;
        b.fail_produce(error, 10_000);
        let slab = b.produce(&["a", "b"]);
        assert_eq!(b.outcome(slab).await, expected, "{error:?}");
        b.cluster.clear_request_errors(RDKafkaApiKey::Produce);
        b.goes_on("after").await;
        let log = b.log().await;
        assert_eq!(log, ["before", "after"], "{error:?}");
    }
}

/// It may have reached the replicas before the leader gave its partition up, whatever happens then.
#[tokio::test]
async fn what_a_leader_of_others_disowns_nobody_knows_whatever_ends_it() {
    for error in [
        Error::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
        Error::RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR,
        Error::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
    ] {
        let mut b = Bench::with_replicas(3);
        b.goes_on("before").await;
        b.fail_produce(error, 10_000);
        let slab = b.produce(&["a"]);
        assert_eq!(b.outcome(slab).await, Outcome::Unknown, "{error:?}");
    }
}

#[tokio::test]
async fn what_a_broker_refuses_twice_is_sent_again_as_it_was_and_stored_once() {
    for error in [
        Error::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
        Error::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND,
        Error::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
        Error::RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR,
        Error::RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
        Error::RD_KAFKA_RESP_ERR__TRANSPORT,
    ] {
        let mut b = Bench::new();
        b.goes_on("before").await;
        b.fail_produce(error, 2);
        // One record, and so one batch: from a second one that is stored librdkafka would conclude that
        // the first is, which would be an unknown outcome.
        let slab = b.produce(&["a"]);
        assert_eq!(b.outcome(slab).await, Outcome::Stored, "{error:?}");
        assert_eq!(b.log().await, ["before", "a"], "{error:?}");
    }
}

/// In a batch of several, librdkafka makes up offsets from -1 on.
#[tokio::test]
async fn a_duplicate_sequence_number_does_not_make_a_batch_stored() {
    let mut b = Bench::new();
    for _ in 0..5 {
        b.goes_on("before").await; // so that the offsets there are others
    }
    b.fail_produce(Error::RD_KAFKA_RESP_ERR_DUPLICATE_SEQUENCE_NUMBER, 100);
    for _ in 0..20 {
        let slab = b.produce(&["a", "b", "c"]);
        assert_eq!(b.outcome(slab).await, Outcome::Unknown);
    }
    b.cluster.clear_request_errors(RDKafkaApiKey::Produce);
    b.goes_on("after").await;
    assert_eq!(b.log().await[5..], ["after"]);
}

#[tokio::test]
async fn a_broken_sequence_is_never_told_as_not_stored_and_the_stream_goes_on() {
    let mut b = Bench::new();
    b.goes_on("before").await;
    b.fail_produce(Error::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, 1);
    let slab = b.produce(&["a"]);
    let outcome = b.outcome(slab).await;
    assert!(
        matches!(outcome, Outcome::Unknown | Outcome::Stored),
        "{outcome:?}"
    );
    b.goes_on("after").await;
}

/// On the real broker: it refuses the whole batch, in which the others are only by chance.
#[tokio::test]
async fn beyond_a_limit_that_was_lowered_an_event_is_too_large_and_its_neighbours_are_not() {
    let brokers = std::env::var("AGUACERO_KAFKA_BROKERS")
        .expect("AGUACERO_KAFKA_BROKERS is not set: this test needs a real Kafka, run `make test`");
    let topic = format!("producer-{}", std::process::id());
    let config = config(&brokers, &topic);
    let (_trigger, shutdown) = aguacero::shutdown::Shutdown::new();
    let topics = crate::topics::watch(std::sync::Arc::new(config.clone()), shutdown)
        .await
        .unwrap()
        .unwrap();
    let producers = Producers::new(&config, topics.clone()).unwrap();
    let clients = Clients::of(Arc::new(producers), topics);
    let (sender, mut receipts) = unbounded_channel();
    let big = "x".repeat(50_000);
    let mut next = 0;
    let mut outcomes = async |values: &[&str]| -> Vec<Outcome> {
        next += 1;
        clients.produce(slab(next, &topic, values), Bytes::new(), &sender);
        let receipt: Receipt = tokio::time::timeout(PATIENCE, receipts.recv())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(receipt.slab, next);
        let of = |i| receipt.exceptions.iter().find(|e| e.index as usize == i);
        let outcome = |i| of(i).map_or(receipt.outcome(), |e| e.outcome());
        (0..values.len()).map(outcome).collect()
    };
    assert_eq!(outcomes(&["a", &big, "a"]).await, [Outcome::Stored; 3]);

    let admin: AdminClient<_> = kafka::client_config(&config.kafka, "test")
        .create()
        .unwrap();
    let lowered = AlterConfig::new(ResourceSpecifier::Topic(&topic))
        .set("max.message.bytes", "20000")
        .set("min.insync.replicas", "1");
    let altered = admin
        .alter_configs([&lowered], &AdminOptions::new())
        .await
        .unwrap();
    altered.into_iter().for_each(|topic| _ = topic.unwrap());

    let deadline = tokio::time::Instant::now() + PATIENCE;
    let (mut stored, mut is_refused) = (1, false);
    loop {
        let [before, large, after] = outcomes(&["a", &big, "a"]).await[..] else {
            panic!("three records, three outcomes");
        };
        for small in [before, after] {
            assert!(
                matches!(small, Outcome::Stored | Outcome::NotStored),
                "{small:?}"
            );
        }
        match large {
            Outcome::TooLarge => break,
            Outcome::NotStored => is_refused = true,
            Outcome::Stored if !is_refused => stored += 1, // the broker has not heard of it yet
            other => panic!("{other:?}"),
        }
        assert!(
            tokio::time::Instant::now() < deadline,
            "the new limit is never known"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(
        outcomes(&["a"]).await,
        [Outcome::Stored],
        "the partition goes on"
    );

    let values = log(brokers, &topic).await;
    let large = values.iter().filter(|value| **value == big).count();
    assert_eq!(large, stored, "what was refused is not there");
    _ = admin.delete_topics(&[&topic], &AdminOptions::new()).await;
}

#[tokio::test]
async fn what_a_partition_cannot_take_is_refused_before_it_leaves() {
    let mut b = Bench::with_replicas(3);
    b.goes_on("before").await;
    for in_sync in [0, 1] {
        b.found(in_sync, 2);
        let slab = b.produce(&["a", "b"]);
        assert_eq!(b.outcome(slab).await, Outcome::NotStored);
    }
    b.found(2, 2);
    b.goes_on("after").await;
    assert_eq!(b.log().await, ["before", "after"]);
}
