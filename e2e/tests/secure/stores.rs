//! In with the right papers; out, and told why, without.
//!
//! The name of this file is where topics and groups of these tests begin, and what the rights in Kafka are for.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Output,
};

use e2e::{
    Builder, Kind, Pipeline, Process, Request, Services, console::Updates, load::tweet, once,
};
use serde_json::Value;

/// Everything that `scripts/services` has made for these tests: passwords, certificates.
fn secrets() -> PathBuf {
    let access = Services::from_env().access;
    let ca = access.get("AGUACERO_KAFKA_CA");
    let ca = ca.expect("services with TLS: run this by `scripts/test secure`");
    Path::new(ca).parent().expect("a folder").to_owned()
}

fn password(user: &str) -> String {
    let password = fs::read_to_string(secrets().join(user)).expect("a password of ours");
    password.trim_end().to_owned()
}

/// With logs that hold nothing back.
fn weather() -> Builder {
    Pipeline::weather().with("log", "debug")
}

fn run(process: &Process, verb: &str) -> Output {
    let output = process
        .command(verb)
        .output()
        .expect("a program that starts");
    assert!(output.status.success(), "{verb}: {output:?}");
    output
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_in_is_stored_archived_and_counted_with_the_rights_in_the_book_alone() {
    // The database that the consumer has its rights in.
    let pipeline = weather().with("mongodb.database", "aguacero").console();
    let mut pipeline = pipeline.start().await;
    let mut client = pipeline.client();
    for n in 0..50 {
        client
            .answer(&Request::json("/input", tweet(n)).key(&format!("one-{n}")))
            .await
            .accepted(1);
    }
    let many: Vec<_> = (100..1100).map(|n| tweet(n).to_string()).collect();
    let many = Request::json("/input", format!("[{}]", many.join(","))).key("many");
    client.answer(&many).await.accepted(1000);
    pipeline.exact("weather", 1050).await;

    // What is done seldom needs rights too: counting anew, letters, a second start.
    let consumer = &pipeline.consumers[0];
    run(consumer, "rebuild weather");
    run(consumer, "dead-letters list");
    for process in pipeline.processes_mut() {
        process.restart().await;
    }
    client = pipeline.client();
    client.answer(&many).await.accepted(1000);
    client
        .answer(&Request::json("/input", tweet(51)).key("one-51"))
        .await
        .accepted(1);
    pipeline.exact("weather", 1051).await;

    // The console has users that may only read.
    let console = pipeline.console.as_ref().expect("a console");
    for (path, shows) in [
        ("/api/live/stream", "/streams/0/total"),
        ("/api/log/weather/stream", "/entries/0/text"),
        ("/api/dead-letters/stream", "/letters"),
    ] {
        let mut updates = Updates::open(console, path).await.expect("updates");
        let is_shown = |u: &Value| u.pointer(shows).is_some_and(|v| !v.is_null());
        updates.until(path, is_shown).await;
    }

    for process in pipeline.processes() {
        // What Redis and topics are set to may be asked for, and nothing is wrong with it.
        let told = process.readiness().await;
        assert_eq!(
            told,
            Some((200, "ready\n".to_owned())),
            "{}",
            process.name()
        );
    }
    for process in [
        &pipeline.producer,
        &pipeline.redis_writer,
        &pipeline.consumers[0],
    ] {
        run(process, "check --connect");
    }

    // Not in a log, nor in what `check` prints.
    for process in pipeline.processes() {
        let check = format!("{:?}", run(process, "check"));
        for user in [
            "admin",
            "kafka-producer",
            "redis-writer",
            "consumer",
            "console",
        ] {
            let password = password(user);
            assert!(
                !process.log().contains(&password),
                "in the log of {}",
                process.name()
            );
            assert!(!check.contains(&password), "{check}");
        }
    }
}

/// Starts a process that is set up wrongly: it goes on trying, says why with all of `told`, and is not ready.
async fn is_turned_away<const N: usize, const M: usize>(
    kind: Kind,
    settings: [(&str, &str); N],
    told: [&str; M],
) {
    let builder = settings
        .iter()
        .fold(weather(), |builder, (key, value)| builder.with(key, value));
    let mut pipeline = builder.prepare().await;
    let process = match kind {
        Kind::Gateway => &mut pipeline.gateway,
        Kind::KafkaProducer | Kind::WasmProducer => &mut pipeline.producer,
        Kind::RedisWriter => &mut pipeline.redis_writer,
        Kind::Consumer => pipeline.consumer(),
        Kind::Tables => &mut pipeline.tables[0],
        Kind::Console => unreachable!("it is served while the stores are away"),
    };
    process.start();
    once(
        &format!("{kind:?} with {settings:?} tells {told:?}"),
        async || {
            let log = process.log();
            told.iter().all(|word| log.contains(word))
        },
    )
    .await;
    assert!(process.is_running(), "{kind:?}: {}", process.log());
    assert_eq!(process.probe("/readyz").await, Some(503), "{kind:?}");
    assert!(
        !process.log().contains("not the one"),
        "the password is told"
    );
}

/// A file with another password.
fn wrong_password() -> (tempfile::NamedTempFile, String) {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    fs::write(file.path(), "not the one\n").expect("our own file");
    let path = file.path().display().to_string();
    (file, path)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_for_kafka_is_told() {
    let (_file, wrong) = wrong_password();
    let settings = [("kafka.password_file", &*wrong)];
    let told = [
        "Kafka does not let this process in",
        "SCRAM-SHA-512",
        "kafka.password_file",
    ];
    tokio::join!(
        is_turned_away(Kind::producer(), settings, told),
        is_turned_away(Kind::Consumer, settings, told),
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_for_redis_is_told() {
    let (_file, wrong) = wrong_password();
    let settings = [("redis.password_file", &*wrong)];
    is_turned_away(
        Kind::RedisWriter,
        settings,
        ["Redis", "Password authentication failed"],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_for_mongodb_is_told() {
    let (_file, wrong) = wrong_password();
    let settings = [("mongodb.password_file", &*wrong)];
    let told = ["waiting for MongoDB", "Authentication failed"];
    is_turned_away(Kind::Consumer, settings, told).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_authority_that_nobody_knows_is_told() {
    let stranger = secrets().join("stranger.pem").display().to_string();
    tokio::join!(
        is_turned_away(
            Kind::producer(),
            [("kafka.ca", &stranger)],
            [
                "Kafka does not let this process in",
                "certificate verify failed",
                "kafka.ca"
            ],
        ),
        is_turned_away(
            Kind::RedisWriter,
            [("redis.ca", &stranger)],
            ["Redis", "invalid peer certificate"],
        ),
        is_turned_away(
            Kind::Consumer,
            [("mongodb.ca", &stranger)],
            ["waiting for MongoDB", "invalid peer certificate"],
        ),
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_of_another_host_is_not_believed() {
    let services = Services::from_env();
    let elsewhere = |address: &str| address.replace("127.0.0.1", "localhost");
    let (brokers, redis) = (elsewhere(&services.brokers), elsewhere(&services.redis));
    let mongodb = elsewhere(&services.mongodb).replace("replicaSet=rs0", "directConnection=true");
    tokio::join!(
        is_turned_away(
            Kind::producer(),
            [("kafka.brokers", &*brokers)],
            ["Kafka does not let this process in", "for another host"],
        ),
        is_turned_away(
            Kind::RedisWriter,
            [("redis.url", &*redis)],
            ["Redis", "certificate not valid for name"],
        ),
        is_turned_away(
            Kind::Consumer,
            [("mongodb.uri", &*mongodb)],
            ["waiting for MongoDB", "certificate not valid for name"],
        ),
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_without_a_certificate_of_its_own_is_turned_away_where_one_is_asked_for() {
    tokio::join!(
        is_turned_away(
            Kind::producer(),
            [("kafka.certificate", ""), ("kafka.key", "")],
            ["Kafka does not let this process in"],
        ),
        is_turned_away(
            Kind::RedisWriter,
            [("redis.certificate", ""), ("redis.key", "")],
            ["Redis does not take deltas"],
        ),
        is_turned_away(
            Kind::Consumer,
            [("mongodb.certificate_key", "")],
            ["waiting for MongoDB"],
        ),
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_plain_comes_in_by_a_port_for_tls() {
    let redis = Services::from_env().redis.replace("rediss://", "redis://");
    tokio::join!(
        is_turned_away(
            Kind::producer(),
            [
                ("kafka.tls", "false"),
                ("kafka.ca", ""),
                ("kafka.certificate", ""),
                ("kafka.key", "")
            ],
            ["Kafka does not let this process in", "kafka.tls"],
        ),
        is_turned_away(
            Kind::RedisWriter,
            [
                ("redis.url", &redis),
                ("redis.ca", ""),
                ("redis.certificate", ""),
                ("redis.key", "")
            ],
            ["Redis does not take deltas"],
        ),
        is_turned_away(
            Kind::Consumer,
            [
                ("mongodb.tls", "false"),
                ("mongodb.ca", ""),
                ("mongodb.certificate_key", "")
            ],
            ["waiting for MongoDB"],
        ),
    );
}
