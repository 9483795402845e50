//! Counters are live and exact: equal to the archive as soon as the consumer has caught up, whatever was
//! killed in between, in whatever order.

use e2e::{
    Client, Kind, Pipeline, Request, eventually,
    load::{Load, Then, tweet},
    once,
};

/// Posts tweets number `from` to `to`, one by one.
async fn post(client: &mut Client, numbers: std::ops::Range<usize>) {
    for n in numbers {
        client
            .answer(&Request::json("/input", tweet(n)))
            .await
            .accepted(1);
    }
}

async fn total(pipeline: &Pipeline) -> i64 {
    pipeline.redis.shown(pipeline.stream("weather")).await.total
}

/// A replica that comes back as the one it was gets its partitions at once.
fn weather() -> e2e::Builder {
    Pipeline::weather().with("consumer.instance", "the-only-one")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_killed_before_its_deltas_left_is_settled() {
    let mut pipeline = weather()
        .without(Kind::RedisWriter)
        .without(Kind::Consumer)
        .start()
        .await;
    post(&mut pipeline.client(), 0..40).await;
    pipeline.gateway.kill(); // and with it all deltas, which had nowhere to go
    pipeline.redis_writer.start_ready().await;
    pipeline.gateway.start_ready().await;
    post(&mut pipeline.client(), 40..45).await;
    once("the last five live", async || total(&pipeline).await == 5).await;
    pipeline.consumer().start_ready().await;
    pipeline.exact("weather", 45).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deltas_that_come_after_the_settling_are_ignored() {
    let mut pipeline = weather().start().await;
    once("the gateway greeted", async || {
        pipeline
            .redis_writer
            .metric("aguacero_redis_writer_sessions")
            .await
            >= 1.0
    })
    .await;
    pipeline.redis_writer.freeze().await;
    post(&mut pipeline.client(), 0..30).await;
    pipeline.exact("weather", 30).await;
    pipeline.gateway.kill();
    pipeline.redis_writer.thaw(); // and the frame that the gateway had sent is still on its way
    once("the late frame applied", async || {
        pipeline
            .redis_writer
            .metric("aguacero_redis_writer_frames_total")
            .await
            >= 1.0
    })
    .await;
    assert_eq!(total(&pipeline).await, 30);
    pipeline.gateway.start_ready().await;
    post(&mut pipeline.client(), 30..35).await;
    pipeline.exact("weather", 35).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_writer_killed_under_load_costs_no_answer_and_no_count() {
    let mut pipeline = weather().start().await;
    let load = Load::start(pipeline.address(), 4, Then::Retry);
    for _ in 0..3 {
        load.progress(60).await;
        pipeline.redis_writer.kill();
        load.progress(60).await;
        pipeline.redis_writer.start_ready().await;
    }
    load.progress(60).await;
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
async fn a_consumer_killed_mid_way_goes_on_where_it_was() {
    let mut pipeline = weather()
        .with("consumer.batch_records_max", 25)
        .start()
        .await;
    let load = Load::start(pipeline.address(), 4, Then::Retry);
    let mut archived = 0;
    for _ in 0..4 {
        load.progress(80).await;
        once("more archived", async || {
            pipeline.archive.count("messages").await > archived
        })
        .await;
        pipeline.consumer().kill();
        archived = pipeline.archive.count("messages").await;
        load.progress(40).await;
        pipeline.consumer().start();
    }
    let report = load.finish().await;
    pipeline.exact("weather", report.stored.len()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_put_back_to_the_beginning_changes_nothing() {
    let mut pipeline = Pipeline::weather().start().await;
    post(&mut pipeline.client(), 0..50).await;
    pipeline.exact("weather", 50).await;
    pipeline.consumer().shut_down().await;
    pipeline
        .kafka
        .rewind(pipeline.group(), pipeline.topic("weather"))
        .await;
    pipeline.consumer().start_ready().await;
    eventually("50 duplicates seen", async || {
        let seen = pipeline.consumers[0]
            .metric("aguacero_consumer_duplicates_total")
            .await;
        if seen >= 50.0 {
            Ok(())
        } else {
            Err(format!("{seen}"))
        }
    })
    .await;
    post(&mut pipeline.client(), 50..60).await;
    pipeline.exact("weather", 60).await;
    assert!(pipeline.archive.dead_letters().await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_emptied_redis_is_filled_again_even_if_nothing_comes() {
    let pipeline = Pipeline::weather().start().await;
    post(&mut pipeline.client(), 0..50).await;
    pipeline.exact("weather", 50).await;
    pipeline.redis.flush().await;
    pipeline.exact("weather", 50).await;

    let load = Load::start(pipeline.address(), 4, Then::Retry);
    for _ in 0..3 {
        load.progress(50).await;
        pipeline.redis.flush().await;
    }
    load.progress(50).await;
    let report = load.finish().await;
    pipeline.exact("weather", 50 + report.stored.len()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_made_again_goes_on_without_anybody_being_restarted() {
    let pipeline = Pipeline::weather().start().await;
    let topic = pipeline.topic("weather").to_owned();
    post(&mut pipeline.client(), 0..60).await;
    pipeline.exact("weather", 60).await;

    pipeline.kafka.recreate(&topic, 6).await;
    let mut client = pipeline.client();
    once("events accepted again", async || {
        client
            .answer(&Request::json("/input", tweet(60)).key("sixty"))
            .await
            .status
            == 200
    })
    .await;
    for n in 61..100 {
        let request = Request::json("/input", tweet(n)).key(&format!("{n}"));
        once("accepted", async || {
            client.answer(&request).await.status == 200
        })
        .await;
    }
    let archive = pipeline.exact_beyond_kafka("weather").await;
    assert_eq!(archive.len(), 100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_made_again_under_load_shows_what_the_archive_holds() {
    let pipeline = Pipeline::weather().start().await;
    let topic = pipeline.topic("weather").to_owned();
    let load = Load::start(pipeline.address(), 4, Then::Retry);
    for _ in 0..2 {
        load.progress(100).await;
        pipeline.kafka.recreate(&topic, 6).await;
    }
    load.progress(100).await;
    let report = load.finish().await;
    let archive = pipeline.exact_beyond_kafka("weather").await;
    assert!(
        archive.len() <= report.stored.len(),
        "only what Kafka lost with the topic may be missing"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_sent_again_into_other_partitions_counts_once() {
    let pipeline = Pipeline::weather().start().await;
    let mut client = pipeline.client();
    for _ in 0..12 {
        client
            .answer(&Request::json("/input", tweet(1)).key("again"))
            .await
            .accepted(1);
        client
            .answer(&Request::ndjson("/input", format!("{}\n{}", tweet(2), tweet(3))).key("both"))
            .await
            .accepted(2);
    }
    pipeline.exact("weather", 3).await;
    let records = pipeline.records("weather").await;
    let partitions: std::collections::BTreeSet<_> = records.iter().map(|r| r.partition).collect();
    assert_eq!(records.len(), 36);
    assert!(partitions.len() > 1, "spread over {partitions:?}");
    assert!(pipeline.archive.dead_letters().await.is_empty());
}

const WITH_IDS: &str = r#"
    [topics.readings]
    partitions = 5

    [streams.readings]
    topic = "readings"
    id = "id"
    key = "sensor"
    fields = [
      { name = "id", type = ["string", "integer"], required = true },
      { name = "sensor", type = "string", required = true },
    ]
    counters = [{ name = "by_sensor", by = ["sensor"] }]

    [[streams.readings.routes]]
    path = "/readings"
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_event_under_the_same_id_is_a_dead_letter_and_not_counted() {
    let mut pipeline = Pipeline::builder(WITH_IDS)
        .with("consumer.instance", "one")
        .start()
        .await;
    let mut client = pipeline.client();
    let reading = |id: &str, sensor: usize| format!(r#"{{"id": {id}, "sensor": "s-{sensor}"}}"#);
    for sensor in 0..8 {
        // The id field wins over the header.
        let request =
            Request::json("/readings", reading("\"x\"", sensor)).key(&format!("k-{sensor}"));
        client.answer(&request).await.accepted(1);
    }
    for id in ["7", "\"7\"", "7"] {
        client
            .answer(&Request::json("/readings", reading(id, 1)))
            .await
            .accepted(1);
    }
    // Of each id one event is archived, whichever came first; no other was. 7 and "7" are two.
    pipeline.exact("readings", 3).await;
    let letters = eventually("every other event a dead letter", async || {
        let letters = pipeline.archive.dead_letters().await;
        if letters.len() >= 7 {
            Ok(letters)
        } else {
            Err(format!("{letters:?}"))
        }
    })
    .await;
    assert_eq!(letters.len(), 7, "of x");
    let archived = pipeline.archived_values("readings").await;
    for letter in &letters {
        assert_eq!(
            letter.get_str("reason").ok(),
            Some("id-conflict"),
            "{letter}"
        );
        let value = letter
            .get_binary_generic("value")
            .expect("the bytes as they were sent");
        assert!(!archived.contains(value), "{letter} is archived");
    }

    // A replay finds the same.
    pipeline.consumer().kill_and_restart().await;
    client
        .answer(&Request::json("/readings", reading("\"new\"", 3)))
        .await
        .accepted(1);
    pipeline.exact("readings", 4).await;
    assert_eq!(pipeline.archive.dead_letters().await.len(), 7);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_of_an_id_field_names_another_event_than_a_key_or_a_value_of_another_type() {
    let declared = WITH_IDS.replace(
        r#"type = ["string", "integer"], required = true"#,
        r#"type = ["string", "number", "boolean"]"#,
    );
    let pipeline = Pipeline::builder(&declared).start().await;
    let mut client = pipeline.client();
    let ids = [
        r#""x-1001""#,
        "77",
        r#""77""#,
        "77.0",
        "true",
        r#""true""#,
        r#""\u00e9""#,
    ];
    let mut requests: Vec<_> = ids
        .map(|id| Request::json("/readings", format!(r#"{{"id": {id}, "sensor": "by id"}}"#)))
        .into();
    for key in ["x-1001", "77", "true"] {
        let request = Request::json("/readings", format!(r#"{{"sensor": "by {key}"}}"#));
        requests.push(request.key(key));
    }
    for _ in 0..2 {
        for request in &requests {
            client.answer(request).await.accepted(1);
        }
    }
    // A retry is the same event, and nothing else is.
    pipeline.exact("readings", requests.len()).await;
    assert!(pipeline.archive.dead_letters().await.is_empty());
    let documents = pipeline
        .archive
        .of_stream(pipeline.stream("readings"))
        .await;
    let called = |document: &bson::Document| match e2e::archive::ours(document, "key") {
        bson::Bson::String(key) => key.clone(),
        other => panic!("{other}"),
    };
    let mut keys: Vec<_> = documents.iter().map(called).collect();
    keys.sort_unstable();
    let mut expected = vec!["x-1001"; 2];
    expected.extend(["77"; 4]);
    expected.extend(["true"; 3]);
    expected.push("é");
    expected.sort_unstable();
    assert_eq!(keys, expected, "as the client called them");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_producer_killed_under_load_costs_no_event_and_counts_none_twice() {
    let mut pipeline = weather().start().await;
    let load = Load::start(pipeline.address(), 8, Then::Retry);
    for _ in 0..4 {
        load.progress(100).await;
        pipeline.producer.kill_and_restart().await;
    }
    load.progress(100).await;
    let report = load.finish().await;
    assert_eq!(
        report.broken, 0,
        "the gateway answers whatever becomes of the sidecar"
    );
    pipeline.exact("weather", report.stored.len()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_on_its_way_to_a_killed_producer_is_sent_again() {
    let mut pipeline = weather().waiting_long().start().await;
    post(&mut pipeline.client(), 0..1).await;
    pipeline.producer.freeze().await;
    let waiting: Vec<_> = (1..=20)
        .map(|n| {
            let mut client = pipeline.client();
            tokio::spawn(async move { post(&mut client, n..n + 1).await })
        })
        .collect();
    once("something on its way", async || {
        pipeline
            .gateway
            .metric("aguacero_gateway_bytes_in_flight")
            .await
            > 0.0
    })
    .await;
    pipeline.producer.kill_and_restart().await;
    for answer in waiting {
        answer
            .await
            .expect("stored in the end, without the client doing anything");
    }
    pipeline.exact("weather", 21).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_consumers_that_both_believe_they_own_a_partition_count_nothing_twice() {
    let pipeline = Pipeline::weather()
        .consumers(2)
        .with("consumer.session_timeout_ms", 6000)
        .with("consumer.batch_records_max", 20)
        .start()
        .await;
    let [first, second] = &pipeline.consumers[..] else {
        panic!("two consumers")
    };
    once("the partitions shared", async || {
        first.metric("aguacero_consumer_assigned_partitions").await == 3.0
            && second.metric("aguacero_consumer_assigned_partitions").await == 3.0
    })
    .await;
    let load = Load::start(pipeline.address(), 2, Then::Retry);
    load.progress(100).await;
    first.freeze().await; // in the middle of whatever it was doing
    once("its partitions taken over", async || {
        second.metric("aguacero_consumer_assigned_partitions").await == 6.0
    })
    .await;
    load.progress(50).await;
    first.thaw();
    load.progress(100).await;
    let report = load.finish().await;
    pipeline.exact("weather", report.stored.len()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_killed_in_whatever_order_comes_out_exact() {
    let mut pipeline = weather()
        .with("consumer.batch_records_max", 30)
        .start()
        .await;
    let load = Load::start(pipeline.address(), 4, Then::Retry);
    for round in 0..3 {
        load.progress(50).await;
        pipeline.gateway.kill();
        pipeline.consumer().kill();
        pipeline.gateway.start();
        load.progress(30).await;
        pipeline.redis_writer.kill();
        load.progress(10 * round).await;
        pipeline.producer.kill();
        pipeline.consumer().start();
        pipeline.producer.start();
        load.progress(30).await;
        pipeline.gateway.kill();
        pipeline.redis_writer.start();
        pipeline.gateway.start();
        pipeline.redis.flush().await;
    }
    load.progress(50).await;
    let report = load.finish().await;
    assert!(report.broken > 0, "connections did break");
    pipeline.exact("weather", report.stored.len()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rebuild_shows_the_archive_again_whatever_redis_showed() {
    let pipeline = Pipeline::weather().start().await;
    post(&mut pipeline.client(), 0..30).await;
    pipeline.exact("weather", 30).await;
    pipeline.redis.spoil(pipeline.stream("weather")).await;
    assert_ne!(total(&pipeline).await, 30);
    let mut rebuild = pipeline.consumers[0].command("rebuild");
    let output = tokio::task::spawn_blocking(move || rebuild.arg("weather").output())
        .await
        .expect("joined");
    let output = output.expect("a program that starts");
    assert!(output.status.success(), "{output:?}");
    pipeline.exact("weather", 30).await;
    post(&mut pipeline.client(), 30..35).await;
    pipeline.exact("weather", 35).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receipt_that_comes_late_is_not_taken_for_one_of_the_new_topic() {
    let pipeline = Pipeline::weather().start().await;
    let topic = pipeline.topic("weather").to_owned();
    for _ in 0..4 {
        let load = Load::start(pipeline.address(), 8, Then::Retry);
        load.progress(150).await;
        // With what Kafka has acknowledged, and the kafka-producer has not read.
        pipeline.producer.freeze().await;
        pipeline.kafka.recreate(&topic, 6).await;
        pipeline.producer.thaw();
        load.progress(10).await;
        load.finish().await;
        // The new topic is shorter than the old one was, so nothing would settle it by and by.
        pipeline.exact_beyond_kafka("weather").await;
    }
}
