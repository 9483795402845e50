//! Two ways into Kafka: what comes in by either is one stream, and a producer that is away stops its own route alone.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use e2e::{Builder, Client, Kind, Pipeline, Process, Request, once, repository};
use tokio::task::JoinHandle;

/// Of `examples/votes.toml`: by the kafka-producer, and by the wasm-producer.
const ROUTES: [&str; 2] = ["/votes/grpc", "/votes/wasm"];
const BANDS: [&str; 3] = ["Los Jaivas", "Inti-Illimani", "Björk | \\\"en vivo\\\""];
/// Votes of an array.
const BATCH: usize = 5;
/// Partitions of `examples/votes.toml`.
const PARTITIONS: f64 = 6.0;
const ASSIGNED: &str = "aguacero_consumer_assigned_partitions";

/// Both processes that produce.
pub(crate) fn votes() -> Builder {
    Pipeline::builder(&repository("examples/votes.toml")).as_declared()
}

/// What is on its way too long is given up soon.
pub(crate) fn impatient() -> Builder {
    votes()
        .with("kafka.message_timeout_ms", 1000)
        .with("gateway.ack_timeout_ms", 1500)
        .with("gateway.request_timeout_ms", 4000)
        .with("gateway.body_timeout_ms", 1000)
        .with("gateway.partition_slow_ms", 500)
}

fn vote(n: usize) -> String {
    let band = BANDS[n % BANDS.len()];
    let (year, rank) = (1970 + n % 30, n % 7);
    format!(
        r#"{{"name": "{band}", "album": "album {}", "year": "{year}", "rank": {rank}}}"#,
        n % 4
    )
}

pub(crate) fn single(route: usize, n: usize) -> Request {
    Request::json(ROUTES[route], vote(n)).key(&format!("vote-{n}"))
}

pub(crate) fn batch(route: usize, n: usize) -> Request {
    let votes: Vec<_> = (n..n + BATCH).map(vote).collect();
    Request::json(ROUTES[route], format!("[{}]", votes.join(","))).key(&format!("votes-{n}"))
}

