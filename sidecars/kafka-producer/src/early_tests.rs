//! A batch that a real broker refuses because it comes too early, and the one behind it that comes just in
//! time: what librdkafka makes of that, and what we do (`docs/decisions/0017`).

use std::{collections::HashMap, io, net::SocketAddr};

use aguacero::kafka::{Described, Topics};
use rdkafka::{
    Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer as _},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{
        Semaphore,
        mpsc::{UnboundedReceiver, unbounded_channel},
        watch,
    },
};

use super::{
    tests::{PATIENCE, config, slab},
    *,
};

/// Of a produce request, in the protocol.
const PRODUCE: i16 = 0;

/// What has gone through.
#[derive(Default, Clone, Copy)]
struct Counts {
    /// Produce requests that have come.
    produced: usize,
    /// Those of them that were passed on.
    passed: usize,
    /// Requests of any kind that were passed on and are not answered.
    unanswered: usize,
}

/// A proxy before the broker that lets produce requests through one by one.
struct Gate {
    counts: watch::Sender<Counts>,
    /// One for each produce request that may pass.
    passes: Semaphore,
    broker: SocketAddr,
}

impl Gate {
    /// Listens where the broker sends its clients to.
    async fn open() -> (Arc<Self>, SocketAddr) {
        let state = std::env::var("AGUACERO_SERVICES_STATE").expect(
            "this test needs a Kafka that scripts/services has started, and AGUACERO_SERVICES_STATE is not set: run `make test`",
        );
        let state = std::fs::read(state).unwrap();
        let state: serde_json::Value = serde_json::from_slice(&state).unwrap();
        let port = |key| state["services"]["kafka"]["wire"][key].as_u64().unwrap() as u16;
        let [from, broker] =
            ["from", "to"].map(|key| SocketAddr::from(([127, 0, 0, 1], port(key))));
        let gate = Arc::new(Self {
            counts: watch::channel(Counts::default()).0,
            passes: Semaphore::new(0),
            broker,
        });
        let listener = TcpListener::bind(from).await.unwrap();
        let listening = Arc::clone(&gate);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let broker = TcpStream::connect(listening.broker).await.unwrap();
                let (from_client, to_client) = client.into_split();
                let (from_broker, to_broker) = broker.into_split();
                let (sender, requests) = unbounded_channel();
                tokio::spawn(Arc::clone(&listening).take_in(from_client, sender));
                tokio::spawn(Arc::clone(&listening).pass_on(requests, to_broker));
                tokio::spawn(Arc::clone(&listening).answer(from_broker, to_client));
            }
        });
        (gate, from)
    }

    async fn take_in(self: Arc<Self>, mut client: OwnedReadHalf, sender: UnboundedSender<Vec<u8>>) {
        while let Ok(request) = frame(&mut client).await {
            self.count(|c| c.produced += usize::from(is_produce(&request)));
            _ = sender.send(request);
        }
    }

    async fn pass_on(
        self: Arc<Self>,
        mut requests: UnboundedReceiver<Vec<u8>>,
        mut broker: OwnedWriteHalf,
    ) {
        while let Some(request) = requests.recv().await {
            if is_produce(&request) {
                self.passes.acquire().await.unwrap().forget();
            }
            self.count(|c| {
                c.passed += usize::from(is_produce(&request));
                c.unanswered += 1;
            });
            _ = broker.write_all(&request).await;
        }
    }

    async fn answer(self: Arc<Self>, mut broker: OwnedReadHalf, mut client: OwnedWriteHalf) {
        while let Ok(answer) = frame(&mut broker).await {
            _ = client.write_all(&answer).await;
            self.count(|c| c.unanswered -= 1);
        }
    }

    fn count(&self, change: impl FnOnce(&mut Counts)) {
        self.counts.send_modify(change);
    }

    /// Waits until so many produce requests have come.
    async fn has_come(&self, produced: usize) {
        self.until(|counts| counts.produced >= produced).await;
    }

    /// Lets one produce request through, and waits until the broker has answered it.
    async fn pass_one(&self) {
        let before = self.counts.borrow().passed;
        self.passes.add_permits(1);
        self.until(|counts| counts.passed > before && counts.unanswered == 0)
            .await;
    }

    async fn until(&self, holds: impl Fn(Counts) -> bool) {
        let mut counts = self.counts.subscribe();
        let waiting = counts.wait_for(|counts| holds(*counts));
        let waited = tokio::time::timeout(PATIENCE, waiting).await;
        _ = waited.expect("the requests come and are answered").unwrap();
    }
}

