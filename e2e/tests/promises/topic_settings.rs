//! What the settings of a topic do to what is promised: refused at start, told while it runs, explained by `check`.

use std::process::Output;

use e2e::{Builder, Kind, Pipeline, Process, Request, load::tweet, once, repository};

/// A day of retention is asked for.
const DAY_MS: &str = "86400000";

fn kept_for_a_day() -> Builder {
    let written = repository("aguacero.toml");
    let file = written.replace(
        "# retention_min_ms    = 0 ",
        "retention_min_ms = 86400000 #",
    );
    assert_ne!(file, written);
    Pipeline::builder(&file)
}

fn asks_kafka(process: &Process) -> bool {
    process.kind().is_producer() || process.kind() == Kind::Consumer
}

async fn check(process: &Process) -> (Option<i32>, String) {
    let mut command = process.command("check --connect");
    let output = tokio::task::spawn_blocking(move || command.output()).await;
    let Output { status, stdout, .. } = output.expect("joined").expect("a program that starts");
    (status.code(), String::from_utf8_lossy(&stdout).into_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_may_lose_acknowledged_events_is_refused_and_all_reasons_are_told() {
    let mut pipeline = kept_for_a_day().prepare().await;
    let topic = pipeline.topic("weather").to_owned();
    pipeline.kafka.create(&topic, 6).await;
    let settings = [
        ("cleanup.policy", "compact,delete"),
        ("retention.ms", "86399999"),
    ];
    pipeline.kafka.set_all(&topic, &settings).await;
    let reasons = [
        format!("topic {topic}: cleanup.policy = compact,delete: Kafka keeps only the newest"),
        format!("topic {topic}: retention.ms = 86399999: retention_min_ms = {DAY_MS} is declared"),
    ];
    for process in pipeline.processes_mut() {
        if !asks_kafka(process) {
            continue;
        }
        process.start();
        let status = process.ended().await;
        assert_eq!(status.code(), Some(1), "{}", process.log());
        let (status, explained) = check(process).await;
        assert_eq!(status, Some(1), "{explained}");
        assert!(
            explained.contains("REFUSED retention.ms = 86399999"),
            "{explained}"
        );
        for reason in &reasons {
            assert!(process.log().contains(reason), "{}", process.log());
        }
    }

    let settings = [("cleanup.policy", "delete"), ("retention.ms", DAY_MS)];
    pipeline.kafka.set_all(&topic, &settings).await;
    for process in pipeline.processes_mut() {
        process.start();
    }
    for process in pipeline.processes_mut() {
        process.ready().await;
        if asks_kafka(process) {
            let (status, explained) = check(process).await;
            assert_eq!(status, Some(0), "{explained}");
            assert!(
                explained.contains("ok      cleanup.policy = delete"),
                "{explained}"
            );
        }
    }
    let event = Request::json("/input", tweet(1));
    pipeline.client().answer(&event).await.accepted(1);
    pipeline.exact("weather", 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_is_made_compacted_while_it_is_written_to_is_told_until_that_is_mended() {
    let pipeline = Pipeline::weather().start().await;
    let topic = pipeline.topic("weather");
    let mut client = pipeline.client();
    let event = Request::json("/input", tweet(1));
    client.answer(&event).await.accepted(1);

    pipeline.kafka.set(topic, "cleanup.policy", "compact").await;
    let mut refused = false;
    let told = [
        (
            &pipeline.producer,
            "aguacero_producer_topic_setting_problem",
        ),
        (
            &pipeline.consumers[0],
            "aguacero_consumer_topic_setting_problem",
        ),
    ];
    let words = format!("topic {topic}: cleanup.policy = compact: Kafka keeps only the newest");
    for (process, gauge) in told {
        let name = process.name();
        once(
            &format!("{name} tells of the compacted topic"),
            async || {
                // Without a key, which a compacted topic does not take.
                refused |= client.answer(&event).await.status == 503;
                process.metric(gauge).await == 1.0
            },
        )
        .await;
        let (status, said) = process.readiness().await.expect("an admin port");
        assert_eq!(status, 200, "it does its work");
        assert!(
            said.starts_with("ready\n") && said.contains(&words),
            "{said}"
        );
        assert!(process.log().contains(&words), "{}", process.log());
        let labelled = format!("{gauge}{{topic=\"{topic}\",setting=\"cleanup.policy\"}}");
        assert_eq!(process.metric(&labelled).await, 1.0, "{labelled}");
    }
    once("an event without a key refused", async || {
        refused |= client.answer(&event).await.status == 503;
        refused
    })
    .await;
    let log = pipeline.producer.log();
    assert!(log.contains("Kafka does not store records"), "{log}");
    assert!(log.contains("InvalidRecord"), "{log}");

    pipeline.kafka.set(topic, "cleanup.policy", "delete").await;
    for (process, gauge) in told {
        let name = process.name();
        once(&format!("{name} tells that it has ended"), async || {
            let told = process.readiness().await;
            let ended = "endanger what is promised: has ended";
            process.metric(gauge).await == 0.0
                && told == Some((200, "ready\n".to_owned()))
                && process.log().contains(ended)
        })
        .await;
    }
    client.answer(&event).await.accepted(1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_we_make_has_what_the_promises_need_whatever_the_brokers_defaults_are() {
    let pipeline = kept_for_a_day().into_kafka_only().start().await;
    let settings = pipeline.kafka.settings(pipeline.topic("weather")).await;
    let expected = [
        ("cleanup.policy", "delete"),
        ("message.timestamp.type", "CreateTime"),
        ("min.insync.replicas", "1"),
        ("retention.ms", DAY_MS),
        ("unclean.leader.election.enable", "false"),
    ];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(settings, expected.into());
}
