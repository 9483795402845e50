//! HTTP/2: the same promises, and what a client could do there and not in HTTP/1.1.

use std::time::Duration;

use bytes::Bytes;
use e2e::{
    Pipeline, Request,
    frames::{Frames, PREFACE, block, flag, frame, kind, post},
    load::tweet,
    once, raw,
};
use futures_util::future::join_all;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{io::AsyncWriteExt as _, net::TcpStream};

const END: u8 = flag::END_STREAM | flag::END_HEADERS;
const ENHANCE_YOUR_CALM: u32 = 0xb;

async fn connect(pipeline: &Pipeline) -> SendRequest<Full<Bytes>> {
    let stream = TcpStream::connect(pipeline.address()).await.expect("one");
    let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (sender, connection) = handshake.await.expect("HTTP/2 by prior knowledge");
    tokio::spawn(connection);
    sender
}

async fn send(
    sender: &SendRequest<Full<Bytes>>,
    request: hyper::Request<Full<Bytes>>,
) -> (u16, String) {
    let response = sender
        .clone()
        .send_request(request)
        .await
        .expect("an answer");
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.expect("its body");
    (
        status,
        String::from_utf8_lossy(&body.to_bytes()).into_owned(),
    )
}

fn request(method: &str, body: impl Into<Bytes>) -> hyper::Request<Full<Bytes>> {
    hyper::Request::builder()
        .method(method)
        .uri("http://localhost/input")
        .header("content-type", "application/json")
        .body(Full::new(body.into()))
        .expect("a request")
}

