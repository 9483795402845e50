//! Records in our topics that somebody else wrote, or that a later release did.

use aguacero::{id::EventId, record::Header};
use bson::doc;
use e2e::{Pipeline, Request, eventually, load::tweet, once};

fn header(stream: &str, n: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    Header {
        id: EventId([n; 16]),
        stream,
        client_key: b"",
    }
    .write(&mut bytes);
    bytes
}

/// The reason that is to be found, the value, and the header.
type Stranger<'a> = (&'a str, &'a [u8], Option<Vec<u8>>);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_archived_is_kept_with_the_reason_and_not_counted() {
    let pipeline = Pipeline::weather().start().await;
    let topic = pipeline.topic("weather");
    let large = format!(r#"{{"x": "{}"}}"#, "x".repeat(922_000));
    let strangers: [Stranger; 5] = [
        ("no-header", b"hello", None),
        ("damaged-header", b"{}", Some(vec![1, 2, 3])),
        ("malformed", b"{\"texto\": ", Some(header("weather", 1))),
        ("unfit", b"{\"_id\": 1}", Some(header("weather", 2))),
        ("too-large", large.as_bytes(), Some(header("weather", 3))),
    ];
    for (partition, (_, value, header)) in (0..).zip(&strangers) {
        pipeline
            .kafka
            .write(topic, partition, value, header.as_deref())
            .await;
    }
    let mut client = pipeline.client();
    for n in 0..12 {
        client
            .answer(&Request::json("/input", tweet(n)))
            .await
            .accepted(1);
    }
    for (partition, (reason, value, _)) in (0..).zip(&strangers) {
        let letter = eventually(&format!("a letter of {reason}"), async || {
            let letters = pipeline
                .archive
                .find("dead_letters", doc! { "reason": *reason })
                .await;
            letters.into_iter().next().ok_or("none yet".into())
        })
        .await;
        assert_eq!(
            letter.get_binary_generic("value").ok().map(Vec::as_slice),
            Some(*value),
            "the raw bytes"
        );
        assert_eq!(letter.get_i32("partition").ok(), Some(partition));
        assert!(
            letter.get_str("detail").is_ok_and(|d| !d.is_empty()),
            "{letter}"
        );
    }
    let stream = pipeline.stream("weather");
    once("twelve archived", async || {
        pipeline.archive.of_stream(stream).await.len() == 12
    })
    .await;
    once("twelve shown", async || {
        pipeline.redis.shown(stream).await.total == 12
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_of_a_later_release_stops_its_partition_and_no_other() {
    let pipeline = Pipeline::weather().start().await;
    let topic = pipeline.topic("weather");
    let mut later = header("weather", 1);
    later[0] = 2;
    pipeline.kafka.write(topic, 0, b"{}", Some(&later)).await;
    pipeline
        .kafka
        .write(topic, 1, b"{}", Some(&header("undeclared", 1)))
        .await;
    once("both told", async || {
        let log = pipeline.consumers[0].log();
        log.contains("upgrade the consumer") && log.contains("is not declared")
    })
    .await;
    let mut client = pipeline.client();
    for n in 0..30 {
        client
            .answer(&Request::json("/input", tweet(n)))
            .await
            .accepted(1);
    }
    let elsewhere = pipeline
        .records("weather")
        .await
        .iter()
        .filter(|r| r.partition > 1)
        .count();
    assert!(elsewhere > 0 && elsewhere < 30);
    let stream = pipeline.stream("weather");
    once("the other partitions archived", async || {
        pipeline.archive.of_stream(stream).await.len() == elsewhere
    })
    .await;
    assert!(pipeline.archive.dead_letters().await.is_empty());
    assert!(pipeline.consumers[0].is_ready().await);
}
