//! Bodies with a `Content-Encoding`: stored as what was packed, and bounded as that.

use std::io::Write as _;

use e2e::{Pipeline, Request, load::tweet};
use flate2::{Compression, write::GzEncoder};

/// Bytes that a gateway may grow by: some 36 MiB for expanding, however many bombs there are, and 2 MiB for
/// receiving each of them. One that is expanded whole takes twice as much.
const GROWTH_MAX: u64 = 128 << 20;

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(body).expect("a vector");
    encoder.finish().expect("a vector")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_packed_body_is_stored_as_what_was_packed() {
    let pipeline = Pipeline::weather().into_kafka_only().start().await;
    let client = &mut pipeline.client();
    let lines: Vec<_> = (0..200).map(tweet).collect();
    let body = lines.join("\n");
    for (coding, packed) in [
        ("gzip", gzip(body.as_bytes())),
        (
            "zstd",
            zstd::encode_all(body.as_bytes(), 3).expect("a vector"),
        ),
    ] {
        assert!(packed.len() < body.len() / 2);
        let request = Request::ndjson("/input", packed).header("content-encoding", coding);
        client.answer(&request).await.accepted(lines.len());
    }
    let mut stored: Vec<_> = pipeline.records("weather").await;
    assert_eq!(stored.len(), 2 * lines.len());
    let mut values: Vec<_> = stored.drain(..).map(|record| record.value).collect();
    values.sort_unstable();
    values.dedup();
    let mut lines: Vec<_> = lines.into_iter().map(String::into_bytes).collect();
    lines.sort_unstable();
    assert_eq!(values, lines);

    let unknown = Request::json("/input", "{}").header("content-encoding", "compress");
    let answer = client.answer(&unknown).await;
    answer.problem(415);
    assert_eq!(
        answer.header("accept-encoding"),
        Some("gzip, deflate, zstd, br")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bombs_are_refused_and_take_no_memory() {
    let pipeline = Pipeline::weather().into_kafka_only().start().await;
    let bomb = gzip(&vec![b' '; 256 << 20]);
    pipeline
        .client()
        .answer(&Request::json("/input", tweet(0)))
        .await
        .accepted(1);
    let before = pipeline.gateway.memory_peak();
    let send = async || {
        let client = &mut pipeline.client();
        for _ in 0..4 {
            let request = Request::json("/input", bomb.clone()).header("content-encoding", "gzip");
            client.answer(&request).await.problem(413);
            client
                .answer(&Request::json("/input", tweet(1)))
                .await
                .accepted(1);
        }
    };
    futures_util::future::join_all((0..20).map(|_| send())).await;
    let grown = pipeline.gateway.memory_peak() - before;
    eprintln!("80 bombs of {} bytes: {grown} bytes more", bomb.len());
    assert!(grown < GROWTH_MAX, "{grown} bytes");
}
