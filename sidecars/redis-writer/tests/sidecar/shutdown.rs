//! Start and end.

use std::time::{Duration, Instant};

use aguacero_proto::deltas::from_redis_writer;
use redis_writer::App;
use tokio::{net::UnixListener, time::timeout};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::fixture::{OwnRedis, PATIENCE, Writer, config, shared_redis};

#[tokio::test]
async fn a_shutdown_applies_and_acknowledges_what_was_read() {
    let mut redis = OwnRedis::start().await;
    let mut writer = Writer::on(&redis.url(), 20_000).await;
    let mut gateway = writer.gateway(1).await;
    let mut idle = writer.gateway(2).await;
    redis.kill();
    for sequence in 1..=50 {
        gateway
            .send_frame(writer.frame(sequence, sequence as i64, &["a"]))
            .await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await; // they are read, and wait for Redis
    writer.shutdown.fire();
    assert_eq!(idle.closed().await.code, CloseCode::Away);
    assert!(!writer.config.redis_writer.socket.exists());

    redis.restart().await;
    let mut acknowledged = 0;
    let close = loop {
        match gateway.receive().await {
            Ok(from_redis_writer::Kind::Ack(ack)) => acknowledged = ack.sequence,
            Ok(other) => panic!("{other:?}"),
            Err(close) => break close,
        }
    };
    assert_eq!(
        (acknowledged, close.map(|c| c.code)),
        (50, Some(CloseCode::Away))
    );
    timeout(PATIENCE, &mut writer.ended)
        .await
        .expect("ended")
        .expect("no panic")
        .expect("well");
    assert_eq!(writer.shown().await.0, 50);
}

#[tokio::test]
async fn a_shutdown_does_not_wait_for_redis_beyond_its_deadline() {
    let mut redis = OwnRedis::start().await;
    let mut writer = Writer::on(&redis.url(), 300).await;
    let mut gateway = writer.gateway(1).await;
    redis.kill();
    gateway.send_frame(writer.frame(1, 0, &["a"])).await;
    tokio::time::sleep(Duration::from_millis(100)).await;

    let began = Instant::now();
    writer.shutdown.fire();
    timeout(PATIENCE, &mut writer.ended)
        .await
        .expect("ended")
        .expect("no panic")
        .expect("well");
    assert!(
        (300..5000).contains(&began.elapsed().as_millis()),
        "{:?}",
        began.elapsed()
    );
    assert!(
        gateway.receive().await.is_err(),
        "no acknowledgement of what was not applied"
    );
}

#[tokio::test]
async fn a_shutdown_with_nothing_to_do_is_quick_even_without_redis() {
    let mut redis = OwnRedis::start().await;
    redis.kill();
    let mut writer = Writer::on(&redis.url(), 20_000).await;
    drop(writer.gateway(1).await);
    writer.shutdown.fire();
    timeout(Duration::from_secs(10), &mut writer.ended)
        .await
        .expect("ended")
        .expect("no panic")
        .expect("well");
}

#[tokio::test]
async fn a_socket_that_another_process_serves_is_not_taken_over() {
    let writer = Writer::start().await;
    let error = App::build(writer.config.clone())
        .await
        .err()
        .expect("refused")
        .to_string();
    assert!(error.contains("another process serves it"), "{error}");
    writer
        .gateway(1)
        .await
        .count(writer.frame(1, 0, &["a"]))
        .await;
}

#[tokio::test]
async fn a_socket_that_nobody_serves_any_more_is_replaced() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = config(&folder, &shared_redis(), 20_000);
    let socket = &config.redis_writer.socket;
    std::fs::create_dir_all(socket.parent().expect("a folder")).expect("made");
    drop(UnixListener::bind(socket).expect("bound")); // leaves its file behind
    assert!(socket.exists());
    App::build(config.clone()).await.expect("built");
}
