//! Large bodies have their turns round by client: whoever sends hundreds holds up another by one or two of them.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use e2e::{Client, Pipeline, Request, load::tweet};
use tokio::task::JoinSet;

/// Connections that send what is refused, as fast as they are answered.
const CONNECTIONS: usize = 400;
/// Bytes of each of their bodies, about.
const BYTES: usize = 20_000;
/// Requests of the bystander that are looked at.
const LOOKS: usize = 20;
/// Answers that others may be given between a request of the bystander and its answer: first come, first served, it
/// would be as many as there are connections.
const BETWEEN_MAX: usize = CONNECTIONS / 4;

const BYSTANDER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

async fn send_on(
    mut client: Client,
    request: Request,
    answered: Arc<AtomicUsize>,
    ends: Arc<AtomicBool>,
) {
    while !ends.load(Ordering::Relaxed) {
        let answer = client.answer(&request).await;
        match answer.status {
            422 => _ = answered.fetch_add(1, Ordering::Relaxed),
            // On a slow machine the turns of 400 do not all come in time.
            503 => _ = (answer.problem(503), answer.retry_key()),
            other => panic!("{other}"),
        }
    }
}

async fn a_bystander_goes_round(path: &str) {
    let pipeline = Pipeline::weather()
        .into_kafka_only()
        .with("gateway.workers", 1)
        .start()
        .await;
    let refused = "{\"texto\":7}\n".repeat(BYTES / 12);
    let (answered, ends) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
    let mut others = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let request = Request::ndjson(path, refused.clone());
        others.spawn(send_on(
            pipeline.client(),
            request,
            Arc::clone(&answered),
            Arc::clone(&ends),
        ));
    }
    e2e::once("all of them are at it", async || {
        answered.load(Ordering::Relaxed) > CONNECTIONS / 4
    })
    .await;

    let lines: Vec<_> = (0..60).map(tweet).collect();
    let batch = Request::ndjson("/input", lines.join("\n"));
    let mut bystander = pipeline.client().from(BYSTANDER);
    let (mut between, mut took) = (Vec::new(), Vec::new());
    for _ in 0..LOOKS {
        let (before, began) = (answered.load(Ordering::Relaxed), Instant::now());
        bystander.answer(&batch).await.accepted(lines.len());
        between.push(answered.load(Ordering::Relaxed) - before);
        took.push(began.elapsed());
    }
    ends.store(true, Ordering::Relaxed);
    while let Some(ended) = others.join_next().await {
        ended.expect("each was answered");
    }
    between.sort_unstable();
    took.sort_unstable();
    let middle = |of: &[Duration]| of[LOOKS / 2];
    eprintln!(
        "{path}: others answered while the bystander waited: {between:?}; it took {:?}, at most {:?}",
        middle(&took),
        took[LOOKS - 1]
    );
    assert!(between[LOOKS / 2] <= BETWEEN_MAX, "{between:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_address_does_not_hold_up_the_bodies_of_another() {
    a_bystander_goes_round("/input").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_address_does_not_hold_up_the_bodies_of_another_by_dry_runs() {
    a_bystander_goes_round("/input?dry-run").await;
}
