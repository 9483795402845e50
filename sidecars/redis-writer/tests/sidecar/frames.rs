//! Frames: what is acknowledged is in Redis, or was refused for good.

use std::time::Duration;

use aguacero::ledger;
use aguacero_proto::deltas::{DeltaAck, DeltaFrame, StreamDeltas};
use tokio::time::timeout;

use crate::fixture::{PATIENCE, Writer, keys};

#[tokio::test]
async fn what_is_acknowledged_is_shown() {
    let writer = Writer::start().await;
    let mut gateway = writer.gateway(1).await;
    gateway
        .count(writer.frame(1, 0, &["Perú", "Chile", "Perú"]))
        .await;
    assert_eq!(
        writer.shown().await,
        (3, keys(&[("Chile", 1), ("Perú", 2)]))
    );
}

#[tokio::test]
async fn frames_are_acknowledged_one_by_one_in_their_order() {
    let writer = Writer::start().await;
    let mut gateway = writer.gateway(1).await;
    for sequence in 1..=3000 {
        gateway
            .send_frame(writer.frame(sequence, sequence as i64, &["a"]))
            .await;
    }
    for sequence in 1..=3000 {
        assert_eq!(gateway.ack().await.sequence, sequence);
    }
    assert_eq!(writer.shown().await, (3000, keys(&[("a", 3000)])));
}

#[tokio::test]
async fn a_frame_that_is_repeated_after_a_lost_connection_counts_once() {
    let writer = Writer::start().await;
    let frame = writer.frame(1, 0, &["a", "b"]);
    let mut gateway = writer.gateway(1).await;
    gateway.count(frame.clone()).await;
    drop(gateway);

    let mut gateway = writer.gateway(1).await;
    gateway.count(frame.clone()).await;
    gateway.count(writer.frame(2, 2, &["a"])).await;
    gateway.count(frame).await;
    assert_eq!(writer.shown().await, (3, keys(&[("a", 2), ("b", 1)])));
}

#[tokio::test]
async fn a_stream_that_is_not_declared_is_reported_and_the_others_are_counted() {
    let writer = Writer::start().await;
    let mut gateway = writer.gateway(1).await;
    let mut unknown = writer.deltas(0, &["a"]);
    unknown.stream = "nobody-knows".to_owned();
    let mut other = writer.deltas(0, &["a"]);
    other.counters_fingerprint ^= 1;
    let streams = vec![unknown, other, writer.deltas(0, &["b"])];
    gateway
        .send_frame(DeltaFrame {
            sequence: 1,
            streams,
        })
        .await;

    let DeltaAck { sequence, problems } = gateway.ack().await;
    assert_eq!((sequence, problems.len()), (1, 2));
    assert!(problems[0].contains("nobody-knows"), "{problems:?}");
    assert!(problems[1].contains(&writer.stream().name), "{problems:?}");
    assert_eq!(writer.shown().await, (1, keys(&[("b", 1)])));
}

#[tokio::test]
async fn counters_that_redis_shows_by_another_declaration_are_reported() {
    let writer = Writer::start().await;
    let mut other = writer.stream().clone();
    other.counters_fingerprint ^= 1;
    let mut con = ledger::connect(&writer.config.redis, PATIENCE)
        .await
        .expect("Redis");
    ledger::clear(&mut con, &other, None, None)
        .await
        .expect("cleared");

    let mut gateway = writer.gateway(1).await;
    let mut neighbour = writer.deltas(0, &["a"]);
    neighbour.stream.clone_from(&writer.config.streams[1].name);
    neighbour.counters_fingerprint = writer.config.streams[1].counters_fingerprint;
    neighbour.entries[0].counters.clear();
    let streams = vec![writer.deltas(0, &["a"]), neighbour];
    gateway
        .send_frame(DeltaFrame {
            sequence: 1,
            streams,
        })
        .await;
    let problems = gateway.ack().await.problems;
    assert!(
        problems.len() == 1 && problems[0].contains("consumer rebuild"),
        "{problems:?}"
    );
    assert_eq!(writer.shown().await.0, 0);
    assert_eq!(writer.shown_of(&writer.config.streams[1]).await.events, 1);
}

#[tokio::test]
async fn a_frame_without_anything_is_acknowledged() {
    let writer = Writer::start().await;
    let mut gateway = writer.gateway(1).await;
    gateway
        .count(DeltaFrame {
            sequence: 1,
            streams: Vec::new(),
        })
        .await;
}

#[tokio::test]
async fn workers_do_not_wait_for_each_other() {
    let writer = Writer::start().await;
    let mut silent = writer.gateway(100).await;
    for sequence in 1..=2000 {
        silent
            .send_frame(writer.frame(sequence, 1_000_000 + sequence as i64, &["x"]))
            .await; // and reads no ack
    }
    let mut gateways = Vec::new();
    for run in 1..=20 {
        gateways.push(writer.gateway(run).await);
    }
    for sequence in 1..=20 {
        for (i, gateway) in gateways.iter_mut().enumerate() {
            let offset = 100 * i as i64 + sequence as i64;
            gateway
                .send_frame(writer.frame(sequence, offset, &["a"]))
                .await;
        }
    }
    for gateway in &mut gateways {
        for sequence in 1..=20 {
            assert_eq!(gateway.ack().await.sequence, sequence);
        }
    }
    assert!(writer.shown().await.1.contains(&("a".to_owned(), 400)));
}

#[tokio::test]
async fn a_gateway_that_takes_no_acknowledgements_is_no_longer_read() {
    let writer = Writer::start().await;
    let mut gateway = writer.gateway(1).await;
    let unknown = |i| StreamDeltas {
        stream: format!("{i:064}"), // a long acknowledgement for a short frame
        ..StreamDeltas::default()
    };
    let streams: Vec<_> = (0..32).map(unknown).collect();
    let mut sent = 0;
    loop {
        sent += 1;
        let frame = DeltaFrame {
            sequence: sent,
            streams: streams.clone(),
        };
        let sending = gateway.send_frame(frame);
        if timeout(Duration::from_secs(1), sending).await.is_err() {
            break;
        }
        assert!(sent < 5000, "{sent} frames were read");
    }
    assert!(sent > 1024);
    writer
        .gateway(2)
        .await
        .count(writer.frame(1, 0, &["a"]))
        .await;
}
