//! Shutting down: what was accepted is answered, and what was answered 200 is archived.

use std::{
    collections::BTreeSet,
    io::ErrorKind,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use e2e::{
    Client, Pipeline, Request,
    frames::{Frames, flag, frame, kind, post},
    load::{Load, Plan, Then, key, tweet},
    once,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// Bytes of an event beside which everything else about it is nothing.
const LARGE: usize = 10_000;

fn large(n: usize) -> String {
    format!(
        "{}{}",
        tweet(n).trim_end_matches('}'),
        format_args!(", \"x\": \"{}\"}}", "x".repeat(LARGE))
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_is_told_to_end_answers_what_it_has_taken_in() {
    let mut pipeline = Pipeline::weather()
        .with("gateway.partition_slow_ms", 10_000)
        .start()
        .await;
    pipeline
        .client()
        .answer(&Request::json("/input", tweet(0)))
        .await
        .accepted(1);
    pipeline.producer.freeze().await; // so that every request is in the middle of its way
    let waiting: Vec<_> = (1..=8)
        .map(|n| {
            let mut client = pipeline.client();
            tokio::spawn(async move { client.answer(&Request::json("/input", large(n))).await })
        })
        .collect();
    once("all of them taken in", async || {
        pipeline
            .gateway
            .metric("aguacero_gateway_bytes_in_flight")
            .await
            >= 8.0 * LARGE as f64
    })
    .await;
    pipeline.gateway.terminate();
    once("no longer ready", async || {
        !pipeline.gateway.is_ready().await
    })
    .await;
    once("nobody new let in", async || {
        pipeline.client().send(&Request::get("/")).await.is_err()
    })
    .await;
    assert!(pipeline.gateway.is_running(), "it waits for the receipts");
    for path in ["/healthz", "/metrics"] {
        let status = pipeline.gateway.probe(path).await;
        assert_eq!(status, Some(200), "{path} is answered to the end");
    }
    let readiness = pipeline.gateway.probe("/readyz").await;
    assert_eq!(readiness, Some(503), "and says that it drains");
    pipeline.producer.thaw();
    for answer in waiting {
        let answer = answer.await.expect("an answer");
        answer.accepted(1);
        assert_eq!(answer.header("connection"), Some("close"), "{answer:?}");
    }
    assert!(pipeline.gateway.ended().await.success());
    pipeline.exact("weather", 9).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_ends_under_load_stores_nothing_that_it_did_not_answer() {
    let mut pipeline = Pipeline::weather().start().await;
    let load = Load::start(pipeline.address(), 8, Then::GiveUp);
    load.progress(300).await;
    pipeline.gateway.shut_down().await;
    let report = load.finish().await;
    assert!(
        report
            .answers
            .keys()
            .all(|status| [200, 503, 504].contains(status)),
        "{:?}",
        report.answers
    );

    let records = pipeline.records("weather").await;
    let stored: BTreeSet<_> = records
        .iter()
        .map(|r| r.header().client_key.to_vec())
        .collect();
    let answered: BTreeSet<_> = report.stored.iter().map(|n| key(*n).into_bytes()).collect();
    let unanswered: Vec<_> = stored
        .difference(&answered)
        .map(|k| String::from_utf8_lossy(k).into_owned())
        .collect();
    assert!(
        unanswered.is_empty(),
        "stored and not answered: {unanswered:?}"
    );
    pipeline.exact("weather", report.stored.len()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sidecars_and_consumer_restart_under_load_and_nothing_is_lost() {
    let mut pipeline = Pipeline::weather().start().await;
    let load = Load::start(pipeline.address(), 6, Then::Retry);
    for _ in 0..2 {
        load.progress(100).await;
        pipeline.producer.restart().await;
        load.progress(100).await;
        pipeline.redis_writer.restart().await;
        load.progress(100).await;
        pipeline.consumer().restart().await;
    }
    load.progress(100).await;
    let report = load.finish().await; // has checked that every 503 and 504 carried the key
    assert_eq!(report.broken, 0, "every request was answered");
    pipeline.exact("weather", report.stored.len()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_told_to_end_at_once_ends_well_and_comes_back_exact() {
    let mut pipeline = Pipeline::weather().start().await;
    let load = Load::start(pipeline.address(), 6, Then::Retry);
    load.progress(200).await;
    for process in pipeline.processes() {
        process.terminate();
    }
    let all = [
        &mut pipeline.gateway,
        &mut pipeline.producer,
        &mut pipeline.redis_writer,
    ];
    for process in all.into_iter().chain(&mut pipeline.consumers) {
        let status = process.ended().await;
        assert!(status.success(), "{} ended with {status}", process.name());
        process.start();
    }
    load.progress(100).await;
    let report = load.finish().await;
    pipeline.exact("weather", report.stored.len()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kept_connection_ends_politely() {
    let mut pipeline = Pipeline::weather().into_kafka_only().start().await;
    let mut idle: Vec<Client> = (0..4).map(|_| pipeline.client()).collect();
    for client in &mut idle {
        client
            .answer(&Request::json("/input", tweet(1)))
            .await
            .accepted(1);
    }
    // Idle connections do not hold it up until its drain is over.
    pipeline.gateway.shut_down().await;
    pipeline.gateway.start_ready().await;
    for client in &mut idle {
        client
            .answer(&Request::json("/input", tweet(2)))
            .await
            .accepted(1);
        assert_eq!(client.connections(), 2);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_costs_no_client_more_than_a_retry() {
    let mut pipeline = Pipeline::weather().pods(2).consumers(2).start().await;
    let plan = Plan {
        clients: 8,
        give_up: 0,
        pause: Duration::from_millis(5),
        some_are_bad: false,
        ..Plan::default()
    };
    let load = Load::follow(plan, &pipeline.addresses());
    load.progress(50).await;
    for number in 0..pipeline.processes().count() {
        pipeline.process(number).restart().await;
        load.progress(20).await;
    }
    let report = load.finish().await;
    assert!(
        report.attempts_max <= 2,
        "an event was sent {} times: {:?}, {} without an answer",
        report.attempts_max,
        report.answers,
        report.broken
    );
    let verdict = pipeline.judge(&report).await;
    assert!(verdict.violations.is_empty(), "{verdict}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn for_the_delay_of_a_drain_only_its_readiness_changes() {
    let mut pipeline = Pipeline::weather()
        .into_kafka_only()
        .with("gateway.drain_delay_ms", 4_000)
        .start()
        .await;
    let mut kept = pipeline.client();
    kept.answer(&Request::json("/input", tweet(0)))
        .await
        .accepted(1);
    pipeline.gateway.terminate();
    once("no longer ready", async || {
        pipeline.gateway.probe("/readyz").await == Some(503)
    })
    .await;
    let mut new = pipeline.client();
    for client in [&mut kept, &mut new] {
        let answer = client.answer(&Request::json("/input", tweet(1))).await;
        answer.accepted(1);
        assert_eq!(answer.header("connection"), None, "{answer:?}");
    }
    // Then they are told, by an answer, and not before they have one.
    for client in [&mut kept, &mut new] {
        told_to_leave(client).await;
        assert_eq!(client.connections(), 1);
    }
    assert!(pipeline.gateway.ended().await.success());
}

/// Sends events until an answer says that the connection ends with it. Every one of them is answered.
async fn told_to_leave(client: &mut Client) {
    once("told to leave", async || {
        let answer = client.answer(&Request::json("/input", tweet(2))).await;
        answer.accepted(1);
        answer.header("connection") == Some("close")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kept_connection_is_told_by_an_answer_that_it_ends() {
    let mut pipeline = Pipeline::weather()
        .into_kafka_only()
        .with("gateway.drain_timeout_ms", 120_000)
        .start()
        .await;
    let mut kept: Vec<_> = (0..8).map(|_| pipeline.client()).collect();
    for client in &mut kept {
        client
            .answer(&Request::json("/input", tweet(1)))
            .await
            .accepted(1);
    }
    let mut idle = TcpStream::connect(pipeline.address()).await.expect("one");
    let mut begun = TcpStream::connect(pipeline.address()).await.expect("one");
    let request = format!(
        "POST /input HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{}",
        tweet(3).len(),
        tweet(3)
    );
    let (first, second) = request.split_at(20);
    begun.write_all(first.as_bytes()).await.expect("its half");
    pipeline.gateway.terminate();
    for client in &mut kept {
        told_to_leave(client).await;
        assert_eq!(client.connections(), 1);
    }
    // Who has begun a header has all the time that a header may take.
    let mut end = [0];
    let closed = idle.read(&mut end).await.expect("an end, and no reset");
    assert_eq!(closed, 0);
    begun.write_all(second.as_bytes()).await.expect("the rest");
    let mut answer = String::new();
    begun.read_to_string(&mut answer).await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.contains("connection: close\r\n"), "{answer}");
    assert!(pipeline.gateway.ended().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_of_http2_ends_with_goaway_when_its_streams_have() {
    let mut pipeline = Pipeline::weather()
        .into_kafka_only()
        .with("gateway.partition_slow_ms", 10_000)
        .start()
        .await;
    let request = |stream| {
        let header = frame(kind::HEADERS, flag::END_HEADERS, stream, &post("/input"));
        let body = tweet(stream as usize);
        [
            header,
            frame(kind::DATA, flag::END_STREAM, stream, body.as_bytes()),
        ]
        .concat()
    };
    let mut idle = Frames::begin(pipeline.address(), b"").await;
    idle.write(&frame(kind::SETTINGS, flag::ACK, 0, b"")).await;
    let mut client = Frames::begin(pipeline.address(), b"").await;
    pipeline.producer.freeze().await; // so that the request is in the middle of its way
    client.write(&request(1)).await;
    let in_flight = "aguacero_gateway_bytes_in_flight";
    once("the first taken in", async || {
        pipeline.gateway.metric(in_flight).await > 0.0
    })
    .await;
    pipeline.gateway.terminate();
    let mut last_streams = Vec::new();
    let mut answered = Vec::new();
    while let Some((kind, flags, stream, payload)) = client.next().await {
        match kind {
            kind::GOAWAY => {
                let last = payload[..4].try_into().map(u32::from_be_bytes);
                last_streams.push(last.expect("four bytes"));
                assert_eq!(payload[4..8], [0; 4], "without an error");
            }
            // It asks whether we know. What we sent before we did is served.
            kind::PING if flags & flag::ACK == 0 => {
                client.write(&request(3)).await;
                client
                    .write(&frame(kind::PING, flag::ACK, 0, &payload))
                    .await;
                pipeline.producer.thaw();
            }
            kind::HEADERS => {
                assert_eq!(payload.first(), Some(&0x88), "status 200");
                answered.push(stream);
            }
            kind::RESET => panic!("stream {stream} was reset"),
            _ => {}
        }
    }
    answered.sort_unstable();
    assert_eq!(answered, [1, 3]);
    assert_eq!(last_streams, [0x7fff_ffff, 3]);
    assert_eq!(idle.ended().await, Some(0), "GOAWAY without an error");
    assert!(pipeline.gateway.ended().await.success());
}

/// What clients saw, whose gateway was restarted again and again.
#[derive(Default)]
struct Seen {
    answered: AtomicUsize,
    /// Requests that were begun, over a connection that stood, and had no answer.
    lost: AtomicUsize,
    is_over: AtomicBool,
}

/// Sends events until it is over; a gateway that is away is asked again.
async fn send_on(address: SocketAddr, number: usize, seen: Arc<Seen>) {
    let mut client = Client::new(address);
    while !seen.is_over.load(Ordering::Relaxed) {
        match client.send(&Request::json("/input", tweet(number))).await {
            Ok(answer) => {
                assert!([200, 503].contains(&answer.status), "{answer:?}");
                seen.answered.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => {
                let refused = error.downcast_ref::<std::io::Error>();
                if refused.is_none_or(|e| e.kind() != ErrorKind::ConnectionRefused) {
                    eprintln!("lost: {error:?}");
                    seen.lost.fetch_add(1, Ordering::Relaxed);
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        match number % 5 {
            0 => client = Client::new(address), // one for each request
            1 => {}
            _ => tokio::time::sleep(Duration::from_millis(number as u64)).await,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_restarts_under_kept_and_new_connections_lose_no_request() {
    let mut pipeline = Pipeline::weather().into_kafka_only().start().await;
    let seen = Arc::new(Seen::default());
    let clients: Vec<_> = (0..50)
        .map(|number| tokio::spawn(send_on(pipeline.address(), number, Arc::clone(&seen))))
        .collect();
    for _ in 0..10 {
        let before = seen.answered.load(Ordering::Relaxed);
        once("all of them served again", async || {
            seen.answered.load(Ordering::Relaxed) > before + 200
        })
        .await;
        pipeline.gateway.restart().await;
    }
    seen.is_over.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.expect("a client that counts");
    }
    assert_eq!(seen.lost.load(Ordering::Relaxed), 0);
}

/// Connections that the system has accepted and the gateway has not, since it has as many as it may.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_waits_to_be_accepted_is_served_before_the_listener_closes() {
    let mut pipeline = Pipeline::weather()
        .into_kafka_only()
        .with("gateway.workers", 1)
        .with("gateway.connections_max", 4)
        .with("gateway.partition_slow_ms", 9_000)
        .start()
        .await;
    let request = format!(
        "POST /input HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{}",
        tweet(1).len(),
        tweet(1)
    );
    pipeline.producer.freeze().await; // so that the first four are in the middle of their way
    let mut clients = Vec::new();
    for _ in 0..24 {
        let mut stream = TcpStream::connect(pipeline.address()).await.expect("one");
        stream.write_all(request.as_bytes()).await.expect("it");
        clients.push(stream);
    }
    once("four taken in", async || {
        let in_flight = "aguacero_gateway_bytes_in_flight";
        pipeline.gateway.metric(in_flight).await >= 4.0 * tweet(1).len() as f64
    })
    .await;
    pipeline.gateway.terminate();
    once("no longer ready", async || {
        pipeline.gateway.probe("/readyz").await == Some(503)
    })
    .await;
    pipeline.producer.thaw();
    for mut stream in clients {
        let mut answer = String::new();
        let whole = stream.read_to_string(&mut answer).await;
        assert!(whole.is_ok(), "{whole:?} after {answer:?}");
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
    assert!(pipeline.gateway.ended().await.success());
}
