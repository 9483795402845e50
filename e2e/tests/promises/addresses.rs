//! What one client's address may take.

use e2e::{Pipeline, Request, load::tweet, once, raw};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

const OPEN: &str = "aguacero_gateway_connections";
const REFUSED: &str = "aguacero_gateway_connections_refused_total";

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
    let pipeline = Pipeline::weather()
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
    let of = |address: &str| Request::json("/input", tweet(2)).header("x-forwarded-for", address);
    let mut client = pipeline.client();
    once("the request in progress is noticed", async || {
        let answer = client.answer(&of("1.2.3.4")).await;
        if answer.status == 200 {
            return false;
        }
        assert_eq!(answer.header("retry-after"), Some("1"));
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