/// A message of the protocol: its length, and what follows.
async fn frame(stream: &mut OwnedReadHalf) -> io::Result<Vec<u8>> {
    let length = stream.read_u32().await?;
    let mut frame = length.to_be_bytes().to_vec();
    frame.resize(4 + length as usize, 0);
    stream.read_exact(&mut frame[4..]).await?;
    Ok(frame)
}

fn is_produce(request: &[u8]) -> bool {
    request[4..6] == PRODUCE.to_be_bytes()
}

/// The real broker, asked directly.
struct Broker {
    admin: AdminClient<DefaultClientContext>,
    topics: Topics,
    config: ClientConfig,
    topic: String,
}

impl Broker {
    fn new(topic: &str) -> Self {
        let brokers = std::env::var("AGUACERO_KAFKA_BROKERS").expect("a Kafka: run `make test`");
        let kafka = config(&brokers, topic).kafka;
        let config = kafka::client_config(&kafka, "test");
        Self {
            admin: config.create().unwrap(),
            topics: Topics::new(&kafka, "test").unwrap(),
            config,
            topic: topic.to_owned(),
        }
    }

    /// Makes the topic, and waits until its partition can be read from, which is when it can be written to.
    async fn make(&self) {
        let new = NewTopic::new(&self.topic, 1, TopicReplication::Fixed(1));
        let made = self.admin.create_topics([&new], &AdminOptions::new()).await;
        assert!(made.unwrap()[0].is_ok());
        let consumer: BaseConsumer = self.config.create().unwrap();
        until(|| consumer.fetch_watermarks(&self.topic, 0, PATIENCE).is_ok()).await;
    }

    async fn delete(&self) {
        let names = [self.topic.as_str()];
        let deleted = self.admin.delete_topics(&names, &AdminOptions::new()).await;
        assert!(deleted.unwrap()[0].is_ok());
        until(|| self.topics.describe(&names).unwrap().is_empty()).await;
    }

    /// What the topic holds.
    fn log(&self) -> Vec<String> {
        let mut config = self.config.clone();
        let consumer: BaseConsumer = config.set("group.id", "test").create().unwrap();
        let (_, end) = consumer.fetch_watermarks(&self.topic, 0, PATIENCE).unwrap();
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&self.topic, 0, Offset::Beginning)
            .unwrap();
        consumer.assign(&list).unwrap();
        let value = |_| {
            let record = consumer.poll(PATIENCE).expect("a record in time").unwrap();
            String::from_utf8(record.payload().unwrap().to_vec()).unwrap()
        };
        (0..end).map(value).collect()
    }
}

async fn until(mut holds: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !holds() {
        assert!(tokio::time::Instant::now() < deadline, "not in time");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_came_too_early_is_not_told_as_stored_because_the_one_behind_it_came_in_time()
{
    let topic = format!("early-{}", std::process::id());
    let broker = Broker::new(&topic);
    broker.make().await;
    let (gate, address) = Gate::open().await;
    let described = Described {
        replicas: 1,
        in_sync: vec![1],
        min_insync: 1,
        incarnation: "i".into(),
        partitions: 1,
        batch_bytes_max: 1_000_000,
    };
    let known = Known::new(HashMap::from([(topic.clone(), described)]));
    let producers = Producers::new(&config(&address.to_string(), &topic), known).unwrap();
    let (sender, mut receipts) = unbounded_channel();
    let produce = |id, value: &str| producers.produce(slab(id, &topic, &[value]), &sender);
    produce(1, "before");
    gate.has_come(1).await;
    gate.pass_one().await;
    assert_eq!(receipts.recv().await.unwrap().outcome(), Outcome::Stored);

    // The partition goes, and comes again between the two. To it the producer is a new one, whose first
    // batch, before Kafka 4.5, may have any sequence number.
    produce(2, "early");
    gate.has_come(2).await;
    produce(3, "late");
    gate.has_come(3).await;
    broker.delete().await;
    gate.pass_one().await;
    broker.make().await;
    gate.passes.add_permits(100);

    let mut told = HashMap::new();
    for _ in 0..2 {
        let receipt = tokio::time::timeout(PATIENCE, receipts.recv()).await;
        let receipt = receipt.expect("a receipt in time").unwrap();
        told.insert(receipt.slab, receipt.outcome());
    }
    assert_eq!(told[&3], Outcome::Stored);
    match broker.log() {
        log if log == ["late"] => assert_eq!(told[&2], Outcome::Unknown),
        log => assert_eq!(
            (told[&2], &log[..]),
            (Outcome::Stored, &["early".to_owned(), "late".into()][..])
        ),
    }
    broker.delete().await;
}
