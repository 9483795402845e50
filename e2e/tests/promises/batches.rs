//! Many events in batches: every figure is the same one, and memory stays where it was.

use std::{fmt::Write as _, io::Write as _};

use e2e::{Pipeline, Request, kafka::Record, load::tweet};

const BATCH: usize = 500;
const CONNECTIONS: usize = 4;

/// 20,000, or what E2E_EVENTS says.
fn events() -> usize {
    let given = std::env::var("E2E_EVENTS")
        .ok()
        .and_then(|n| n.parse::<usize>().ok());
    given.unwrap_or(20_000).next_multiple_of(BATCH)
}

/// Posts every batch whose turn it is; returns how many events were accepted.
async fn send(mut client: e2e::Client, first: usize, events: usize) -> usize {
    let mut accepted = 0;
    for start in (first * BATCH..events).step_by(CONNECTIONS * BATCH) {
        let lines: String = (start..start + BATCH).map(|n| tweet(n) + "\n").collect();
        let answer = client.answer(&Request::ndjson("/input", lines)).await;
        answer.accepted(BATCH);
        accepted += answer.document()["accepted"].as_u64().unwrap_or(0) as usize;
    }
    accepted
}

/// What each process had resident at most, for whoever reads the log.
fn memory(pipeline: &Pipeline, events: usize) {
    let mut table = format!(
        "batches: {events} events in NDJSON batches of {BATCH}\n  process          most resident\n"
    );
    for process in pipeline.processes() {
        _ = writeln!(
            table,
            "  {:<16} {:>8.1} MiB",
            process.name(),
            process.memory_peak() as f64 / f64::from(1 << 20)
        );
    }
    _ = std::io::stderr().write_all(table.as_bytes()); // past the capture of the test's own output
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sent_is_accepted_is_in_kafka_is_archived_is_counted() {
    let pipeline = Pipeline::weather().start().await;
    let events = events();
    let clients: Vec<_> = (0..CONNECTIONS)
        .map(|i| tokio::spawn(send(pipeline.client(), i, events)))
        .collect();
    let mut accepted = 0;
    for client in clients {
        accepted += client.await.expect("every batch stored");
    }
    assert_eq!(accepted, events);

    let archive = pipeline.exact("weather", events).await;
    let mut ids: Vec<_> = pipeline
        .records("weather")
        .await
        .iter()
        .map(Record::id)
        .collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), events, "distinct ids in Kafka");
    let mut numbers: Vec<_> = archive
        .iter()
        .map(|d| d.get_i32("n").expect("its number") as usize)
        .collect();
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(0..events), "each tweet once");
    let shown = pipeline.redis.shown(pipeline.stream("weather")).await;
    assert_eq!(shown.total, events as i64);
    assert_eq!(
        shown.counters["by_country"].values().sum::<i64>(),
        events as i64
    );
    memory(&pipeline, events);
}
