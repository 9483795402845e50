//! The protocol: whoever breaks it is told why, and nobody else notices.

use std::time::{Duration, Instant};

use aguacero_proto::deltas::{DeltaFrame, PROTOCOL, to_redis_writer};
use futures_util::SinkExt as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
};
use tokio_tungstenite::tungstenite::{Message, protocol::frame::coding::CloseCode};

use crate::fixture::{Writer, keys};

#[tokio::test]
async fn a_hello_that_is_not_understood_is_refused_with_the_reason() {
    let writer = Writer::start().await;
    for (protocol, run, reason) in [
        (PROTOCOL + 1, &[1; 16][..], "protocol version 2"),
        (0, &[1; 16], "protocol version 0"),
        (PROTOCOL, &[1; 15], "16 bytes"),
        (PROTOCOL, &[], "16 bytes"),
    ] {
        let mut gateway = writer.silent_gateway().await;
        gateway.send_hello(protocol, run, 0).await;
        let close = gateway.closed().await;
        assert_eq!(close.code, CloseCode::Protocol);
        assert!(close.reason.contains(reason), "{close}");
    }
    let mut gateway = writer.silent_gateway().await;
    gateway.send_frame(writer.frame(1, 0, &["a"])).await;
    assert!(gateway.closed().await.reason.contains("hello"));
    assert_eq!(writer.shown().await, (0, Vec::new()));
}

#[tokio::test]
async fn a_gateway_with_another_configuration_is_welcomed_all_the_same() {
    let writer = Writer::start().await;
    let mut gateway = writer.silent_gateway().await;
    gateway
        .hello(PROTOCOL, &[1; 16], !writer.config.fingerprint)
        .await;
    gateway.count(writer.frame(1, 0, &["a"])).await;
    assert_eq!(writer.shown().await, (1, keys(&[("a", 1)])));
}

#[tokio::test]
async fn garbage_closes_its_own_connection_and_no_other() {
    let writer = Writer::start().await;
    let mut healthy = writer.gateway(1).await;
    let too_long = vec![0; (16 << 20) + 1];
    let spoilt: [(Message, CloseCode); 5] = [
        (Message::Binary(vec![0xff; 100].into()), CloseCode::Invalid),
        (Message::Binary(Vec::new().into()), CloseCode::Protocol),
        (Message::Text("hola".into()), CloseCode::Protocol),
        (Message::Binary(too_long.into()), CloseCode::Size),
        (Message::Pong(vec![7].into()), CloseCode::Protocol), // harmless, but the next is a second hello
    ];
    for (i, (message, code)) in spoilt.into_iter().enumerate() {
        let mut gateway = writer.gateway(2 + i as u8).await;
        _ = gateway.0.send(message).await;
        if i == 4 {
            gateway.send_hello(PROTOCOL, &[9; 16], 0).await;
        }
        assert_eq!(gateway.closed().await.code, code, "{i}");
    }
    for sequence in [0, 1 << 53, u64::MAX] {
        let mut gateway = writer.gateway(9).await;
        let frame = DeltaFrame {
            sequence,
            streams: Vec::new(),
        };
        gateway.send(to_redis_writer::Kind::Frame(frame)).await;
        assert!(gateway.closed().await.reason.contains("numbered"));
    }
    healthy.count(writer.frame(1, 0, &["a"])).await;
}

#[tokio::test]
async fn a_frame_that_is_refused_can_be_sent_to_its_end_and_the_close_says_why() {
    let writer = Writer::start().await;
    for (i, message, code) in [
        (1, vec![0; (16 << 20) + 1], CloseCode::Size),
        (2, vec![0xff; 15 << 20], CloseCode::Invalid),
    ] {
        let mut gateway = writer.gateway(i).await;
        for sequence in 1..=3 {
            let offset = 10 * i64::from(i) + sequence as i64;
            gateway
                .send_frame(writer.frame(sequence, offset, &["a"]))
                .await;
        }
        // A gateway that cannot write does not read on, and would not hear why.
        gateway.send_bytes(message).await;
        gateway.send_bytes(vec![0; 1 << 20]).await;
        for sequence in 1..=3 {
            assert_eq!(gateway.ack().await.sequence, sequence);
        }
        assert_eq!(gateway.closed().await.code, code);
        let began = Instant::now();
        assert!(matches!(gateway.receive().await, Err(None)));
        assert!(began.elapsed() < Duration::from_millis(900), "the end");
    }
    assert_eq!(writer.shown().await, (6, keys(&[("a", 6)])));
}

#[tokio::test]
async fn before_the_hello_only_so_much_is_read() {
    let writer = Writer::start().await;
    let mut healthy = writer.gateway(1).await;
    // The beginning of a message of 15 MiB, masked with zeros.
    let mut unfinished = vec![0x82, 0x80 | 127];
    unfinished.extend_from_slice(&(15_u64 << 20).to_be_bytes());
    unfinished.resize(unfinished.len() + 4 + (80 << 10), 0);

    let mut stranger = writer.silent_gateway().await;
    let socket = stranger.0.get_mut();
    socket.write_all(&unfinished).await.expect("written");
    let close = stranger.closed().await;
    assert_eq!(close.code, CloseCode::Size, "{close}");

    // A finished one is no better, even if it is small enough for a frame.
    let mut stranger = writer.silent_gateway().await;
    let hello = stranger.0.send(Message::Binary(vec![0; 80 << 10].into()));
    _ = hello.await;
    let close = stranger.closed().await;
    assert_eq!(close.code, CloseCode::Size, "{close}");

    // Whoever has said hello may send more than that, and what follows a hello at once is not lost.
    let long = "k".repeat(15 << 20);
    healthy.count(writer.frame(1, 0, &[&long])).await;
    let mut hasty = writer.silent_gateway().await;
    hasty
        .send_hello(PROTOCOL, &[2; 16], writer.config.fingerprint)
        .await;
    hasty.send_frame(writer.frame(1, 1, &[&long])).await;
    assert!(hasty.receive().await.is_ok(), "a welcome");
    assert_eq!(hasty.ack().await.problems, [""; 0]);
}

#[tokio::test]
async fn what_is_no_websocket_is_hung_up_on() {
    let writer = Writer::start().await;
    let mut healthy = writer.gateway(1).await;
    for bytes in [
        &b"\0\x01\x02\xff"[..],
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        let mut socket = UnixStream::connect(&writer.config.redis_writer.socket)
            .await
            .expect("connected");
        socket.write_all(bytes).await.expect("written");
        socket.shutdown().await.expect("shut");
        let mut answer = Vec::new();
        _ = socket.read_to_end(&mut answer).await;
    }
    healthy.count(writer.frame(1, 0, &["a"])).await;
}

#[tokio::test]
async fn frames_that_were_read_before_the_garbage_are_applied_and_acknowledged() {
    let writer = Writer::start().await;
    let mut gateway = writer.gateway(1).await;
    for sequence in 1..=100 {
        gateway
            .send_frame(writer.frame(sequence, sequence as i64, &["a"]))
            .await;
    }
    gateway.send_bytes(vec![0xff; 9]).await;
    for sequence in 1..=100 {
        assert_eq!(gateway.ack().await.sequence, sequence);
    }
    assert_eq!(gateway.closed().await.code, CloseCode::Invalid);
    assert_eq!(writer.shown().await, (100, keys(&[("a", 100)])));
}
