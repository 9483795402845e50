//! The poll loop with a sink that does as it is told, on librdkafka's own mock of a cluster, which can be
//! made to refuse what a real broker hardly ever refuses.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::Duration,
};

use aguacero::{
    config::Config,
    kafka::{Described, Topics, client_config},
    shutdown::{Shutdown, Trigger},
};
use consumer::{
    batch::Batch,
    poll::{Assigned, Committed, Incarnations, Poller, committed},
    sink::{Outcome, Sink},
};
use rdkafka::{
    bindings::rd_kafka_resp_err_t as Error,
    consumer::BaseConsumer,
    mocking::MockCluster,
    producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer as _},
    types::RDKafkaApiKey,
};
use tokio::{
    sync::{Semaphore, watch},
    time::timeout,
};

/// Longer than anything takes here.
const TIMEOUT: Duration = Duration::from_secs(60);
/// The topic, and the group.
const NAME: &str = "t";

/// Takes what it is given, and finishes a batch when it is let.
struct Slow {
    /// First and last offset of each batch that it was given.
    given: Mutex<Vec<(i64, i64)>>,
    told: watch::Sender<()>,
    let_through: Semaphore,
}

impl Sink for Slow {
    async fn write(&self, batch: Batch) -> Outcome {
        let offsets = batch.first().zip(batch.last()).unwrap();
        self.given.lock().unwrap().push(offsets);
        self.told.send_replace(());
        self.let_through.acquire().await.unwrap().forget();
        Outcome::Finished
    }
}

struct Bench {
    cluster: MockCluster<'static, DefaultProducerContext>,
    config: Arc<Config>,
}

struct Running {
    sink: Arc<Slow>,
    assigned: watch::Receiver<Assigned>,
    trigger: Trigger,
    thread: JoinHandle<()>,
}

impl Bench {
    fn new() -> Self {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic(NAME, 1, 1).unwrap();
        let toml = format!(
            "[kafka]\nbrokers = \"{}\"\n[consumer]\ngroup = \"{NAME}\"\n[topics.{NAME}]\npartitions = 1\n\
             [streams.s]\ntopic = \"{NAME}\"\n[[streams.s.routes]]\npath = \"/s\"\n",
            cluster.bootstrap_servers()
        );
        let config = Arc::new(Config::parse(&toml, "test", []).unwrap());
        Self { cluster, config }
    }

    fn send(&self, records: usize) {
        let producer: BaseProducer = client_config(&self.config.kafka, "test").create().unwrap();
        for _ in 0..records {
            let record = BaseRecord::<(), str>::to(NAME).partition(0).payload("{}");
            producer.send(record).map_err(|(e, _)| e).unwrap();
        }
        producer.flush(TIMEOUT).unwrap();
    }

    fn start(&self) -> Running {
        let sink = Arc::new(Slow {
            given: Mutex::default(),
            told: watch::Sender::new(()),
            let_through: Semaphore::new(0),
        });
        let topics = Arc::new(Topics::new(&self.config.kafka, "test").unwrap());
        let described = Described {
            replicas: 1,
            in_sync: vec![1],
            min_insync: 1,
            incarnation: "i".into(),
            partitions: 1,
            batch_bytes_max: 0,
        };
        let first = HashMap::from([(NAME.to_owned(), described)]);
        let incarnations = Incarnations::new(topics, vec![NAME.to_owned()], first);
        let (assigned_sender, assigned) = watch::channel(Assigned::default());
        let (trigger, shutdown) = Shutdown::new();
        let poller = Poller::new(
            self.config.clone(),
            sink.clone(),
            Arc::new(incarnations),
            assigned_sender,
            shutdown,
        );
        let poller = poller.unwrap();
        let thread = std::thread::spawn(move || poller.run().unwrap().unwrap());
        Running {
            sink,
            assigned,
            trigger,
            thread,
        }
    }

    /// The next offset that the group will read.
    fn committed(&self) -> Option<i64> {
        let consumer: BaseConsumer = client_config(&self.config.kafka, "test")
            .set("group.id", NAME)
            .create()
            .unwrap();
        let asked = [(NAME.to_owned(), 0)];
        let [Committed { next, .. }] = &committed(&consumer, &asked).unwrap()[..] else {
            panic!("one partition, one answer");
        };
        *next
    }

    async fn has_committed(&self, next: i64) {
        let committed = async {
            while self.committed() != Some(next) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let in_time = timeout(TIMEOUT, committed).await;
        in_time.unwrap_or_else(|_| panic!("{:?} instead of {next}", self.committed()));
    }
}

impl Running {
    /// Waits until the sink was given the record at `offset`; says where the first batch began.
    async fn was_given(&self, offset: i64) -> i64 {
        let mut told = self.sink.told.subscribe();
        let given = async {
            loop {
                told.mark_unchanged();
                let given = self.sink.given.lock().unwrap().clone();
                if given.iter().any(|(_, last)| *last >= offset) {
                    return given[0].0;
                }
                told.changed().await.unwrap();
            }
        };
        timeout(TIMEOUT, given).await.expect("the sink is given it")
    }

    /// Waits until the poll loop had `n` occasions to commit.
    async fn ticks(&mut self, n: usize) {
        for _ in 0..n {
            let tick = self.assigned.changed();
            timeout(TIMEOUT, tick).await.expect("it goes on").unwrap();
        }
    }

    fn finish(&self, batches: usize) {
        self.sink.let_through.add_permits(batches);
    }

    async fn stop(self) {
        self.trigger.fire();
        let joined = tokio::task::spawn_blocking(|| self.thread.join());
        timeout(TIMEOUT, joined)
            .await
            .expect("it ends")
            .unwrap()
            .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offset_is_committed_only_when_every_record_below_it_is_finished() {
    let bench = Bench::new();
    bench.send(10);
    let mut running = bench.start();
    running.was_given(0).await;
    bench.send(5); // these wait behind the batch that the sink has
    running.ticks(4).await;
    assert_eq!(bench.committed(), None, "nothing is finished");
    running.finish(1);
    running.was_given(14).await;
    let before = running.sink.given.lock().unwrap()[0].1 + 1;
    bench.has_committed(before).await;
    running.ticks(3).await;
    let finished = running.sink.given.lock().unwrap().len() as i64 - 1;
    assert!(
        bench.committed() < Some(15),
        "{finished} batches are finished"
    );
    running.finish(100);
    bench.has_committed(15).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_fails_twice_is_sent_a_third_time() {
    let bench = Bench::new();
    bench.send(3);
    let running = bench.start();
    running.was_given(2).await;
    let refused = [Error::RD_KAFKA_RESP_ERR_INVALID_COMMIT_OFFSET_SIZE; 2];
    bench
        .cluster
        .request_errors(RDKafkaApiKey::OffsetCommit, &refused);
    running.finish(100);
    bench.has_committed(3).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn committed_offsets_that_cannot_be_read_twice_are_asked_for_a_third_time() {
    let bench = Bench::new();
    bench.send(3);
    let running = bench.start();
    running.finish(100);
    bench.has_committed(3).await;
    running.stop().await;
    let refused = [Error::RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED; 2];
    bench
        .cluster
        .request_errors(RDKafkaApiKey::OffsetFetch, &refused);
    bench.send(2);
    let running = bench.start();
    assert_eq!(running.was_given(4).await, 3, "it goes on where it was");
    running.finish(100);
    bench.has_committed(5).await;
    running.stop().await;
}
