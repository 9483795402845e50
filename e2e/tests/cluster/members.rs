//! Members of MongoDB's replica set that are killed.

use std::collections::HashMap;

use e2e::{Pipeline, load::Load, once};

use super::{clients, cluster, three_of_each};

/// Up to where each partition is archived for good.
async fn settled(pipeline: &Pipeline) -> HashMap<String, i64> {
    pipeline.redis.watermarks(pipeline.stream("weather")).await
}

/// Waits until a consumer has met with an error of MongoDB.
async fn until_archiving_fails(pipeline: &Pipeline) {
    once("archiving fails", async || {
        let mut retries = 0.0;
        for consumer in &pipeline.consumers {
            retries += consumer
                .metric("aguacero_consumer_archive_retries_total")
                .await;
        }
        retries > 0.0
    })
    .await;
}

async fn progress_of_the_archive(pipeline: &Pipeline) {
    let before: i64 = settled(pipeline).await.values().sum();
    once("more settled", async || {
        settled(pipeline).await.values().sum::<i64>() > before + 100
    })
    .await;
}

/// Checks that the clients had nothing but 200, and 422 where they deserved it.
async fn undisturbed(pipeline: &Pipeline, load: Load) {
    let report = load.finish().await;
    let answers: Vec<_> = report.answers.keys().collect();
    assert_eq!((answers, report.broken), (vec![&200, &422], 0));
    let verdict = pipeline.judge(&report).await;
    assert!(verdict.violations.is_empty(), "{verdict}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mongodb_without_a_majority_delays_the_archive_and_loses_nothing() {
    let outages = three_of_each().await;
    let pipeline = cluster("").start().await;
    let load = clients(&pipeline);
    progress_of_the_archive(&pipeline).await;

    // The primary is left alone: for a while it takes writes that the majority never gets.
    let primary = outages.on_port(pipeline.archive.primary_port().await);
    let members = outages.of_kind("mongodb");
    let others: Vec<_> = members.iter().filter(|m| **m != primary).collect();
    for member in &others {
        outages.begin(member).await;
    }
    load.progress(200).await;
    until_archiving_fails(&pipeline).await;
    let before = settled(&pipeline).await;
    load.progress(200).await;
    assert_eq!(
        settled(&pipeline).await,
        before,
        "settled without a majority"
    );

    // The others go on without it, so that it has to take those writes back.
    outages.begin(&primary).await;
    let others: Vec<_> = others.iter().map(|m| m.as_str()).collect();
    outages.end_only(&others).await;
    progress_of_the_archive(&pipeline).await;
    outages.end().await;
    load.progress(100).await;
    undisturbed(&pipeline, load).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_primary_is_replaced_and_nothing_settled_is_taken_back() {
    let outages = three_of_each().await;
    let pipeline = cluster("").start().await;
    let load = clients(&pipeline);
    progress_of_the_archive(&pipeline).await;
    let primary = outages.on_port(pipeline.archive.primary_port().await);
    outages.begin(&primary).await;
    progress_of_the_archive(&pipeline).await;
    outages.end().await;
    load.progress(100).await;
    undisturbed(&pipeline, load).await;
}