/// A good client of another connection is served.
async fn goes_on(pipeline: &Pipeline, n: usize) {
    let answer = pipeline
        .client()
        .answer(&Request::json("/input", tweet(n)))
        .await;
    answer.accepted(1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_are_taken_on_many_streams_of_one_connection() {
    let pipeline = Pipeline::weather().into_kafka_only().start().await;
    let sender = connect(&pipeline).await;
    let sent = (0..500).map(|n| send(&sender, request("POST", tweet(n))));
    for answer in join_all(sent).await {
        assert_eq!(answer, (200, r#"{"accepted":1}"#.to_owned()));
    }
    assert_eq!(pipeline.records("weather").await.len(), 500);
    // A body that takes many windows, and an answer of many frames.
    let many = format!("[{}0]", "0,".repeat(9_999));
    let (status, answer) = send(&sender, request("POST", many)).await;
    assert_eq!(status, 422, "{}", &answer[..100]);
    assert_eq!(answer.matches("\"index\"").count(), 10_000);
    let large = format!(r#"{{"texto":"{}","país":"Chile"}}"#, "x".repeat(3 << 20));
    assert_eq!(send(&sender, request("POST", large)).await.0, 413);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_contract_is_that_of_http1() {
    let pipeline = Pipeline::weather().into_kafka_only().start().await;
    let sender = connect(&pipeline).await;
    for (method, status) in [("GET", 405), ("OPTIONS", 204), ("PUT", 405)] {
        assert_eq!(
            send(&sender, request(method, "")).await.0,
            status,
            "{method}"
        );
    }
    let changed = |change: fn(&mut hyper::Request<Full<Bytes>>)| {
        let mut request = request("POST", tweet(1));
        change(&mut request);
        request
    };
    let (status, answer) = send(
        &sender,
        changed(|r| {
            r.headers_mut()
                .insert("host", "other".parse().expect("a host"));
        }),
    )
    .await;
    assert_eq!(status, 400);
    assert!(answer.contains(":authority"), "{answer}");
    let same = changed(|r| {
        r.headers_mut()
            .insert("host", "localhost".parse().expect("a host"));
    });
    assert_eq!(send(&sender, same).await.0, 200);
    let long = changed(|r| {
        r.headers_mut()
            .insert("x", "y".repeat(17 << 10).parse().expect("a value"));
    });
    assert_eq!(send(&sender, long).await.0, 431);
    assert_eq!(
        send(&sender, request("POST", tweet(2))).await.0,
        200,
        "the connection goes on"
    );

    // What is malformed (RFC 9113, section 8.1.1) ends its stream, or its connection, and stores nothing.
    let before = pipeline.records("weather").await.len();
    for fields in [
        &[(":method", "POST"), (":scheme", "http")][..],
        &[
            (":method", "POST"),
            (":path", "/input"),
            (":scheme", "http"),
            ("Upper", "x"),
        ],
        &[
            (":method", "POST"),
            (":path", "/input"),
            (":scheme", "http"),
            ("connection", "close"),
        ],
        &[
            (":method", "POST"),
            (":path", "/input"),
            (":scheme", "http"),
            ("transfer-encoding", "chunked"),
        ],
        &[
            (":method", "POST"),
            ("x", "y"),
            (":path", "/input"),
            (":scheme", "http"),
        ],
        &[
            (":method", "POST"),
            (":path", "/input"),
            (":scheme", "http"),
            ("te", "gzip"),
        ],
    ] {
        let mut client = Frames::begin(pipeline.address(), b"").await;
        let header = frame(kind::HEADERS, flag::END_HEADERS, 1, &block(fields));
        let body = frame(kind::DATA, flag::END_STREAM, 1, tweet(3).as_bytes());
        let sent = [header, body].concat();
        client.write(&sent).await;
        let refused = async {
            while let Some((kind, _, stream, payload)) = client.next().await {
                match kind {
                    kind::RESET | kind::GOAWAY => return true,
                    // :status 400, 404 or 411 of the static table, or spelled out.
                    kind::HEADERS if stream == 1 => return payload.first() != Some(&0x88),
                    _ => {}
                }
            }
            true
        };
        assert!(refused.await, "{fields:?}");
    }
    let lying = [
        frame(
            kind::HEADERS,
            flag::END_HEADERS,
            1,
            &[post("/input"), block(&[("content-length", "9")])].concat(),
        ),
        frame(kind::DATA, flag::END_STREAM, 1, tweet(3).as_bytes()),
    ];
    let mut client = Frames::begin(pipeline.address(), b"").await;
    client.write(&lying.concat()).await;
    while client
        .next()
        .await
        .is_some_and(|(kind, ..)| kind != kind::RESET && kind != kind::GOAWAY)
    {}
    goes_on(&pipeline, 4).await;
    assert_eq!(pipeline.records("weather").await.len(), before + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_stalls_is_a_408_and_the_other_streams_go_on() {
    let pipeline = Pipeline::weather()
        .into_kafka_only()
        .with("gateway.body_timeout_ms", 500)
        .start()
        .await;
    let mut client = Frames::begin(pipeline.address(), b"").await;
    let header = frame(kind::HEADERS, flag::END_HEADERS, 1, &post("/input"));
    let part = frame(kind::DATA, 0, 1, b"{");
    let whole = [
        frame(kind::HEADERS, flag::END_HEADERS, 3, &post("/input")),
        frame(kind::DATA, flag::END_STREAM, 3, tweet(1).as_bytes()),
    ];
    let sent = [header, part, whole.concat()].concat();
    client.write(&sent).await;
    let (mut of_one, mut of_three) = (String::new(), String::new());
    while !of_one.contains("408") || of_three.is_empty() {
        let (kind, _, stream, payload) = client.next().await.expect("the connection goes on");
        if kind == kind::DATA {
            let text = String::from_utf8_lossy(&payload).into_owned();
            if stream == 1 {
                of_one += &text
            } else {
                of_three += &text
            }
        }
    }
    assert_eq!(of_three, r#"{"accepted":1}"#);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silence_ends_a_connection() {
    let pipeline = Pipeline::weather()
        .into_kafka_only()
        .with("gateway.idle_timeout_ms", 500)
        .with("gateway.header_timeout_ms", 500)
        .with("gateway.body_timeout_ms", 500)
        .start()
        .await;
    assert_eq!(
        raw(pipeline.address(), &PREFACE[..10]).await,
        "",
        "half a preface"
    );
    let mut silent = Frames::begin(pipeline.address(), b"").await;
    assert_eq!(silent.ended().await, Some(0), "a GOAWAY without blame");
    let mut half = Frames::begin(pipeline.address(), b"").await;
    let header = frame(kind::HEADERS, 0, 1, &post("/input"));
    half.write(&header).await;
    half.ended().await;
    pipeline.nobody_connected().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_cannot_leave_is_given_up() {
    let pipeline = Pipeline::weather()
        .into_kafka_only()
        .with("gateway.idle_timeout_ms", 500)
        .with("gateway.body_timeout_ms", 500)
        .with("kafka.message_timeout_ms", 300)
        .with("gateway.ack_timeout_ms", 400)
        .with("gateway.request_timeout_ms", 1_000)
        .start()
        .await;
    // SETTINGS_INITIAL_WINDOW_SIZE: 0
    let mut client = Frames::begin(pipeline.address(), &[0, 4, 0, 0, 0, 0]).await;
    let request = frame(kind::HEADERS, END, 1, &post("/nowhere"));
    client.write(&request).await;
    client.ended().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_count_as_connections_of_their_address_do() {
    let pipeline = Pipeline::weather()
        .into_kafka_only()
        .with("gateway.connections_per_address_max", 4)
        .start()
        .await;
    let mut client = Frames::begin(pipeline.address(), b"").await;
    let refused = 7_u32.to_be_bytes(); // REFUSED_STREAM
    let open = |stream| frame(kind::HEADERS, flag::END_HEADERS, stream, &post("/input"));
    // Three that wait for their bodies beside the connection itself, and too many, again and again.
    client.write(&[open(1), open(3), open(5)].concat()).await;
    for stream in (7..).step_by(2).take(200) {
        client.write(&open(stream)).await;
        let (_, _, of, reason) = loop {
            let frame = client.next().await.expect("the connection goes on");
            if frame.0 == kind::RESET {
                break frame;
            }
        };
        assert_eq!((of, &reason[..]), (stream, &refused[..]));
    }
    // One of them is answered, and its place is free.
    client
        .write(&frame(kind::DATA, flag::END_STREAM, 1, tweet(1).as_bytes()))
        .await;
    while client.next().await.expect("an answer").0 != kind::DATA {}
    once("a place is free", async || {
        let request = Request::json("/input", tweet(2));
        let answer = pipeline.client().send(&request).await;
        answer.is_ok_and(|answer| answer.status == 200)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_opens_streams_only_to_reset_them_is_left() {
    let pipeline = Pipeline::weather().into_kafka_only().start().await;
    let mut client = Frames::begin(pipeline.address(), b"").await;
    // Each is begun before it is taken back: the PING behind it is answered. Those that are not are h2's to count.
    let mut taken_back = 0;
    'open: loop {
        let stream = 2 * taken_back + 1;
        let opened = frame(kind::HEADERS, flag::END_HEADERS, stream, &post("/input"));
        let ping = frame(kind::PING, 0, 0, b"begun it");
        client.write(&[opened, ping].concat()).await;
        loop {
            match client.next().await {
                Some((kind::PING, flag::ACK, ..)) => break,
                Some(_) => {}
                None => break 'open,
            }
        }
        let reset = frame(kind::RESET, 0, stream, &8_u32.to_be_bytes());
        client.write(&reset).await;
        taken_back += 1;
        assert!(taken_back < 200, "it goes on");
    }
    assert!(taken_back > 50, "{taken_back} is what a good client may do");
    // At once, as fast as it goes.
    let mut client = Frames::begin(pipeline.address(), b"").await;
    let burst: Vec<u8> = (0..500)
        .flat_map(|n| {
            let opened = frame(kind::HEADERS, flag::END_HEADERS, 2 * n + 1, &post("/input"));
            [
                opened,
                frame(kind::RESET, 0, 2 * n + 1, &8_u32.to_be_bytes()),
            ]
            .concat()
        })
        .collect();
    client.write(&burst).await;
    assert!(matches!(
        client.ended().await,
        None | Some(ENHANCE_YOUR_CALM)
    ));
    goes_on(&pipeline, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_refused_again_and_again_has_taken_nothing_back() {
    let pipeline = Pipeline::weather().into_kafka_only().start().await;
    let mut client = Frames::begin(pipeline.address(), b"").await;
    for stream in (1..).step_by(2).take(200) {
        let opened = frame(kind::HEADERS, flag::END_HEADERS, stream, &post("/nowhere"));
        let body = frame(kind::DATA, flag::END_STREAM, stream, b"{}");
        client.write(&[opened, body].concat()).await;
        loop {
            let (kind, _, of, _) = client.next().await.expect("the connection goes on");
            if (kind, of) == (kind::HEADERS, stream) {
                break;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_of_frames_cost_no_memory_and_stop_nobody() {
    const MANY: usize = 24 << 20;
    let pipeline = Pipeline::weather().into_kafka_only().start().await;
    goes_on(&pipeline, 0).await;
    let before = pipeline.gateway.memory_peak();
    let ping = frame(kind::PING, 0, 0, b"12345678").repeat(1_000);
    let settings = frame(kind::SETTINGS, 0, 0, &[0, 4, 0, 0, 255, 255]).repeat(1_000);
    let empty = frame(kind::DATA, 0, 1, b"").repeat(1_000);
    let more = frame(
        kind::CONTINUATION,
        0,
        1,
        &block(&[("x", &"y".repeat(100))]).repeat(100),
    );
    let one_more = frame(kind::CONTINUATION, 0, 1, b"").repeat(1_000);
    let header = frame(kind::HEADERS, 0, 1, &post("/input"));
    let open = frame(kind::HEADERS, flag::END_HEADERS, 1, &post("/input"));
    for (name, first, again, has_to_end) in [
        ("PING", &b""[..], &ping, false),
        ("SETTINGS", b"", &settings, false),
        ("empty DATA", &open, &empty, false),
        ("CONTINUATION", &header, &more, true),
        ("empty CONTINUATION", &header, &one_more, true),
    ] {
        let mut client = Frames::begin(pipeline.address(), b"").await;
        client.write(first).await;
        let flood = client.flood(again, MANY);
        let good = async {
            for n in 0..20 {
                goes_on(&pipeline, n).await;
            }
        };
        let (has_ended, ()) = tokio::join!(flood, good);
        assert!(has_ended || !has_to_end, "{name} goes on");
    }
    let grown = pipeline.gateway.memory_peak() - before;
    assert!(grown < 32 << 20, "{grown} bytes more at the peak");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown_answers_what_has_begun() {
    let mut pipeline = Pipeline::weather().into_kafka_only().start().await;
    let mut client = Frames::begin(pipeline.address(), b"").await;
    let header = frame(kind::HEADERS, flag::END_HEADERS, 1, &post("/input"));
    client.write(&header).await;
    once("the request has begun", async || {
        pipeline
            .gateway
            .metric("aguacero_gateway_connections")
            .await
            == 1.0
            && pipeline
                .gateway
                .metric("aguacero_gateway_connections_asleep")
                .await
                == 0.0
    })
    .await;
    pipeline.gateway.terminate();
    while client.next().await.expect("a GOAWAY").0 != kind::GOAWAY {}
    let body = frame(kind::DATA, flag::END_STREAM, 1, tweet(1).as_bytes());
    client.write(&body).await;
    let mut answer = Vec::new();
    while let Some((kind, _, _, payload)) = client.next().await {
        match kind {
            kind::DATA => answer.extend(payload),
            // The first GOAWAY comes with a PING, whose answer says that the client has seen it.
            kind::PING => {
                let pong = frame(kind::PING, 1, 0, &payload);
                client.write(&pong).await;
            }
            _ => {}
        }
    }
    assert_eq!(answer, br#"{"accepted":1}"#);
    assert!(
        tokio::time::timeout(Duration::from_secs(60), pipeline.gateway.ended())
            .await
            .is_ok()
    );
}

/// A connection of its own that has begun, and a header of which only the beginning came.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn part_of_a_header_has_the_time_of_a_header_and_not_that_of_silence() {
    let pipeline = Pipeline::weather()
        .into_kafka_only()
        .with("gateway.header_timeout_ms", 1_500)
        .with("gateway.idle_timeout_ms", 300_000)
        .start()
        .await;
    let header = post("/input");
    let whole = frame(kind::HEADERS, END, 1, &header);
    let unended = frame(kind::HEADERS, flag::END_STREAM, 1, &header[..20]);
    let more = frame(kind::CONTINUATION, 0, 1, b"");
    let begins = [
        whole[..whole.len() - 1].to_vec(), // half a frame
        unended.clone(),
        [unended.clone(), more.clone(), more[..5].to_vec()].concat(),
    ];
    let ends = begins.map(async |begin| {
        let mut client = Frames::begin(pipeline.address(), b"").await;
        client.write(&begin).await;
        client.ended().await;
    });
    join_all(ends).await;
    // However it trickles.
    let mut trickle = Frames::begin(pipeline.address(), b"").await;
    trickle.write(&unended).await;
    let trickling = async {
        while trickle.stream.write_all(&more).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let ended = tokio::time::timeout(e2e::DEADLINE, trickling).await;
    assert!(ended.is_ok(), "the gateway ends it");
    // Who is silent between two whole ones has more time.
    let mut silent = Frames::begin(pipeline.address(), b"").await;
    silent
        .write(
            &[
                frame(kind::HEADERS, flag::END_HEADERS, 1, &header),
                frame(kind::DATA, flag::END_STREAM, 1, tweet(1).as_bytes()),
            ]
            .concat(),
        )
        .await;
    while silent.next().await.expect("an answer").0 != kind::DATA {}
    tokio::time::sleep(Duration::from_millis(3_000)).await;
    let again = [
        frame(kind::HEADERS, flag::END_HEADERS, 3, &header),
        frame(kind::DATA, flag::END_STREAM, 3, tweet(1).as_bytes()),
    ];
    silent.write(&again.concat()).await;
    while silent.next().await.expect("an answer").0 != kind::DATA {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_of_a_stream_that_is_reset_are_counted_by_what_became_of_them() {
    let pipeline = Pipeline::weather()
        .into_kafka_only()
        .with("gateway.partition_slow_ms", 10_000)
        .start()
        .await;
    goes_on(&pipeline, 0).await;
    let metric = async |name: &str| pipeline.gateway.metric(name).await;
    pipeline.producer.freeze().await; // so that they are in the middle of their way
    let mut client = Frames::begin(pipeline.address(), b"").await;
    let batch = format!("[{}]", vec![tweet(1); 10].join(","));
    let streams = [1, 3, 5, 7, 9];
    let in_flight = async || metric("aguacero_gateway_bytes_in_flight").await;
    let mut of_one = 0.0;
    for stream in streams {
        let header = frame(kind::HEADERS, flag::END_HEADERS, stream, &post("/input"));
        let body = frame(kind::DATA, flag::END_STREAM, stream, batch.as_bytes());
        client.write(&[header, body].concat()).await;
        if stream == streams[0] {
            once("the first of them taken in", async || {
                in_flight().await > 0.0
            })
            .await;
            of_one = in_flight().await;
        }
    }
    // The first one holds a little more than each other: the names under which it is counted.
    once("all of them taken in", async || {
        in_flight().await > 4.5 * of_one
    })
    .await;
    for stream in streams {
        let cancel = 8_u32.to_be_bytes();
        client.write(&frame(kind::RESET, 0, stream, &cancel)).await;
    }
    once("their client's leaving is counted", async || {
        metric("aguacero_gateway_requests_cancelled_total").await == 5.0
    })
    .await;
    pipeline.producer.thaw();
    let stored = async || {
        let mut admin = e2e::Client::new(
            pipeline
                .gateway
                .setting("gateway.admin")
                .parse()
                .expect("one"),
        );
        let metrics = admin.answer(&Request::get("/metrics")).await.text();
        let stored = "aguacero_gateway_events_total{stream=\"weather\",outcome=\"stored\"";
        let mut lines = metrics.lines();
        lines.any(|line| line.starts_with(stored) && line.ends_with(" 51"))
    };
    once("they are counted as stored", stored).await;
    assert_eq!(
        metric("aguacero_gateway_answers_total").await,
        1.0,
        "what was not sent is no answer"
    );
    assert_eq!(pipeline.records("weather").await.len(), 51);
}
