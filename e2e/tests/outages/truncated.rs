//! A log that loses its tail, as one with a single replica does in a power cut: events that were acknowledged are
//! gone, others stand at their offsets, and whoever goes on by offset alone never reads these.

use aguacero::id::EventId;
use e2e::{Pipeline, eventually, kafka::header, load::tweet, once, outage::Outages};

/// Writes so many events of `weather` into partition 0, one batch each.
async fn write(pipeline: &Pipeline, base: EventId, events: std::ops::Range<usize>) {
    let topic = pipeline.topic("weather");
    for n in events {
        let header = header("weather", base.plus(n as u64));
        let value = tweet(n);
        let write = pipeline
            .kafka
            .write(topic, 0, value.as_bytes(), Some(&header));
        write.await;
    }
}

async fn archived(pipeline: &Pipeline, events: usize) {
    let stream = pipeline.stream("weather");
    eventually(&format!("{events} archived"), async || {
        match pipeline.archive.of_stream(stream).await.len() {
            n if n == events => Ok(()),
            n => Err(n.to_string()),
        }
    })
    .await;
}

/// Everything that is archived is counted once: what the log has lost, and what came in its place.
async fn counted(pipeline: &Pipeline, events: usize) {
    archived(pipeline, events).await;
    let counted = pipeline.exact_beyond_kafka("weather").await;
    assert_eq!(counted.len(), events);
}

async fn committed(pipeline: &Pipeline, next: i64) {
    let topic = pipeline.topic("weather");
    once(&format!("{next} committed"), async || {
        let committed = pipeline.kafka.committed(pipeline.group(), topic, 0).await;
        committed.next == Some(next)
    })
    .await;
}

async fn truncated(pipeline: &Pipeline, offsets: f64) {
    let metric = "aguacero_consumer_truncated_total";
    eventually(
        &format!("{offsets} offsets told to be gone"),
        async || match pipeline.consumers[0].metric(metric).await {
            n if n == offsets => Ok(()),
            n => Err(n.to_string()),
        },
    )
    .await;
    let log = pipeline.consumers[0].log();
    let told = log
        .lines()
        .find(|l| l.contains("Kafka has lost the end of a log"));
    let told = told.unwrap_or_else(|| panic!("told: {log}"));
    for part in [
        pipeline.topic("weather"),
        "\"partition\":0",
        "\"from\":20",
        "\"to\":10",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
}

async fn cut(outages: &Outages, pipeline: &Pipeline) {
    outages.begin("kafka").await;
    outages.truncate(pipeline.topic("weather"), 0, 10);
    outages.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_lost_its_tail_is_told_at_once_and_read_from_where_it_ends() {
    let outages = Outages::prepare().await;
    let pipeline = Pipeline::weather().start().await;
    let base = EventId::new_base();
    write(&pipeline, base, 0..20).await;
    archived(&pipeline, 20).await;
    committed(&pipeline, 20).await;
    cut(&outages, &pipeline).await;
    truncated(&pipeline, 10.0).await; // nothing has come that could tell
    write(&pipeline, base, 20..23).await;
    counted(&pipeline, 23).await;
    write(&pipeline, base, 23..35).await;
    counted(&pipeline, 35).await;
}

/// The log has grown beyond what was read of it before the consumer looks at it again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_lost_its_tail_and_grew_meanwhile_is_read_from_where_the_two_agree() {
    let outages = Outages::prepare().await;
    let patient = Pipeline::weather().with("consumer.session_timeout_ms", 45_000);
    let pipeline = patient.start().await;
    let base = EventId::new_base();
    write(&pipeline, base, 0..20).await;
    archived(&pipeline, 20).await;
    committed(&pipeline, 20).await;
    pipeline.consumers[0].freeze().await;
    cut(&outages, &pipeline).await;
    write(&pipeline, base, 20..50).await;
    pipeline.consumers[0].thaw();
    counted(&pipeline, 50).await;
    truncated(&pipeline, 10.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_lost_its_tail_while_no_consumer_ran_is_read_from_where_the_two_agree() {
    let outages = Outages::prepare().await;
    let mut pipeline = Pipeline::weather().start().await;
    let base = EventId::new_base();
    write(&pipeline, base, 0..20).await;
    archived(&pipeline, 20).await;
    committed(&pipeline, 20).await;
    pipeline.consumer().shut_down().await;
    cut(&outages, &pipeline).await;
    write(&pipeline, base, 20..50).await;
    pipeline.consumer().start_ready().await;
    counted(&pipeline, 50).await;
    truncated(&pipeline, 10.0).await;
}
