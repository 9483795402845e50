//! A batch that a real broker refuses because it comes too early, and the one behind it that comes just in
//! time: what librdkafka makes of that, and what we do (`docs/decisions/0017`).

use std::{collections::HashMap, io, net::SocketAddr, path::PathBuf};

use rdkafka::{
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{
        Semaphore,
        mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
        watch,
    },
};

use super::{
    tests::{PATIENCE, config, known, log, slab},
    *,
};
use crate::client::Clients;

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

/// The broker, as `scripts/services` has started it.
fn service() -> serde_json::Value {
    let state = std::env::var("AGUACERO_SERVICES_STATE").expect(
        "this test needs a Kafka that scripts/services has started, and AGUACERO_SERVICES_STATE is not set: run `make test`",
    );
    let mut state: serde_json::Value =
        serde_json::from_slice(&std::fs::read(state).unwrap()).unwrap();
    state["services"]["kafka"].take()
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
        let service = service();
        let port = |key| service["wire"][key].as_u64().unwrap() as u16;
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

/// A topic on the broker, made and deleted not by way of the proxy.
struct Topic {
    admin: AdminClient<DefaultClientContext>,
    brokers: String,
    name: String,
}

impl Topic {
    fn new(name: &str) -> Self {
        let brokers = format!("127.0.0.1:{}", service()["port"]);
        Self {
            admin: ClientConfig::new()
                .set("bootstrap.servers", &brokers)
                .create()
                .unwrap(),
            brokers,
            name: name.to_owned(),
        }
    }

    /// Makes it, and waits until the leader of its partition answers for it.
    async fn make(&self) {
        let new = NewTopic::new(&self.name, 1, TopicReplication::Fixed(1));
        let made = self.admin.create_topics([&new], &AdminOptions::new()).await;
        assert!(made.unwrap()[0].is_ok());
        let ask = || {
            let client = self.admin.inner();
            client.fetch_watermarks(&self.name, 0, PATIENCE).is_ok()
        };
        until(ask).await;
    }

    /// Deletes it, and waits until the broker has put its partition away.
    async fn delete(&self) {
        let deleted = self
            .admin
            .delete_topics(&[&self.name], &AdminOptions::new())
            .await;
        assert!(deleted.unwrap()[0].is_ok());
        let data = PathBuf::from(service()["data"].as_str().unwrap());
        let partition = data.join("log").join(format!("{}-0", self.name));
        until(|| !partition.exists()).await;
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
    let name = format!("early-{}", std::process::id());
    let topic = Topic::new(&name);
    topic.make().await;
    let (gate, address) = Gate::open().await;
    let mut config = config(&address.to_string(), &name);
    config.kafka.message_timeout = PATIENCE; // the topic is made again meanwhile
    let producers = Producers::new(&config, known(&name, 1)).unwrap();
    let clients = Clients::of(Arc::new(producers), known(&name, 1));
    let (sender, mut receipts) = unbounded_channel();
    let produce =
        |id, value: &str| clients.produce(slab(id, &name, &[value]), Bytes::new(), &sender);
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
    topic.delete().await;
    gate.pass_one().await;
    topic.make().await;
    gate.passes.add_permits(100);

    let mut told = HashMap::new();
    for _ in 0..2 {
        let receipt = tokio::time::timeout(PATIENCE, receipts.recv()).await;
        let receipt = receipt.expect("a receipt in time").unwrap();
        told.insert(receipt.slab, receipt.outcome());
    }
    assert_eq!(told[&3], Outcome::Stored);
    let log = log(topic.brokers.clone(), &name).await;
    match told[&2] {
        Outcome::Unknown => assert_eq!(log, ["late"]),
        outcome => assert_eq!(
            (outcome, &log[..]),
            (Outcome::Stored, &["early", "late"].map(String::from)[..])
        ),
    }
    topic.delete().await;
}
