//! The HTTP contract: what is bad gets the code that says so and a document that a person can act on,
//! and whoever sent it can go on.

use std::time::Duration;

use e2e::{Client, Pipeline, Request, raw};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

const GOOD: &str = r#"{"texto": "Su lluvia", "país": "Argentina"}"#;

fn good() -> Request {
    Request::json("/input", GOOD)
}

/// Sends a bad request and then a good one on the same connection.
async fn refused(client: &mut Client, request: Request, status: u16) -> Value {
    let connections = client.connections().max(1);
    let answer = client.answer(&request).await;
    let problem = answer.problem(status);
    client.answer(&good()).await.accepted(1);
    assert_eq!(
        client.connections(),
        connections,
        "the connection goes on after {answer:?}"
    );
    problem
}

/// The same where the connection has to end.
async fn refused_for_good(client: &mut Client, request: Request, status: u16) -> Value {
    let answer = client.answer(&request).await;
    assert_eq!(answer.header("connection"), Some("close"), "{answer:?}");
    client.answer(&good()).await.accepted(1);
    answer.problem(status)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_bad_request_gets_its_code_and_the_connection_goes_on() {
    let pipeline = Pipeline::weather().into_kafka_only().start().await;
    let client = &mut pipeline.client();

    let problem = refused(
        client,
        Request::json("/input", "{\"texto\": \"Su lluvia\", país: 1}"),
        400,
    )
    .await;
    assert_eq!(problem["type"], "urn:aguacero:problem:malformed");
    assert!(
        problem["offset"]
            .as_u64()
            .is_some_and(|o| (21..=24).contains(&o)),
        "{problem}"
    );
    let problem = refused(
        client,
        Request::json("/input", &b"{\"texto\": \"\xff\"}"[..]),
        400,
    )
    .await;
    assert_eq!(problem["offset"], 11);
    let problem = refused(client, Request::json("/elsewhere", GOOD), 404).await;
    assert!(
        problem["detail"]
            .as_str()
            .is_some_and(|d| d.contains("/input")),
        "{problem}"
    );
    let allowed = Some("POST, OPTIONS");
    for method in ["GET", "PUT", "DELETE", "PATCH", "TRACE"] {
        let request = Request::json("/input", GOOD).method(method);
        assert_eq!(
            client.answer(&request).await.header("allow"),
            allowed,
            "{method}"
        );
        refused(client, request, 405).await;
    }
    for path in ["/input", "*"] {
        let answer = client.answer(&Request::get(path).method("OPTIONS")).await;
        assert_eq!(
            (answer.status, answer.header("allow")),
            (204, allowed),
            "{path}"
        );
    }
    refused(client, Request::post("/input", GOOD), 415).await;
    refused(
        client,
        Request::post("/input", GOOD).header("content-type", "text/csv"),
        415,
    )
    .await;
    refused(
        client,
        Request::json("/input", GOOD).header("content-encoding", "compress"),
        415,
    )
    .await;
    for body in ["", "[]", " \n", "[ ]"] {
        refused(client, Request::json("/input", body), 422).await;
    }
    refused(client, Request::ndjson("/input", "\n\r\n \n"), 422).await;
    let problem = refused(
        client,
        Request::json("/input", r#"{"texto": "Su lluvia", "country": 5}"#),
        422,
    )
    .await;
    assert_eq!(problem["field"], "country", "as the event names it");
    let problem = refused(
        client,
        Request::json("/input", r#"{"texto": "a", "country": "b", "_id": 1}"#),
        422,
    )
    .await;
    assert_eq!(
        (&problem["field"], &problem["title"]),
        (&json!("_id"), &json!("Does not fit the stream"))
    );
    let many = format!("[{GOOD}{}]", format!(",{GOOD}").repeat(10_000));
    refused(client, Request::json("/input", many), 413).await;
    let large = format!(
        r#"{{"texto": "a", "país": "b", "x": "{}"}}"#,
        "x".repeat(921_600)
    );
    refused(client, Request::json("/input", large), 413).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_large_to_read_is_refused_and_the_process_goes_on() {
    let pipeline = Pipeline::weather()
        .into_kafka_only()
        .with("gateway.body_bytes_max", 400_000)
        .with("gateway.event_bytes_max", 300_000)
        .start()
        .await;
    let client = &mut pipeline.client();
    let body = |bytes: usize| format!("{GOOD}{}", " ".repeat(bytes - GOOD.len()));
    client
        .answer(&Request::json("/input", body(400_000)))
        .await
        .accepted(1);
    client
        .answer(&Request::json("/input", body(400_000)).chunked())
        .await
        .accepted(1);
    refused_for_good(client, Request::json("/input", body(400_001)), 413).await;
    refused_for_good(
        client,
        Request::json("/input", body(400_001)).chunked(),
        413,
    )
    .await;
    refused_for_good(client, Request::json("/input", body(30_000_000)), 413).await;
    refused_for_good(
        client,
        Request::json("/input", body(30_000_000)).chunked(),
        413,
    )
    .await;
    refused_for_good(
        client,
        Request::json(&format!("/{}", "a".repeat(3000)), GOOD),
        414,
    )
    .await;
    refused_for_good(client, good().header("x-long", "y".repeat(17_000)), 431).await;
    let answer = raw(
        pipeline.address(),
        format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(200_000)).as_bytes(),
    )
    .await;
    assert!(
        answer.starts_with("HTTP/1.1 414 ") || answer.starts_with("HTTP/1.1 431 "),
        "{answer}"
    );
    client.answer(&good()).await.accepted(1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_http_is_refused_and_the_process_goes_on() {
    let pipeline = Pipeline::weather().into_kafka_only().start().await;
    let post = |headers: &str, body: &str| {
        format!(
            "POST /input HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n{headers}\r\n{body}"
        )
    };
    let many_fields: String = (0..200).map(|i| format!("x-{i}: y\r\n")).collect();
    let chunked = format!("{:x}\r\n{GOOD}\r\n0\r\n\r\n", GOOD.len());
    for (bytes, status) in [
        ("GARBAGE\r\n\r\n".to_owned(), 400),
        ("POST /input HTTP/9.9\r\n\r\n".to_owned(), 400),
        (
            "\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}\u{0}\u{1}\u{fc}\u{3}\u{3} hello over TLS\r\n\r\n"
                .to_owned(),
            400,
        ),
        (post("bad header: 1\r\n", ""), 400),
        (post("content-length: abc\r\n", GOOD), 400),
        (
            post("content-length: 5\r\ncontent-length: 6\r\n", GOOD),
            400,
        ),
        (post("transfer-encoding: chunked\r\n", "zz\r\n\r\n"), 400),
        (post("transfer-encoding: gzip, chunked\r\n", &chunked), 400),
        (post("connection: close\r\n", ""), 411),
        (post(&many_fields, ""), 431),
        (post("", "").replace("host: x\r\n", ""), 400),
        (post("host: x\r\n", ""), 400),
        (post("", "").replace("host: x", "host: x, y"), 400),
        (post("", "").replace("host: x", "host: x/input"), 400),
    ] {
        let answer = raw(pipeline.address(), bytes.as_bytes()).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{bytes:?} got {answer:?}"
        );
        pipeline.client().answer(&good()).await.accepted(1);
    }
    assert_eq!(
        pipeline.records("weather").await.len(),
        14,
        "only what was good"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_is_spoken_as_common_clients_speak_it() {
    let pipeline = Pipeline::weather().into_kafka_only().start().await;
    let length = GOOD.len();
    let post = format!(
        "POST /input HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n"
    );

    let twice = format!("{post}\r\n{GOOD}{post}connection: close\r\n\r\n{GOOD}");
    let answers = raw(pipeline.address(), twice.as_bytes()).await;
    assert_eq!(
        answers.matches("HTTP/1.1 200 OK").count(),
        2,
        "pipelined: {answers}"
    );
    let old = post.replace("HTTP/1.1", "HTTP/1.0");
    let answer = raw(pipeline.address(), format!("{old}\r\n{GOOD}").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.0 200 OK"), "{answer}");

    let absolute = post.replace("/input", "http://elsewhere.example/input");
    let head = post.replace("POST", "HEAD");
    let both = format!("{absolute}\r\n{GOOD}{head}connection: close\r\n\r\n{GOOD}");
    let answers = raw(pipeline.address(), both.as_bytes()).await;
    assert!(answers.starts_with("HTTP/1.1 200 OK"), "{answers}");
    assert!(
        answers.contains("HTTP/1.1 405 ") && answers.ends_with("\r\n\r\n"),
        "{answers}"
    );

    let mut stream = TcpStream::connect(pipeline.address())
        .await
        .expect("a connection");
    let head = format!("{post}expect: 100-continue\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await.expect("a header");
    let mut go_on = [0; 25];
    stream
        .read_exact(&mut go_on)
        .await
        .expect("leave to go on, as curl waits for it");
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(GOOD.as_bytes()).await.expect("a body");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    assert_eq!(pipeline.records("weather").await.len(), 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_stalls_is_answered_408_and_nothing_of_it_is_stored() {
    let pipeline = Pipeline::weather()
        .into_kafka_only()
        .with("gateway.body_timeout_ms", 200)
        .with("gateway.idle_timeout_ms", 400)
        .start()
        .await;
    let stalled = format!(
        "POST /input HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-ndjson\r\ncontent-length: 5000\r\n\r\n{GOOD}\n"
    );
    let answer = raw(pipeline.address(), stalled.as_bytes()).await;
    assert!(
        answer.starts_with("HTTP/1.1 408 ") && answer.contains("problem+json"),
        "{answer}"
    );
    assert_eq!(
        raw(pipeline.address(), b"POST /inp")
            .await
            .lines()
            .next()
            .unwrap_or_default(),
        "",
        "closed"
    );
    assert_eq!(
        raw(pipeline.address(), b"").await,
        "",
        "a silent connection is closed"
    );

    let mut cut_off = TcpStream::connect(pipeline.address())
        .await
        .expect("a connection");
    cut_off
        .write_all(stalled.as_bytes())
        .await
        .expect("half a request");
    drop(cut_off);
    pipeline.client().answer(&good()).await.accepted(1);
    assert_eq!(
        pipeline.records("weather").await.len(),
        1,
        "only what was sent in full"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mixed_batch_says_of_each_record_what_became_of_it() {
    let pipeline = Pipeline::weather().start().await;
    let client = &mut pipeline.client();
    let body = format!(
        "[{GOOD}, {{\"texto\": 1}}, 7, {GOOD}, {{\"texto\": \"a\", \"país\": \"b\", \"x\": 1e999}}]"
    );
    let mixed = client.answer(&Request::json("/input", body.clone())).await;
    assert_eq!(
        (mixed.status, mixed.header("content-type")),
        (207, Some("application/json"))
    );
    let document = mixed.document();
    assert_eq!(
        (&document["accepted"], &document["rejected"]),
        (&json!(2), &json!(3))
    );
    let errors = document["errors"].as_array().expect("errors");
    let indices: Vec<_> = errors
        .iter()
        .map(|e| (e["index"].as_u64(), e["status"].as_u64()))
        .collect();
    assert_eq!(
        indices,
        [
            (Some(1), Some(422)),
            (Some(2), Some(422)),
            (Some(4), Some(422))
        ]
    );
    assert_eq!(errors[0]["field"], "texto");
    assert!(
        errors
            .iter()
            .all(|e| e["detail"].as_str().is_some_and(|d| !d.is_empty())),
        "{document}"
    );

    // The key that came with it makes sending the same body again harmless.
    let key = mixed.retry_key().to_owned();
    assert!(key.starts_with("ag-"), "{key}");
    let again = client
        .answer(&Request::json("/input", body.clone()).key(&key))
        .await;
    assert_eq!((again.status, again.retry_key()), (207, key.as_str()));
    let own = client
        .answer(&Request::json("/input", body).key("mine"))
        .await;
    assert_eq!((own.status, own.retry_key()), (207, "mine"));
    pipeline.exact("weather", 4).await;
    assert_eq!(pipeline.records("weather").await.len(), 6);

    let unfit = "{\"texto\": 1}\nnull\n{\"texto\"}\n";
    let problem = refused(client, Request::ndjson("/input", unfit), 422).await;
    let statuses: Vec<_> = problem["errors"]
        .as_array()
        .expect("errors")
        .iter()
        .map(|e| e["status"].as_u64())
        .collect();
    assert_eq!(statuses, [Some(422), Some(422), Some(400)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idempotency_key_has_rules() {
    let pipeline = Pipeline::weather().into_kafka_only().start().await;
    let client = &mut pipeline.client();
    for bad in [
        &b""[..],
        b"\"\"",
        &[b'k'; 256],
        b"a b",
        b"ma\xc3\xb1ana",
        b"a\tb",
    ] {
        refused(client, good().header("idempotency-key", bad), 400).await;
    }
    refused(client, good().key("one").key("one"), 400).await;
    assert!(
        pipeline
            .records("weather")
            .await
            .iter()
            .all(|r| r.header().client_key.is_empty())
    );

    for fine in ["k", "\"quoted\"", "!~", "ag-not-ours", &"k".repeat(255)] {
        client.answer(&good().key(fine)).await.accepted(1);
    }
    client.answer(&good().key("quoted")).await.accepted(1);
    let records = pipeline.records("weather").await;
    let quoted: Vec<_> = records
        .iter()
        .filter(|r| r.header().client_key == b"quoted")
        .collect();
    assert_eq!(quoted.len(), 2, "bare or quoted, it is the same key");
    assert_eq!(quoted[0].id(), quoted[1].id());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_alone_and_the_first_of_a_body_are_one_under_their_key() {
    let pipeline = Pipeline::weather().start().await;
    let client = &mut pipeline.client();
    let other = r#"{"texto":"otra","país":"Chile"}"#;
    let bodies = [
        (good(), 1),
        (Request::json("/input", format!("[{GOOD}]")), 1),
        (Request::ndjson("/input", GOOD), 1),
        (Request::json("/input", format!("[{GOOD},{other}]")), 2),
        (Request::ndjson("/input", format!("{GOOD}\n{other}")), 2),
    ];
    // Under a client's key, and under one that an answer gave.
    let given = aguacero::id::EventId::new_base().retry_key();
    for (key, first) in [("alone", 0), ("array", 1), ("lines", 4), (&given, 3)] {
        for turn in 0..bodies.len() {
            let (request, events) = &bodies[(first + turn) % bodies.len()];
            client
                .answer(&request.clone().key(key))
                .await
                .accepted(*events);
        }
    }
    pipeline.exact("weather", 8).await;
    assert_eq!(pipeline.records("weather").await.len(), 28);
    assert!(pipeline.archive.dead_letters().await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_is_harmless() {
    let pipeline = Pipeline::weather().start().await;
    let client = &mut pipeline.client();
    let batch = format!("{GOOD}\n{GOOD}\n");
    for _ in 0..3 {
        client.answer(&good().key("one")).await.accepted(1);
        client
            .answer(&Request::ndjson("/input", batch.clone()).key("two"))
            .await
            .accepted(2);
    }
    client.answer(&good()).await.accepted(1);
    client.answer(&good()).await.accepted(1);
    pipeline.exact("weather", 5).await;
    assert_eq!(pipeline.records("weather").await.len(), 11);
    assert!(pipeline.archive.dead_letters().await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_has_sent_its_last_byte_gets_its_answers() {
    let pipeline = Pipeline::weather().into_kafka_only().start().await;
    let request = format!(
        "POST /input HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{GOOD}",
        GOOD.len()
    );
    let mut stream = TcpStream::connect(pipeline.address())
        .await
        .expect("a connection");
    stream
        .write_all(request.repeat(2).as_bytes())
        .await
        .expect("two requests");
    stream.shutdown().await.expect("the end of what is sent");
    let mut answers = String::new();
    stream.read_to_string(&mut answers).await.expect("answers");
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 2, "{answers}");
    assert_eq!(pipeline.records("weather").await.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_takes_no_answers_loses_its_connection() {
    let pipeline = Pipeline::weather()
        .into_kafka_only()
        .with("gateway.body_timeout_ms", 300)
        .start()
        .await;
    let mut stream = TcpStream::connect(pipeline.address())
        .await
        .expect("a connection");
    let questions = format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "a".repeat(1000)).repeat(100);
    let asking = async { while stream.write_all(questions.as_bytes()).await.is_ok() {} };
    tokio::time::timeout(e2e::DEADLINE, asking)
        .await
        .expect("it is not waited for without end");
    pipeline.client().answer(&good()).await.accepted(1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_that_are_still_coming_are_bounded_together() {
    let pipeline = Pipeline::weather()
        .into_kafka_only()
        .with("gateway.workers", 1)
        .with("gateway.event_bytes_max", 50_000)
        .with("gateway.body_bytes_max", 1_000_000)
        .with("gateway.bytes_in_flight_max", 1_000_000)
        .with("gateway.partition_bytes_in_flight_max", 500_000)
        .start()
        .await;
    let begin = async || {
        let mut stream = TcpStream::connect(pipeline.address())
            .await
            .expect("a connection");
        let head = "POST /input HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-ndjson\r\ncontent-length: 1000000\r\n\r\n";
        let body = format!("{head}{}", "\n".repeat(900_000));
        stream
            .write_all(body.as_bytes())
            .await
            .expect("most of a body");
        stream
    };
    let (mut one, mut two, mut three) = (begin().await, begin().await, begin().await);
    let answer = async |stream: &mut TcpStream| {
        let mut answer = vec![0; 1024];
        let read = stream.read(&mut answer).await.expect("an answer");
        String::from_utf8_lossy(&answer[..read]).into_owned()
    };
    // Two fit. Whichever comes to be one too many is refused, at once.
    let answer = tokio::select! {
        answer = answer(&mut one) => answer,
        answer = answer(&mut two) => answer,
        answer = answer(&mut three) => answer,
    };
    assert!(
        answer.starts_with("HTTP/1.1 503 ") && answer.contains("retry-after"),
        "{answer}"
    );
    pipeline.client().answer(&good()).await.accepted(1);
}

/// Deadlines short enough to be waited for.
fn impatient() -> e2e::Builder {
    Pipeline::weather()
        .with("kafka.message_timeout_ms", 800)
        .with("gateway.ack_timeout_ms", 1500)
        .with("gateway.request_timeout_ms", 10_000)
        .with("gateway.partition_slow_ms", 500)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_trickles_is_given_up_before_any_of_it_is_sent() {
    let pipeline = Pipeline::weather()
        .into_kafka_only()
        .with("kafka.message_timeout_ms", 1000)
        .with("gateway.ack_timeout_ms", 2000)
        .with("gateway.request_timeout_ms", 2300)
        .start()
        .await;
    let mut stream = TcpStream::connect(pipeline.address())
        .await
        .expect("a connection");
    let head = "POST /input HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100000\r\n\r\n{";
    stream.write_all(head.as_bytes()).await.expect("a header");
    let (mut answers, mut trickle) = stream.split();
    let sending = async {
        loop {
            // Always some progress, never enough.
            if trickle.write_all(b" ").await.is_err() {
                std::future::pending::<()>().await;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let mut answer = vec![0; 1024];
    let read = tokio::select! {
        read = answers.read(&mut answer) => read.expect("an answer"),
        () = sending => unreachable!("it sends for ever"),
    };
    let answer = String::from_utf8_lossy(&answer[..read]);
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    pipeline.client().answer(&good()).await.accepted(1);
    assert_eq!(pipeline.records("weather").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_answered_503_is_not_stored_and_never_will_be() {
    let mut pipeline = impatient().start().await;
    let client = &mut pipeline.client();
    client.answer(&good().key("before")).await.accepted(1);
    pipeline.producer.kill();

    // What leaves before the gateway has noticed is unknown to it.
    e2e::once("the loss noticed", async || {
        let answer = client.answer(&good().key("noticing")).await;
        assert!([503, 504].contains(&answer.status), "{answer:?}");
        answer.status == 503
    })
    .await;
    for i in 0..4 {
        let answer = client.answer(&good().key(&format!("away-{i}"))).await;
        answer.problem(503);
        assert!(
            answer
                .header("retry-after")
                .is_some_and(|s| s.parse::<u32>().is_ok()),
            "{answer:?}"
        );
        assert_eq!(answer.retry_key(), format!("away-{i}"));
    }
    let nameless = client.answer(&good()).await;
    nameless.problem(503);
    let key = nameless.retry_key().to_owned();
    let batch = client
        .answer(&Request::ndjson("/input", format!("{GOOD}\n{GOOD}")))
        .await;
    let statuses: Vec<_> = batch.problem(503)["errors"]
        .as_array()
        .expect("errors")
        .iter()
        .map(|e| e["status"].clone())
        .collect();
    assert_eq!(statuses, [503, 503]);
    let mixed = client
        .answer(&Request::ndjson("/input", format!("{GOOD}\n{{}}")))
        .await;
    assert_eq!(
        (mixed.status, &mixed.document()["accepted"]),
        (207, &json!(0))
    );
    refused_even_so(client).await;
    assert!(
        pipeline.gateway.is_ready().await,
        "an outage is answered, not left to another replica"
    );

    pipeline.producer.start_ready().await;
    e2e::once("the way to Kafka back", async || {
        client.answer(&good().key("before")).await.status == 200
    })
    .await;
    client.answer(&good().key("away-0")).await.accepted(1);
    client.answer(&good().key(&key)).await.accepted(1);
    pipeline.exact("weather", 3).await;
}

/// What is the client's to mend is said whether Kafka is there or not.
async fn refused_even_so(client: &mut Client) {
    client
        .answer(&Request::json("/input", "{}"))
        .await
        .problem(422);
    client
        .answer(&Request::json("/nowhere", GOOD))
        .await
        .problem(404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_answered_504_may_be_stored_and_is_safe_to_send_again() {
    let pipeline = impatient().start().await;
    let client = &mut pipeline.client();
    client.answer(&good()).await.accepted(1);
    pipeline.producer.freeze().await;
    let batch = Request::ndjson("/input", format!("{GOOD}\n{GOOD}\n{GOOD}\n"));
    let unknown = client.answer(&batch).await;
    let problem = unknown.problem(504);
    assert!(
        problem["detail"]
            .as_str()
            .is_some_and(|d| d.contains("Idempotency-Key")),
        "{problem}"
    );
    let key = unknown.retry_key().to_owned();
    assert!(key.starts_with("ag-"), "{key}");
    pipeline.producer.thaw();

    let again = batch.key(&key);
    e2e::once("stored", async || client.answer(&again).await.status == 200).await;
    pipeline.exact("weather", 4).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_leaves_takes_nothing_with_it() {
    let pipeline = impatient()
        .with("gateway.ack_timeout_ms", 8000)
        .start()
        .await;
    pipeline.client().answer(&good()).await.accepted(1);
    pipeline.producer.freeze().await;
    for i in 0..5 {
        let mut impatient = pipeline.client();
        let request = good().key(&format!("gone-{i}"));
        let gone = tokio::time::timeout(Duration::from_millis(50), impatient.send(&request)).await;
        assert!(gone.is_err(), "there can be no answer yet");
    }
    pipeline.producer.thaw();
    let mut client = pipeline.client();
    for i in 0..5 {
        client
            .answer(&good().key(&format!("gone-{i}")))
            .await
            .accepted(1);
    }
    pipeline.exact("weather", 6).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beyond_what_may_be_on_its_way_the_answer_is_503_at_once() {
    let pipeline = Pipeline::weather()
        .with("gateway.workers", 1)
        .with("gateway.event_bytes_max", 10_000)
        .with("gateway.partition_bytes_in_flight_max", 60_000)
        .with("gateway.bytes_in_flight_max", 60_000)
        .with("gateway.partition_slow_ms", 10_000)
        .start()
        .await;
    pipeline.client().answer(&good()).await.accepted(1);
    pipeline.producer.freeze().await;
    let large = format!(
        r#"{{"texto": "a", "país": "b", "x": "{}"}}"#,
        "x".repeat(9_000)
    );
    let mut waiting = tokio::task::JoinSet::new();
    for _ in 0..30 {
        let (mut client, request) = (pipeline.client(), Request::json("/input", large.clone()));
        waiting.spawn(async move { client.answer(&request).await });
    }
    // Whoever comes while there is room is taken: the seventh too.
    for _ in 0..23 {
        let answer = waiting
            .join_next()
            .await
            .expect("another answer")
            .expect("joined");
        answer.problem(503);
        assert!(answer.header("retry-after").is_some(), "{answer:?}");
    }
    pipeline.producer.thaw();
    while let Some(answer) = waiting.join_next().await {
        answer.expect("joined").accepted(1);
    }
    pipeline.exact("weather", 8).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_beyond_the_bound_wait_for_their_turn() {
    let pipeline = Pipeline::weather()
        .into_kafka_only()
        .with("gateway.workers", 1)
        .with("gateway.connections_max", 2)
        .start()
        .await;
    let (mut first, mut second, mut third) =
        (pipeline.client(), pipeline.client(), pipeline.client());
    first.answer(&good()).await.accepted(1);
    second.answer(&good()).await.accepted(1);
    let waiting = tokio::spawn(async move { third.answer(&good()).await });
    first.answer(&good()).await.accepted(1);
    second.answer(&good()).await.accepted(1);
    assert!(!waiting.is_finished(), "there is no room yet");
    drop(first);
    waiting.await.expect("joined").accepted(1);
}
