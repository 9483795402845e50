//! What the services' own failures cost: some 503 and 504, and nothing that was answered 200.

mod chaos;
mod overload;
mod truncated;

use e2e::{
    Pipeline, Process, Request,
    load::{Load, Then, tweet},
    once,
    outage::Outages,
};

/// Deadlines short enough that an outage is seen in full.
fn impatient() -> e2e::Builder {
    Pipeline::weather()
        .with("kafka.message_timeout_ms", 1500)
        .with("gateway.ack_timeout_ms", 2500)
        .with("gateway.request_timeout_ms", 5000)
        .with("consumer.instance", "the-only-one")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_kafka_is_answered_with_503_and_504_and_comes_back_exact() {
    let outages = Outages::prepare().await;
    let pipeline = impatient().start().await;
    let load = Load::start(pipeline.address(), 24, Then::Retry);
    load.progress(200).await;
    outages.begin("kafka").await;
    let mut client = pipeline.client();
    once("told that Kafka is away", async || {
        client
            .answer(&Request::json("/input", tweet(0)).key("tweet-0"))
            .await
            .status
            == 503
    })
    .await;
    assert!(
        pipeline.gateway.is_ready().await,
        "an outage is answered, not left to another replica"
    );
    outages.end().await;
    load.progress(200).await;
    let report = load.finish().await; // has checked every 503 and 504
    assert_eq!(report.broken, 0, "every request was answered");
    assert!(report.answers.contains_key(&503), "{:?}", report.answers);
    pipeline.exact("weather", report.stored.len()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_of_kafka_is_a_few_lines_in_each_log() {
    let outages = Outages::prepare().await;
    let pipeline = impatient().start().await;
    let load = Load::start(pipeline.address(), 24, Then::Retry);
    load.progress(200).await;
    let processes = || {
        [
            &pipeline.gateway,
            &pipeline.producer,
            &pipeline.redis_writer,
            &pipeline.consumers[0],
        ]
    };
    let lines = |process: &Process| process.log().lines().count();
    let before = processes().map(lines);
    outages.begin("kafka").await;
    let refused = "aguacero_gateway_not_stored_total";
    once("a hundred events refused", async || {
        pipeline.gateway.metric(refused).await > 100.0
    })
    .await;
    for (process, before) in processes().into_iter().zip(before) {
        let (lines, log) = (lines(process) - before, process.log());
        assert!(lines <= 20, "{lines} lines of {}:\n{log}", process.name());
    }
    outages.end().await;
    load.progress(200).await;
    let report = load.finish().await;
    pipeline.exact("weather", report.stored.len()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_mongodb_delays_the_archive_and_nothing_else() {
    let outages = Outages::prepare().await;
    let pipeline = Pipeline::weather()
        .with("consumer.batch_records_max", 50)
        .start()
        .await;
    let load = Load::start(pipeline.address(), 4, Then::Retry);
    load.progress(200).await;
    outages.begin("mongodb").await;
    load.progress(500).await;
    outages.end().await;
    load.progress(100).await;
    let report = load.finish().await;
    assert_eq!(
        report.answers.keys().collect::<Vec<_>>(),
        [&200],
        "{:?}",
        report.answers
    );
    pipeline.exact("weather", report.stored.len()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_redis_comes_back_empty_and_is_filled_again() {
    let outages = Outages::prepare().await;
    let pipeline = Pipeline::weather()
        .with("consumer.batch_records_max", 50)
        .start()
        .await;
    let load = Load::start(pipeline.address(), 4, Then::Retry);
    load.progress(200).await;
    outages.begin("redis").await;
    load.progress(500).await;
    outages.end().await;
    load.progress(100).await;
    let report = load.finish().await;
    assert_eq!(
        report.answers.keys().collect::<Vec<_>>(),
        [&200],
        "{:?}",
        report.answers
    );
    pipeline.exact("weather", report.stored.len()).await;
}
