//! Brokers that are killed.

use std::collections::{BTreeMap, BTreeSet};

use aguacero::kafka::partition_of;
use e2e::{Answer, Client, Pipeline, Request, kafka::Place, once};

use super::{clients, cluster, judged, three_of_each};

/// A stream of its own topic, `aside`, with an event's partition chosen by its field `n`.
fn aside(replication: usize, min_insync: usize) -> String {
    format!(
        r#"
        [topics.aside]
        partitions  = 3
        replication = {replication}
        min_insync  = {min_insync}

        [streams.aside]
        topic  = "aside"
        key    = "n"
        fields = [{{ name = "n", type = "integer", required = true }}]

        [[streams.aside.routes]]
        path = "/aside"
        "#
    )
}

/// Another stream of the same topic, with events in any partition.
const ANYWHERE: &str = r#"
    [streams.anywhere]
    topic  = "aside"
    spread = "sticky"
    fields = [{ name = "n", type = "integer", required = true }]

    [[streams.anywhere.routes]]
    path = "/anywhere"
"#;

fn value(n: usize) -> String {
    format!(r#"{{"n": {n}}}"#)
}

fn event(path: &str, n: usize) -> Request {
    Request::json(path, value(n)).key(&format!("{path}-{n}"))
}

/// The first event of `aside` from number `from` that belongs into `partition`.
fn event_of(partition: i32, from: usize) -> usize {
    let belongs = |n: &usize| partition_of(n.to_string().as_bytes(), 3) == partition as usize;
    (from..).find(belongs).expect("one of them")
}

/// Checks that an answer says either that nothing is stored and when to try again, or that nobody knows.
/// Returns which.
fn refused(answer: &Answer) -> u16 {
    answer.problem(answer.status);
    match answer.status {
        503 => assert!(answer.header("retry-after").is_some(), "{answer:?}"),
        504 => {}
        _ => panic!("neither 503 nor 504: {answer:?}"),
    }
    answer.status
}

async fn until_stored(client: &mut Client, request: &Request) {
    once("stored", async || {
        client.answer(request).await.status == 200
    })
    .await;
}

fn name_of(broker: i32) -> String {
    format!("kafka-{broker}")
}

fn leaders(places: &BTreeMap<i32, Place>) -> Vec<i32> {
    places.values().map(|p| p.leader).collect()
}

/// Sends events into each partition of `aside`, from number `from`, until one is answered as `enough`
/// wants it; none may be stored. Returns those that were refused for certain.
async fn refused_everywhere(
    pipeline: &Pipeline,
    from: usize,
    enough: fn(u16) -> bool,
) -> BTreeSet<usize> {
    let one = async |partition| {
        let (mut client, mut n) = (pipeline.client(), from);
        let mut certain = BTreeSet::new();
        once(&format!("refused in partition {partition}"), async || {
            n = event_of(partition, n + 1);
            let status = refused(&client.answer(&event("/aside", n)).await);
            certain.extend((status == 503).then_some(n));
            enough(status)
        })
        .await;
        certain
    };
    let (a, b, c) = tokio::join!(one(0), one(1), one(2));
    [a, b, c].into_iter().flatten().collect()
}

/// Checks that what was refused for certain is not in `aside`.
async fn without(pipeline: &Pipeline, refused: &BTreeSet<usize>) {
    for record in pipeline.records("aside").await {
        let there = refused.iter().find(|n| value(**n) == record.text());
        assert_eq!(there, None, "it was refused: {record:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_killed_under_load_loses_nothing() {
    let outages = three_of_each().await;
    let pipeline = cluster("").start().await;
    let load = clients(&pipeline);
    load.progress(100).await;
    let topic = pipeline.topic("weather");
    let killed = pipeline.kafka.places(topic).await[&0].leader;
    outages.begin(&name_of(killed)).await;
    once("every partition led by another", async || {
        let leaders = leaders(&pipeline.kafka.places(topic).await);
        leaders
            .iter()
            .all(|&leader| leader >= 0 && leader != killed)
    })
    .await;
    load.progress(300).await;
    outages.end().await;
    pipeline.kafka.in_sync().await;
    load.progress(100).await;
    judged(&pipeline, load).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_two_brokers_killed_the_answer_is_503_or_504_never_200() {
    let outages = three_of_each().await;
    let pipeline = cluster(&aside(3, 2)).start().await;
    let load = clients(&pipeline);
    load.progress(100).await;
    outages.begin("kafka-1").await;
    outages.begin("kafka-2").await;
    // The one that is left cannot leave the others out, as two of three controllers are away: what it
    // has appended waits, and nobody knows whether it will stay.
    let mut certain = refused_everywhere(&pipeline, 0, |_| true).await;
    let stored = load.stored();
    certain.extend(refused_everywhere(&pipeline, 1000, |_| true).await);
    assert_eq!(load.stored(), stored, "stored with one broker of three");
    assert!(pipeline.gateway.is_ready().await);
    outages.end().await;
    pipeline.kafka.in_sync().await;
    load.progress(100).await;
    without(&pipeline, &certain).await;
    judged(&pipeline, load).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_too_few_brokers_hold_is_refused_and_not_there_later() {
    let outages = three_of_each().await;
    let pipeline = cluster(&aside(3, 3)).start().await;
    let load = clients(&pipeline);
    let mut client = pipeline.client();
    client.answer(&event("/aside", 0)).await.accepted(1);
    let topic = pipeline.topic("aside");
    let killed = pipeline.kafka.places(topic).await[&0].leader;
    outages.begin(&name_of(killed)).await;
    once("every partition with two brokers in sync", async || {
        let places = pipeline.kafka.places(topic).await;
        places
            .values()
            .all(|p| p.leader >= 0 && p.in_sync.len() == 2)
    })
    .await;
    // Of what a busy broker leaves unanswered nobody knows, of what it refuses everybody.
    let certain = refused_everywhere(&pipeline, 1, |status| status == 503).await;
    load.progress(100).await; // two brokers are enough for its topic
    outages.end().await;
    pipeline.kafka.in_sync().await;
    until_stored(&mut client, &event("/aside", 0)).await;
    without(&pipeline, &certain).await;
    pipeline.exact_beyond_kafka("aside").await;
    judged(&pipeline, load).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_without_a_leader_stops_nobody_else() {
    let outages = three_of_each().await;
    let more = aside(1, 1) + ANYWHERE;
    let mut pipeline = cluster(&more).start().await;
    let load = clients(&pipeline);
    let mut client = pipeline.client();
    for n in 0..3 {
        let n = event_of(n, 0);
        client.answer(&event("/aside", n)).await.accepted(1);
    }
    let places = pipeline.kafka.places(pipeline.topic("aside")).await;
    let spread: BTreeSet<_> = leaders(&places).into_iter().collect();
    assert_eq!(spread.len(), 3, "a broker for each partition: {places:?}");
    pipeline.exact("aside", 3).await;
    // The last figure stays where no other comes.
    once("no lag", async || {
        are_unknown(&pipeline, "aside", 0.0).await
    })
    .await;
    outages.begin(&name_of(places[&1].leader)).await;

    // The events of the partition that has no leader are refused …
    let mut lost = 1000;
    once("refused", async || {
        lost = event_of(1, lost + 1);
        refused(&client.answer(&event("/aside", lost)).await) == 503
    })
    .await;
    // … those of others are not, nor are those that may enter any …
    for partition in [0, 2] {
        let request = event("/aside", event_of(partition, 1000));
        until_stored(&mut client, &request).await;
    }
    for n in 0..100 {
        until_stored(&mut client, &event("/anywhere", n)).await;
    }
    // … nor are those of another topic.
    load.progress(300).await;
    let places = pipeline.kafka.places(pipeline.topic("aside")).await;
    assert!(places[&1].leader < 0, "it had no leader: {places:?}");
    // Of its lag nobody knows, which is told; that of the others is followed.
    once("the lag of one partition told to be unknown", async || {
        are_unknown(&pipeline, "aside", 1.0).await
    })
    .await;
    // Nor does a consumer know it that never read the partition while it had a leader.
    for consumer in &mut pipeline.consumers {
        consumer.kill();
        consumer.start();
    }
    once("it told by consumers that have just started", async || {
        are_unknown(&pipeline, "aside", 1.0).await
    })
    .await;

    outages.end().await;
    pipeline.kafka.in_sync().await;
    let again: Vec<_> = (1001..=lost).filter(|&n| event_of(1, n) == n).collect();
    for &n in &again {
        until_stored(&mut client, &event("/aside", n)).await;
    }
    pipeline.exact("aside", 3 + 2 + again.len()).await;
    pipeline.exact("anywhere", 100).await;
    judged(&pipeline, load).await;
}

/// A metric of the consumers about a stream's topic, summed over their partitions.
async fn told_of(pipeline: &Pipeline, stream: &str, metric: &str) -> f64 {
    let name = format!("{metric}{{topic=\"{}\"", pipeline.topic(stream));
    let mut sum = 0.0;
    for consumer in &pipeline.consumers {
        sum += consumer.metric(&name).await;
    }
    sum
}

/// Whether of the partitions of a stream's topic so many have a lag that is not known, and the others none.
async fn are_unknown(pipeline: &Pipeline, stream: &str, partitions: f64) -> bool {
    let unknown = told_of(pipeline, stream, "aguacero_consumer_lag_unknown_partitions");
    unknown.await == partitions && told_of(pipeline, stream, "aguacero_consumer_lag").await == 0.0
}
