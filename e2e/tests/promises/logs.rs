//! What becomes of a partition's log while a consumer runs and does not look.

use aguacero::id::EventId;
use e2e::{Pipeline, eventually, kafka::header, load::tweet, once};

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

/// What is gone is not waited for: it is told, and the partition is finished behind it, though nothing comes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retention_that_passes_over_a_quiet_partition_is_told_within_seconds() {
    let patient = Pipeline::weather().with("consumer.session_timeout_ms", 45_000);
    let pipeline = patient.start().await;
    let (base, topic) = (EventId::new_base(), pipeline.topic("weather"));
    write(&pipeline, base, 0..3).await;
    let stream = pipeline.stream("weather");
    once("three archived", async || {
        pipeline.archive.of_stream(stream).await.len() == 3
    })
    .await;
    pipeline.consumers[0].freeze().await;
    write(&pipeline, base, 3..8).await;
    pipeline.kafka.delete_records(topic, 0, 8).await;
    pipeline.consumers[0].thaw();
    // The fetch that was on its way has had the first of them.
    eventually("each of eight archived or told to be lost", async || {
        let lost = pipeline.consumers[0]
            .metric("aguacero_consumer_lost_total")
            .await;
        match pipeline.archive.of_stream(stream).await.len() {
            archived if archived < 5 && lost + archived as f64 == 8.0 => Ok(()),
            archived => Err(format!("{archived} archived, {lost} lost")),
        }
    })
    .await;
    once("finished behind them", async || {
        let committed = pipeline.kafka.committed(pipeline.group(), topic, 0).await;
        committed.next == Some(8)
    })
    .await;
}
