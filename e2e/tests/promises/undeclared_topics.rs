//! A stream that is moved, or given up, leaves nothing unread in silence.

use e2e::{Pipeline, Request, once};

const BOTH: &str = r#"
[topics.old]
partitions = 2
[topics.new]
partitions = 2

[streams.votes]
topic  = "old"
access = "open"
[[streams.votes.routes]]
path = "/votes"

[streams.others]
topic  = "new"
access = "open"
[[streams.others.routes]]
path = "/others"
"#;

async fn vote(pipeline: &Pipeline, votes: usize) {
    let mut client = pipeline.client();
    for n in 0..votes {
        let vote = Request::json("/votes", format!("{{\"n\": {n}}}"));
        client.answer(&vote).await.accepted(1);
    }
}

/// A pipeline whose consumer has read three votes and is down, while fifty more have come.
async fn with_unread_votes() -> Pipeline {
    let mut pipeline = Pipeline::builder(BOTH).start().await;
    vote(&pipeline, 3).await;
    pipeline.exact("votes", 3).await;
    pipeline.consumer().shut_down().await;
    vote(&pipeline, 50).await;
    pipeline
}

async fn goes_on_as_before(pipeline: &mut Pipeline) {
    pipeline.declare(BOTH);
    pipeline.consumer().restart().await;
    pipeline.exact("votes", 53).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_unread_in_a_topic_that_is_not_declared_any_more_is_told() {
    let mut pipeline = with_unread_votes().await;
    let old = pipeline.topic("votes").to_owned();
    let (_, without) = BOTH.split_once("[topics.new]").expect("two topics");
    let (_, others) = without.split_once("[streams.others]").expect("two streams");
    let without = format!("[topics.new]\npartitions = 2\n[streams.others]{others}");
    pipeline.declare(&without);
    pipeline.consumer().start_ready().await;
    let consumer = &pipeline.consumers[0];
    let unread = format!("aguacero_consumer_undeclared_topic_records{{topic=\"{old}\"}}");
    once("50 records told to be unread", async || {
        consumer.metric(&unread).await == 50.0
    })
    .await;
    let words = format!("topic {old} is not declared any more, and up to 50 records");
    let (status, said) = consumer.readiness().await.expect("an admin port");
    assert!(status == 200 && said.contains(&words), "{status} {said}");
    assert!(consumer.log().contains(&words), "{}", consumer.log());

    goes_on_as_before(&mut pipeline).await;
    let (_, said) = pipeline.consumers[0]
        .readiness()
        .await
        .expect("an admin port");
    assert_eq!(said, "ready\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_declared_topic_that_no_stream_writes_to_any_more_is_still_read() {
    let mut pipeline = with_unread_votes().await;
    let old = pipeline.topic("votes").to_owned();
    pipeline.declare(&BOTH.replace("\"old\"", "\"new\""));
    pipeline.consumer().start_ready().await;
    // The votes are of a stream that writes elsewhere now: they wait, and that is told.
    let consumer = &pipeline.consumers[0];
    let lag = format!("aguacero_consumer_lag{{topic=\"{old}\"");
    once("50 records that lag", async || {
        consumer.metric("aguacero_consumer_stopped_partition").await > 0.0
            && consumer.metric(&lag).await == 50.0
    })
    .await;
    let words = format!("declared for another topic: declare it for {old}");
    assert!(consumer.log().contains(&words), "{}", consumer.log());

    goes_on_as_before(&mut pipeline).await;
}
