//! What one client's address may take.

use std::net::SocketAddr;

use e2e::{
    Pipeline, Request,
    frames::{Frames, block, fields, flag, frame, kind},
    load::tweet,
    once, raw,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
};

const OPEN: &str = "aguacero_gateway_connections";
const REFUSED: &str = "aguacero_gateway_connections_refused_total";
const ANSWERS: &str = "aguacero_gateway_answers_total";
const MIB: usize = 1 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_has_so_many_connections_and_no_more() {
    let pipeline = Pipeline::weather()
        .into_kafka_only()
        .with("gateway.connections_per_address_max", 3)
        .start()
        .await;
    let connect = || TcpStream::connect(pipeline.address());
    let mut held = vec![connect().await.expect("one"), connect().await.expect("two")];
    let mut client = pipeline.client();
    client
        .answer(&Request::json("/input", tweet(1)))
        .await
        .accepted(1);
    assert_eq!(
        raw(pipeline.address(), b"").await,
        "",
        "the fourth is closed"
    );
    once("it is counted", async || {
        pipeline.gateway.metric(REFUSED).await == 1.0
    })
    .await;
    assert!(
        pipeline
            .gateway
            .log()
            .contains("gateway.connections_per_address_max")
    );
    client
        .answer(&Request::json("/input", tweet(2)))
        .await
        .accepted(1);

    held.pop();
    once("one has left", async || {
        pipeline.gateway.metric(OPEN).await == 2.0
    })
    .await;
    let mut another = pipeline.client();
    another
        .answer(&Request::json("/input", tweet(3)))
        .await
        .accepted(1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_a_proxy_the_bound_is_that_of_the_clients_requests() {
    let toml = e2e::repository("aguacero.toml");
    let cors = "[streams.weather]\ncors = { origins = [\"https://a.example\"] }\n";
    let pipeline = Pipeline::builder(&toml.replace("[streams.weather]\n", cors))
        .into_kafka_only()
        .with("gateway.connections_per_address_max", 1)
        .with("gateway.proxies", "127.0.0.0/8, ::1")
        .start()
        .await;
    // In progress: its body has not come.
    let mut slow = TcpStream::connect(pipeline.address()).await.expect("one");
    let body = tweet(1);
    let header = format!(
        "POST /input HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx-forwarded-for: 9.9.9.9, 1.2.3.4\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    slow.write_all(header.as_bytes()).await.expect("its header");
    let of = |address: &str| {
        let request = Request::json("/input", tweet(2)).header("x-forwarded-for", address);
        request.header("origin", "https://a.example")
    };
    let mut client = pipeline.client();
    once("the request in progress is noticed", async || {
        let answer = client.answer(&of("1.2.3.4")).await;
        if answer.status == 200 {
            return false;
        }
        assert_eq!(answer.header("retry-after"), Some("1"));
        let readable_by = answer.header("access-control-allow-origin");
        assert_eq!(readable_by, Some("https://a.example"), "{answer:?}");
        answer.problem(429);
        true
    })
    .await;
    // What the client itself said of its address counts for nothing.
    assert_eq!(client.answer(&of("5.6.7.8, 1.2.3.4")).await.status, 429);
    for other in ["5.6.7.8", "1.2.3.4, 9.9.9.9"] {
        client.answer(&of(other)).await.accepted(1);
    }
    slow.write_all(body.as_bytes()).await.expect("its body");
    let mut answer = String::new();
    slow.read_to_string(&mut answer).await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    client.answer(&of("1.2.3.4")).await.accepted(1);
}

/// The first `bytes` of a body of 1 MiB, from another address of this machine.
async fn unfinished(to: SocketAddr, bytes: usize) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    let from = SocketAddr::from(([127, 0, 0, 9], 0));
    socket.bind(from).expect("another address");
    let mut stream = socket.connect(to).await.expect("a connection");
    let header = format!(
        "POST /input HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-ndjson\r\ncontent-length: {MIB}\r\n\r\n"
    );
    stream
        .write_all(header.as_bytes())
        .await
        .expect("its header");
    _ = stream.write_all(&vec![b'\n'; bytes]).await; // it may be refused meanwhile
    stream
}

/// Twenty bodies of HTTP/2 that have no end, each with all that a client sends ahead of two frames.
async fn in_two_pieces(to: SocketAddr, client: &str) -> Frames {
    let mut frames = Frames::begin(to, b"").await;
    let of_client = [("x-forwarded-for", client)];
    let fields = block(&[&fields("/input")[..], &of_client].concat());
    let has_room = |frame: &(u8, u8, u32, Vec<u8>)| (frame.0, frame.2) == (kind::WINDOW, 0);
    while !has_room(&frames.next().await.expect("settings and a window")) {}
    for stream in (1..).step_by(2).take(20) {
        let piece = frame(kind::DATA, 0, stream, &[b'\n'; 16 << 10]);
        let header = frame(kind::HEADERS, flag::END_HEADERS, stream, &fields);
        frames.write(&[header, piece.clone(), piece].concat()).await;
    }
    frames
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_address_leaves_room_for_the_large_bodies_of_others() {
    let pipeline = Pipeline::weather()
        .into_kafka_only()
        .with("gateway.workers", 1)
        .with("gateway.proxies", "127.0.0.0/8")
        .with("gateway.body_bytes_max", MIB)
        .with("gateway.bytes_in_flight_max", 4 * MIB)
        .with("gateway.partition_bytes_in_flight_max", 4 * MIB)
        .start()
        .await;
    let mut held = Vec::new();
    for _ in 0..8 {
        held.push(unfinished(pipeline.address(), MIB - 1).await);
    }
    let refused = format!("{ANSWERS}{{stream=\"weather\",status=\"503\"}}");
    once("its share is used up", async || {
        pipeline.gateway.metric(&refused).await >= 4.0
    })
    .await;
    // Another one, whose bodies have two pieces each.
    let mut streams = Vec::new();
    for _ in 0..4 {
        streams.push(in_two_pieces(pipeline.address(), "6.6.6.6").await);
    }
    once("its share is used up, too", async || {
        pipeline.gateway.metric(&refused).await >= 30.0
    })
    .await;
    let lines: Vec<_> = (0..6_000).map(tweet).collect();
    let body = lines.join("\n");
    assert!(body.len() > MIB / 4, "in many pieces: {}", body.len());
    let large = Request::ndjson("/input", body);
    pipeline.client().answer(&large).await.accepted(lines.len());

    drop((held, streams));
    for _ in 0..4 {
        let mut again = unfinished(pipeline.address(), MIB - 1).await;
        again.write_all(b"\n").await.expect("its end");
        let mut answer = [0; 12];
        again.read_exact(&mut answer).await.expect("an answer");
        assert_eq!(&answer, b"HTTP/1.1 422", "no events, and not 503");
    }
}
