//! Shutting down: what was accepted is answered, and what was answered 200 is archived.

use std::{collections::BTreeSet, time::Duration};

use e2e::{
    Client, Pipeline, Request,
    load::{Load, Plan, Then, key, tweet},
    once,
};

/// Bytes of an event beside which everything else about it is nothing.
const LARGE: usize = 10_000;

fn large(n: usize) -> String {
    format!(
        "{}{}",
        tweet(n).trim_end_matches('}'),
        format_args!(", \"x\": \"{}\"}}", "x".repeat(LARGE))
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_is_told_to_end_answers_what_it_has_taken_in() {
    let mut pipeline = Pipeline::weather()
        .with("gateway.partition_slow_ms", 30_000)
        .start()
        .await;
    pipeline
        .client()
        .answer(&Request::json("/input", tweet(0)))
        .await
        .accepted(1);
    pipeline.kafka_producer.freeze().await; // so that every request is in the middle of its way
    let waiting: Vec<_> = (1..=8)
        .map(|n| {
            let mut client = pipeline.client();
            tokio::spawn(async move { client.answer(&Request::json("/input", large(n))).await })
        })
        .collect();
    once("all of them taken in", async || {
        pipeline
            .gateway
            .metric("aguacero_gateway_bytes_in_flight")
            .await
            >= 8.0 * LARGE as f64
    })
    .await;
    pipeline.gateway.terminate();
    once("no longer ready", async || {
        !pipeline.gateway.is_ready().await
    })
    .await;
    once("nobody new let in", async || {
        pipeline.client().send(&Request::get("/")).await.is_err()
    })
    .await;
    assert!(pipeline.gateway.is_running(), "it waits for the receipts");
    pipeline.kafka_producer.thaw();
    for answer in waiting {
        answer.await.expect("an answer").accepted(1);
    }
    assert!(pipeline.gateway.ended().await.success());
    pipeline.exact("weather", 9).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_ends_under_load_stores_nothing_that_it_did_not_answer() {
    let mut pipeline = Pipeline::weather().start().await;
    let load = Load::start(pipeline.address(), 8, Then::GiveUp);
    load.progress(300).await;
    pipeline.gateway.shut_down().await;
    let report = load.finish().await;
    assert!(
        report
            .answers
            .keys()
            .all(|status| [200, 503, 504].contains(status)),
        "{:?}",
        report.answers
    );

    let records = pipeline.records("weather").await;
    let stored: BTreeSet<_> = records
        .iter()
        .map(|r| r.header().client_key.to_vec())
        .collect();
    let answered: BTreeSet<_> = report.stored.iter().map(|n| key(*n).into_bytes()).collect();
    let unanswered: Vec<_> = stored
        .difference(&answered)
        .map(|k| String::from_utf8_lossy(k).into_owned())
        .collect();
    assert!(
        unanswered.is_empty(),
        "stored and not answered: {unanswered:?}"
    );
    pipeline.exact("weather", report.stored.len()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sidecars_and_consumer_restart_under_load_and_nothing_is_lost() {
    let mut pipeline = Pipeline::weather().start().await;
    let load = Load::start(pipeline.address(), 6, Then::Retry);
    for _ in 0..2 {
        load.progress(100).await;
        pipeline.kafka_producer.restart().await;
        load.progress(100).await;
        pipeline.redis_writer.restart().await;
        load.progress(100).await;
        pipeline.consumer().restart().await;
    }
    load.progress(100).await;
    let report = load.finish().await; // has checked that every 503 and 504 carried the key
    assert_eq!(report.broken, 0, "every request was answered");
    pipeline.exact("weather", report.stored.len()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_told_to_end_at_once_ends_well_and_comes_back_exact() {
    let mut pipeline = Pipeline::weather().start().await;
    let load = Load::start(pipeline.address(), 6, Then::Retry);
    load.progress(200).await;
    for process in pipeline.processes() {
        process.terminate();
    }
    let all = [
        &mut pipeline.gateway,
        &mut pipeline.kafka_producer,
        &mut pipeline.redis_writer,
    ];
    for process in all.into_iter().chain(&mut pipeline.consumers) {
        let status = process.ended().await;
        assert!(status.success(), "{} ended with {status}", process.name());
        process.start();
    }
    load.progress(100).await;
    let report = load.finish().await;
    pipeline.exact("weather", report.stored.len()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kept_connection_ends_politely() {
    let mut pipeline = Pipeline::weather().into_kafka_only().start().await;
    let mut idle: Vec<Client> = (0..4).map(|_| pipeline.client()).collect();
    for client in &mut idle {
        client
            .answer(&Request::json("/input", tweet(1)))
            .await
            .accepted(1);
    }
    // Idle connections do not hold it up until its drain is over.
    pipeline.gateway.shut_down().await;
    pipeline.gateway.start_ready().await;
    for client in &mut idle {
        client
            .answer(&Request::json("/input", tweet(2)))
            .await
            .accepted(1);
        assert_eq!(client.connections(), 2);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_costs_no_client_more_than_a_retry() {
    let mut pipeline = Pipeline::weather().pods(2).consumers(2).start().await;
    let plan = Plan {
        clients: 8,
        give_up: 0,
        pause: Duration::from_millis(5),
        some_are_bad: false,
    };
    let load = Load::follow(plan, &pipeline.addresses());
    load.progress(50).await;
    for number in 0..pipeline.processes().count() {
        pipeline.process(number).restart().await;
        load.progress(20).await;
    }
    let report = load.finish().await;
    assert!(
        report.attempts_max <= 2,
        "an event was sent {} times: {:?}, {} without an answer",
        report.attempts_max,
        report.answers,
        report.broken
    );
    let verdict = pipeline.judge(&report).await;
    assert!(verdict.violations.is_empty(), "{verdict}");
}
