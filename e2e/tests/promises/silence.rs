//! Clients that keep a connection and say nothing: they cost next to nothing and lose nothing.

use e2e::{Client, Pipeline, Request, load::tweet, once, raw};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

const ASLEEP: &str = "aguacero_gateway_connections_asleep";

async fn asleep(pipeline: &Pipeline, connections: f64) {
    once("that many connections asleep", async || {
        pipeline.gateway.metric(ASLEEP).await == connections
    })
    .await;
}

async fn send(client: &mut Client, n: usize) {
    let answer = client.answer(&Request::json("/input", tweet(n))).await;
    answer.accepted(1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_goes_on_over_a_connection_that_was_silent() {
    let pipeline = Pipeline::weather().into_kafka_only().start().await;
    let mut clients = [pipeline.client(), pipeline.client()];
    for n in 0..3 {
        for client in &mut clients {
            send(client, n).await;
        }
        asleep(&pipeline, 2.0).await;
    }
    assert_eq!(clients.map(|client| client.connections()), [1, 1]);
    assert_eq!(pipeline.records("weather").await.len(), 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_header_that_comes_in_parts_is_not_forgotten_between_them() {
    let pipeline = Pipeline::weather().into_kafka_only().start().await;
    let body = tweet(1);
    let request = format!(
        "POST /input HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let (first, second) = request.split_at(20);
    let mut slow = TcpStream::connect(pipeline.address()).await.expect("one");
    slow.write_all(first.as_bytes()).await.expect("its half");
    // One that began after it is asleep, so this one was silent for as long.
    let mut later = pipeline.client();
    send(&mut later, 2).await;
    asleep(&pipeline, 1.0).await;
    slow.write_all(second.as_bytes()).await.expect("the rest");
    let mut answer = String::new();
    slow.read_to_string(&mut answer).await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silence_ends_a_connection_and_holds_no_shutdown_up() {
    let mut pipeline = Pipeline::weather()
        .into_kafka_only()
        .with("gateway.idle_timeout_ms", 2_000)
        .start()
        .await;
    let closed = raw(pipeline.address(), b"");
    let (closed, ()) = tokio::join!(closed, asleep(&pipeline, 1.0));
    assert_eq!(closed, "");
    asleep(&pipeline, 0.0).await;

    let mut client = pipeline.client();
    send(&mut client, 1).await;
    asleep(&pipeline, 1.0).await;
    pipeline.gateway.shut_down().await;
    pipeline.gateway.start_ready().await;
    send(&mut client, 2).await;
    assert_eq!(client.connections(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn part_of_a_header_holds_a_shutdown_up_no_longer_than_a_header_may_take() {
    let mut pipeline = Pipeline::weather()
        .into_kafka_only()
        .with("gateway.header_timeout_ms", 3_000)
        .with("gateway.drain_timeout_ms", 120_000)
        .start()
        .await;
    let part = async || {
        let mut stream = TcpStream::connect(pipeline.address()).await.expect("one");
        stream.write_all(b"POST /input HTTP/1.1").await.expect("it");
        stream
    };
    let _before = part().await;
    // One that began after it is asleep, so the one before was silent for as long.
    let mut idle = pipeline.client();
    send(&mut idle, 1).await;
    asleep(&pipeline, 1.0).await;
    let _just_now = part().await;
    pipeline.gateway.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_header_that_goes_on_and_on_is_not_waited_for() {
    let pipeline = Pipeline::weather()
        .into_kafka_only()
        .with("gateway.header_timeout_ms", 1_500)
        .start()
        .await;
    let mut slow = TcpStream::connect(pipeline.address()).await.expect("one");
    let endless = async {
        slow.write_all(b"POST /input HTTP/1.1\r\n").await?;
        loop {
            slow.write_all(b"x: y\r\n").await?; // an error as soon as nobody listens
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    };
    let ended: std::io::Result<()> = tokio::time::timeout(e2e::DEADLINE, endless)
        .await
        .expect("the gateway ends it");
    assert!(ended.is_err());
}
