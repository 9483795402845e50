//! More than the broker takes: what is stored stays true, the rest is told at once, memory is bounded.

use std::{collections::HashSet, time::Duration};

use e2e::{Pipeline, Request, load::tweet, once, outage::Outages, overload::Plan};

/// What a gateway may take beside what the configuration bounds: itself, and its connections.
const GATEWAY_BYTES: u64 = 48 << 20;
const BYTES_IN_FLIGHT_MAX: u64 = 8 << 20;
const QUEUE_BYTES_MAX: u64 = 32 << 20;
/// Of the broker, for all kafka-producers together.
const QUOTA_BYTES: u64 = 60_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_much_is_refused_at_once_and_memory_stays_bounded() {
    let outages = Outages::prepare().await;
    let pipeline = Pipeline::weather()
        .into_kafka_only()
        .with("gateway.bytes_in_flight_max", BYTES_IN_FLIGHT_MAX)
        .with(
            "gateway.partition_bytes_in_flight_max",
            BYTES_IN_FLIGHT_MAX / 4,
        )
        .with("gateway.body_bytes_max", 1 << 20)
        .with("kafka_producer.queue_bytes_max", QUEUE_BYTES_MAX)
        .with("gateway.request_timeout_ms", 20_000)
        .start()
        .await;
    outages.quota(Some(QUOTA_BYTES)).await;
    let plan = Plan {
        connections: 600,
        batch: 10,
        events_per_second: 3_000,
        duration: Duration::from_secs(12),
    };
    let offered = plan.offer(&pipeline.addresses()).await;
    outages.quota(None).await;
    let mut client = pipeline.client();
    once("an event stored after the overload", async || {
        let request = Request::json("/input", tweet(0)).key("afterwards");
        client.answer(&request).await.status == 200
    })
    .await;

    println!(
        "{:?} {} {} {}",
        offered.answers, offered.stored, offered.refused, offered.unknown
    );
    assert!(
        offered.stored > 0 && offered.refused > 0,
        "{:?}",
        offered.answers
    );
    assert_eq!(offered.without_retry_after, 0);
    assert_eq!(offered.broken, 0, "every request was answered");
    let records = pipeline.records("weather").await;
    let ids: HashSet<_> = records.iter().map(|record| record.id()).collect();
    let stored = offered.stored + 1;
    assert!(
        (stored..=stored + offered.unknown).contains(&ids.len()),
        "{stored} were answered 200, {} may be there beside, {} are",
        offered.unknown,
        ids.len()
    );
    let peak = pipeline.gateway.memory_peak();
    assert!(
        peak < GATEWAY_BYTES + 2 * BYTES_IN_FLIGHT_MAX,
        "gateway: {peak} bytes"
    );
    let peak = pipeline.producer.memory_peak();
    assert!(
        peak < GATEWAY_BYTES + QUEUE_BYTES_MAX,
        "kafka-producer: {peak} bytes"
    );
}
