//! What is on its way to Kafka: however it is made up it can be sent, what an idle gateway can take it takes whole,
//! and what is counted of it is what it holds.

use std::time::{Duration, Instant};

use e2e::{Pipeline, Request, load::tweet, once};
use tokio::task::JoinSet;

/// One partition, whatever the key; each event may have a name, and counts under two keys.
const ONE_PARTITION: &str = r#"
[topics.t]
partitions = 1

[streams.s]
topic = "t"
id = "id"
key = "k"
fields = [
  { name = "id", type = "string" }, { name = "k", type = "string" }, { name = "a", type = "string" },
]
counters = [{ name = "by_a", by = ["a"] }, { name = "by_both", by = ["k", "a"] }]

[[streams.s.routes]]
path = "/s"

[topics.other]
partitions = 1

[streams.bystander]
topic = "other"

[[streams.bystander.routes]]
path = "/bystander"

[gateway]
workers = 1
"#;
const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const BROKE: &str = "the stream to the producer broke";

fn lines(events: usize, line: impl Fn(usize) -> String) -> String {
    (0..events).map(|n| line(n) + "\n").collect()
}

/// The longest key there may be, and another for each `n`.
fn long_key(n: usize) -> String {
    format!("{n:0>255}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_small_events_under_long_keys_stop_nobody() {
    const BATCHES: usize = 8;
    let pipeline = Pipeline::builder(ONE_PARTITION)
        .into_kafka_only()
        // All of it for one partition, on a busy machine: it is not refused for that.
        .with("gateway.request_timeout_ms", 35_000)
        .with("gateway.body_timeout_ms", 20_000)
        .with("gateway.ack_timeout_ms", 15_000)
        .with("gateway.partition_bytes_in_flight_max", 64 << 20)
        .with("gateway.partition_slow_ms", 10_000)
        .start()
        .await;
    let mut batches = JoinSet::new();
    for n in 0..BATCHES {
        let body = lines(10_000, |i| format!(r#"{{"n":{i}}}"#));
        let request = Request::ndjson("/s", body).key(&long_key(n));
        let (mut client, request) = (pipeline.client(), request.header("traceparent", TRACE));
        batches.spawn(async move { client.answer(&request).await });
    }
    let (mut client, mut bystander) = (pipeline.client(), Vec::new());
    let mut answers = Vec::new();
    while answers.len() < BATCHES {
        let began = Instant::now();
        let lone = client.answer(&Request::json("/bystander", "{}")).await;
        bystander.push((began.elapsed(), lone.status));
        while let Some(answer) = batches.try_join_next() {
            answers.push(answer.expect("joined"));
        }
    }
    bystander.sort();
    let at = |share: usize| bystander[(bystander.len() - 1) * share / 100].0;
    println!(
        "bystander: {} requests, p50 {:?}, p99 {:?}, worst {:?}",
        bystander.len(),
        at(50),
        at(99),
        at(100)
    );
    let statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses, [200; BATCHES]);
    assert!(bystander.iter().all(|(_, status)| *status == 200));
    let log = pipeline.gateway.log();
    assert!(!log.contains(BROKE), "{log}");
    let records = pipeline.records("s").await;
    assert!(records.len() >= BATCHES * 10_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn as_many_events_as_a_body_may_have_are_stored_by_one_request() {
    let pipeline = Pipeline::builder(ONE_PARTITION)
        .into_kafka_only()
        .with("gateway.batch_records_max", 60_000)
        .with("gateway.drain_timeout_ms", 40_000)
        .with("gateway.request_timeout_ms", 60_000)
        .with("gateway.ack_timeout_ms", 40_000)
        .start()
        .await;
    let body = lines(60_000, |i| format!(r#"{{"n":{i}}}"#));
    let request = Request::ndjson("/s", body).key(&long_key(0));
    let answer = pipeline
        .client()
        .answer(&request.header("traceparent", TRACE))
        .await;
    answer.accepted(60_000);
    assert!(!pipeline.gateway.log().contains(BROKE));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_largest_body_is_stored_whole_by_an_idle_gateway_of_many_workers() {
    let several = [("/input", "weather"), ("/s", "s")];
    for (path, stream) in several {
        let pipeline = match stream {
            "weather" => Pipeline::weather(),      // sticky
            _ => Pipeline::builder(ONE_PARTITION), // one hot key
        };
        let pipeline = pipeline
            .into_kafka_only()
            .with("gateway.workers", 8)
            .with("gateway.drain_timeout_ms", 40_000)
            .with("gateway.request_timeout_ms", 60_000)
            .with("gateway.ack_timeout_ms", 40_000)
            .start()
            .await;
        let line = |i: usize| match stream {
            "weather" => tweet(i).replacen('{', &format!(r#"{{"x":"{}","#, "x".repeat(800)), 1),
            _ => format!(r#"{{"k":"hot","a":"{i}","x":"{}"}}"#, "x".repeat(780)),
        };
        let mut body = lines(9_990, line);
        body.truncate(8 << 20);
        body.truncate(body.rfind('\n').expect("lines") + 1);
        let events = body.lines().count();
        assert!(body.len() > 7 << 20, "{}", body.len());
        for key in ["one", "two"] {
            let request = Request::ndjson(path, body.clone()).key(key);
            pipeline.client().answer(&request).await.accepted(events);
        }
        assert_eq!(pipeline.records(stream).await.len(), 2 * events);
    }
}

/// Bytes that may be on their way here.
const IN_FLIGHT: u64 = 32 << 20;
/// What the way out takes whatever is on it: two frames as they are written, and what is being judged.
const BUFFERS: u64 = 16 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_counted_as_on_its_way_is_what_it_holds() {
    type Line = fn(usize, usize) -> String;
    let shapes: [(&str, bool, usize, Line); 4] = [
        ("small events under a long key", true, 10_000, |_, i| {
            format!(r#"{{"n":{i}}}"#)
        }),
        ("a name for each event", false, 10_000, |n, i| {
            format!(r#"{{"id":"{n}-{i}-{}"}}"#, "i".repeat(100))
        }),
        ("large events", false, 50, |n, i| {
            format!(r#"{{"n":"{n}-{i}","x":"{}"}}"#, "x".repeat(100_000))
        }),
        ("many keys to count", false, 10_000, |n, i| {
            format!(r#"{{"k":"k","a":"{n}-{i}-{}"}}"#, "a".repeat(40))
        }),
    ];
    let mut faults = Vec::new();
    for (name, has_key, events, line) in shapes {
        let pipeline = Pipeline::builder(ONE_PARTITION)
            .into_kafka_only()
            .with("gateway.bytes_in_flight_max", IN_FLIGHT)
            .with("gateway.partition_bytes_in_flight_max", IN_FLIGHT)
            .with("gateway.partition_slow_ms", 120_000)
            .with("kafka.message_timeout_ms", 100_000)
            .with("gateway.ack_timeout_ms", 240_000)
            .with("gateway.drain_timeout_ms", 240_000)
            .with("gateway.request_timeout_ms", 300_000)
            .start()
            .await;
        let request = |n: usize| {
            let request = Request::ndjson("/s", lines(events, |i| line(n, i)));
            match has_key {
                true => request.key(&long_key(n)).header("traceparent", TRACE),
                false => request,
            }
        };
        pipeline.client().answer(&request(0)).await.accepted(events);
        let idle = pipeline.gateway.memory();
        pipeline.producer.freeze().await;
        let (mut sent, mut n) = (JoinSet::new(), 0);
        let gauge = "aguacero_gateway_bytes_in_flight";
        let full = 0.9 * IN_FLIGHT as f64;
        let (began, mut pause) = (Instant::now(), Duration::from_millis(200));
        // Until somebody is refused because it is full: whoever is not waits.
        let refused = loop {
            n += 1;
            let (mut client, request) = (pipeline.client(), request(n));
            sent.spawn(async move { client.send(&request).await.map(|a| a.status) });
            if let Ok(Some(Ok(Ok(status)))) = tokio::time::timeout(pause, sent.join_next()).await {
                if pipeline.gateway.metric(gauge).await >= full {
                    break status;
                }
                // This machine is slow: too many bodies waited to be read.
                pause = Duration::from_secs(3);
            }
            assert!(began.elapsed() < 3 * e2e::DEADLINE, "nobody is refused");
        };
        assert_eq!(refused, 503, "{name}");
        once("the gauge is up to date", async || {
            pipeline.gateway.metric(gauge).await >= full
        })
        .await;
        let counted = pipeline.gateway.metric(gauge).await as u64;
        let held = pipeline.gateway.memory().saturating_sub(idle);
        println!(
            "{name}: {} MiB by the gauge, {} MiB held",
            counted >> 20,
            held >> 20
        );
        if held > counted * 3 / 2 + BUFFERS || counted > IN_FLIGHT + (16 << 20) {
            faults.push(format!("{name}: {held} of {counted}"));
        }
        sent.abort_all();
        pipeline.producer.thaw();
    }
    assert!(faults.is_empty(), "{faults:#?}");
}