/// The producer of a route, and the route of the other one.
pub(crate) fn producers(pipeline: &mut Pipeline) -> [&mut Process; 2] {
    let other = pipeline.other_producer.as_mut().expect("two producers");
    let producers = [&mut pipeline.producer, other];
    let kinds = producers.each_ref().map(|p| p.kind());
    assert_eq!(kinds, [Kind::KafkaProducer, Kind::WasmProducer]);
    producers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_sent_by_one_route_and_again_by_the_other_is_there_once() {
    const SINGLES: usize = 60;
    let pipeline = votes().start().await;
    let mut clients = [pipeline.client(), pipeline.client()];
    for n in 0..SINGLES {
        let (first, then) = (n % 2, (n + 1) % 2);
        clients[first].answer(&single(first, n)).await.accepted(1);
        clients[then]
            .answer(&batch(then, n * BATCH))
            .await
            .accepted(BATCH);
        if n % 3 == 0 {
            clients[then].answer(&single(then, n)).await.accepted(1);
            let again = batch(first, n * BATCH);
            clients[first].answer(&again).await.accepted(BATCH);
        }
    }
    // At the same time by both.
    let [grpc, wasm] = &mut clients;
    for n in SINGLES..2 * SINGLES {
        let (of_one, of_other) = (single(0, n), single(1, n));
        let (one, other) = tokio::join!(grpc.answer(&of_one), wasm.answer(&of_other));
        one.accepted(1);
        other.accepted(1);
    }
    pipeline.exact("votes", 2 * SINGLES + SINGLES * BATCH).await;
    let gateway = &pipeline.gateway;
    for kind in [Kind::KafkaProducer, Kind::WasmProducer] {
        let to = kind.program();
        let slabs = format!("aguacero_gateway_slabs_total{{to=\"{to}\"");
        assert!(gateway.metric(&slabs).await > 0.0, "{slabs}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_producer_that_is_killed_stops_its_own_route_alone() {
    for away in 0..ROUTES.len() {
        let mut pipeline = impatient().start().await;
        let mut client = pipeline.client();
        client.answer(&single(away, 0)).await.accepted(1);
        producers(&mut pipeline)[away].kill();
        let tried = stopped(&mut client, away, 503).await;

        // One certainly not stored is stored by the other way, as is what nobody knows.
        for n in tried {
            client.answer(&single(1 - away, n)).await.accepted(1);
        }
        let (status, said) = pipeline.gateway.readiness().await.expect("an admin port");
        assert_eq!(status, 200, "an outage is answered: {said}");
        let name = producers(&mut pipeline)[away].name().to_owned();
        let log = pipeline.gateway.log();
        let broke = log
            .lines()
            .filter(|line| line.contains("the stream to the producer broke"));
        let about = format!("\"about\":\"{name}\"");
        assert!(broke.clone().all(|line| line.contains(&about)), "{log}");
        assert!(broke.count() > 0, "{log}");

        producers(&mut pipeline)[away].start_ready().await;
        resumes(&pipeline, &mut client, away).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_producer_that_is_frozen_stops_its_own_route_alone() {
    for away in 0..ROUTES.len() {
        let mut pipeline = impatient().start().await;
        let mut client = pipeline.client();
        client.answer(&single(away, 0)).await.accepted(1);
        producers(&mut pipeline)[away].freeze().await;
        let tried = stopped(&mut client, away, 504).await;
        producers(&mut pipeline)[away].thaw();
        resumes(&pipeline, &mut client, away).await;
        for n in tried {
            client.answer(&single(away, n)).await.accepted(1);
        }
        pipeline.exact("votes", 1 + 3 * LATER).await;
    }
}

/// Votes of one part of a test.
const LATER: usize = 6;

/// Sends by the route that is away, until that is answered with `status`, and all the while by the other, which goes on.
/// The numbers of the votes that were sent by the one that is away.
async fn stopped(client: &mut Client, away: usize, status: u16) -> BTreeSet<usize> {
    let mut seen = false;
    let numbers = 1..=LATER;
    for n in numbers.clone() {
        let answer = client.answer(&single(away, n)).await;
        assert!([503, 504].contains(&answer.status), "{n}: {answer:?}");
        assert_eq!(answer.retry_key(), format!("vote-{n}"));
        seen |= answer.status == status;
        client
            .answer(&single(1 - away, n + LATER))
            .await
            .accepted(1);
    }
    assert!(seen, "no {status}");
    numbers.collect()
}

/// Both go on, and everything is there once.
async fn resumes(pipeline: &Pipeline, client: &mut Client, was_away: usize) {
    once("the way to Kafka back", async || {
        client.answer(&single(was_away, 0)).await.status == 200
    })
    .await;
    for n in 2 * LATER + 1..=3 * LATER {
        client.answer(&single(n % 2, n)).await.accepted(1);
    }
    for n in 1..=LATER {
        client.answer(&single(was_away, n)).await.accepted(1);
    }
    pipeline.exact("votes", 1 + 3 * LATER).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_is_ready_when_every_producer_that_routes_take_is_there_and_names_who_is_missing()
{
    for missing in 0..ROUTES.len() {
        let mut pipeline = votes().prepare().await;
        pipeline.redis_writer.start_ready().await;
        pipeline.gateway.start();
        producers(&mut pipeline)[1 - missing].start_ready().await;
        let [late, here] =
            [missing, 1 - missing].map(|n| producers(&mut pipeline)[n].name().to_owned());
        once("one of them seen", async || {
            let said = pipeline.gateway.readiness().await;
            said == Some((503, format!("not ready yet: it waits for the {late}\n")))
        })
        .await;
        let mut client = pipeline.client();
        let by_other = client.answer(&single(1 - missing, 1)).await;
        by_other.accepted(1); // whoever comes all the same
        producers(&mut pipeline)[missing].start_ready().await;
        pipeline.gateway.ready().await;
        client.answer(&single(missing, 2)).await.accepted(1);

        let check = pipeline.gateway.command("check").output();
        let check = check.expect("a program that starts");
        let told = String::from_utf8_lossy(&check.stdout).into_owned();
        let routes = "POST /votes/grpc, /votes/wasm (by the wasm-producer) → ";
        assert!(told.contains(routes), "{told}");
        assert!(
            pipeline
                .gateway
                .log()
                .contains(&format!("the {here} has seen every topic"))
        );
    }
}

/// Clients that vote by both routes in turn, and vote again by the other one until they are told that it is stored.
pub(crate) struct Voters {
    stop: Arc<AtomicBool>,
    stored: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<()>>,
}

impl Voters {
    pub(crate) fn start(pipeline: &Pipeline, count: usize) -> Self {
        let (stop, stored) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let client = |number: usize| {
            let (stop, stored) = (Arc::clone(&stop), Arc::clone(&stored));
            let mut client = pipeline.client();
            tokio::spawn(async move {
                let mut n = number;
                while !stop.load(Ordering::Relaxed) {
                    let mut route = n / count % 2;
                    while client.answer(&single(route, n)).await.status != 200 {
                        route = 1 - route;
                        tokio::time::sleep(Duration::from_millis(25)).await;
                    }
                    stored.fetch_add(1, Ordering::Relaxed);
                    n += count;
                }
            })
        };
        Self {
            clients: (0..count).map(client).collect(),
            stop,
            stored,
        }
    }

    pub(crate) async fn progress(&self, more: usize) {
        let aim = self.stored.load(Ordering::Relaxed) + more;
        once(&format!("{more} more votes"), async || {
            self.stored.load(Ordering::Relaxed) >= aim
        })
        .await;
    }

    pub(crate) async fn finish(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.await.expect("a client that does not panic");
        }
        self.stored.load(Ordering::Relaxed)
    }
}

/// Waits until these of the consumers have all partitions among them, and each has its share.
async fn shared(pipeline: &Pipeline, members: &[usize]) {
    let what = format!("{PARTITIONS} partitions shared by {members:?}");
    e2e::eventually(&what, async || {
        let mut each = Vec::new();
        for member in members {
            each.push(pipeline.consumers[*member].metric(ASSIGNED).await);
        }
        let least = (PARTITIONS / members.len() as f64).floor();
        match each.iter().sum::<f64>() == PARTITIONS && each.iter().all(|n| *n >= least) {
            true => Ok(()),
            false => Err(format!("{each:?}")),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_consumers_and_then_five_share_the_votes_whoever_is_killed() {
    let mut pipeline = Pipeline::builder(&repository("examples/votes.toml"))
        .consumers(5)
        .without(Kind::Consumer)
        .with("consumer.session_timeout_ms", 6000)
        .with("consumer.batch_records_max", 30)
        .start()
        .await;
    let voters = Voters::start(&pipeline, 8);
    let all: Vec<usize> = (0..5).collect();
    for members in [&all[..2], &all[..]] {
        for member in members {
            let consumer = &mut pipeline.consumers[*member];
            if !consumer.is_running() {
                consumer.start_ready().await;
            }
        }
        shared(&pipeline, members).await;
        voters.progress(200).await;
        pipeline.consumers[members[0]].kill();
        voters.progress(100).await;
        shared(&pipeline, &members[1..]).await; // it may have gone for good
        voters.progress(100).await;
        pipeline.consumers[members[0]].start_ready().await;
        shared(&pipeline, members).await;
        voters.progress(100).await;
    }
    let stored = voters.finish().await;
    pipeline.exact("votes", stored).await;
    for consumer in &pipeline.consumers {
        let archived = consumer.metric("aguacero_consumer_archived_total").await;
        assert!(archived > 0.0, "{} has had its share", consumer.name());
    }
}
