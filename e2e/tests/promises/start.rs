//! Starting: mistakes are told all at once, what is missing is waited for, what is less than declared is
//! refused.

use std::process::Output;

use e2e::{Kind, Pipeline, Process, Request, load::tweet, once, repository};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    process::Command,
};

const MISTAKEN: &str = r#"
[topics.messages]
partitions = 0

[streams.weather]
topic = "massages"
fields = [
  { name = "texto", type = "text" },
]
counters = [ { name = "by_country", by = ["país"] } ]

[[streams.weather.routes]]
path = "input"

[gateway]
lisen = "127.0.0.1:8080"
ack_timeout_ms = 99
"#;

/// Runs `PROGRAM VERB --config FILE` with no variable of ours in the environment.
async fn run(kind: Kind, verb: &str, file: &str) -> Output {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("file.toml");
    std::fs::write(&path, file).expect("a file in our own folder");
    let mut command = Command::new(kind.path());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("AGUACERO_") {
            command.env_remove(name);
        }
    }
    command
        .arg(verb)
        .arg("--config")
        .arg(path)
        .kill_on_drop(true)
        .output()
        .await
        .expect("a program that starts")
}

fn all() -> [Kind; 5] {
    [
        Kind::Gateway,
        Kind::producer(),
        Kind::RedisWriter,
        Kind::Consumer,
        Kind::Console,
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_mistake_of_a_file_is_told_with_its_line() {
    for kind in all() {
        for verb in ["check", "run"] {
            let output = run(kind, verb, MISTAKEN).await;
            assert_eq!(output.status.code(), Some(2), "{kind:?} {verb}: {output:?}");
            let told = String::from_utf8_lossy(&output.stderr);
            for (line, word) in [
                (3, "partitions"),
                (6, "massages"),
                (8, "text"),
                (10, "país"),
                (13, "path"),
                (16, "lisen"),
                (17, "ack_timeout_ms"),
            ] {
                let found = told
                    .lines()
                    .any(|l| l.contains(&format!("file.toml:{line}:")) && l.contains(word));
                assert!(
                    found,
                    "{kind:?} {verb} does not tell of {word} in line {line}:\n{told}"
                );
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_files_of_the_repository_have_no_mistakes() {
    for file in [
        "aguacero.toml",
        "examples/votes.toml",
        "examples/guild.toml",
    ] {
        for kind in all() {
            let output = run(kind, "check", &repository(file)).await;
            assert!(output.status.success(), "{kind:?} {file}: {output:?}");
            assert!(
                String::from_utf8_lossy(&output.stdout).contains("POST /"),
                "{output:?}"
            );
        }
    }
}

/// Starts a process that must refuse to run, and returns what it said.
async fn refuses(process: &mut Process) -> String {
    process.start();
    let status = process.ended().await;
    assert!(
        !status.success(),
        "{} runs although it should not",
        process.name()
    );
    process.log()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_with_less_than_declared_is_refused() {
    let mut pipeline = Pipeline::weather().prepare().await;
    pipeline.kafka.create(pipeline.topic("weather"), 2).await;
    for said in [
        refuses(&mut pipeline.producer).await,
        refuses(pipeline.consumer()).await,
    ] {
        assert!(
            said.contains("6 partitions are declared, the broker has 2"),
            "{said}"
        );
    }

    let strict = repository("aguacero.toml")
        .replace("min_insync  = 1", "min_insync  = 2")
        .replace("replication = 1", "replication = 2");
    let mut pipeline = Pipeline::builder(&strict).prepare().await;
    pipeline.kafka.create(pipeline.topic("weather"), 6).await;
    for said in [
        refuses(&mut pipeline.producer).await,
        refuses(pipeline.consumer()).await,
    ] {
        assert!(
            said.contains("min_insync = 2 is declared") && said.contains("could be lost"),
            "{said}"
        );
    }

    // This broker is alone, so it cannot make such a topic either, and says so.
    let mut pipeline = Pipeline::builder(&strict).prepare().await;
    let said = refuses(&mut pipeline.producer).await;
    assert!(
        said.contains("the broker refuses to create the topic"),
        "{said}"
    );
}

/// Forwards connections to `broker`; the metadata that comes back leads to the broker itself.
async fn relay(listener: TcpListener, broker: String) {
    while let Ok((mut near, _)) = listener.accept().await {
        let broker = broker.clone();
        tokio::spawn(async move {
            if let Ok(mut far) = TcpStream::connect(broker).await {
                _ = copy_bidirectional(&mut near, &mut far).await;
            }
        });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kafka_that_is_not_there_yet_is_waited_for() {
    let reserved = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = reserved.local_addr().expect("an address");
    drop(reserved);
    let mut pipeline = Pipeline::weather()
        .with("kafka.brokers", address)
        .prepare()
        .await;
    for process in [
        &mut pipeline.producer,
        &mut pipeline.redis_writer,
        &mut pipeline.gateway,
    ] {
        process.start();
    }
    pipeline.consumer().start();
    pipeline.redis_writer.ready().await;
    once("Kafka missed", async || {
        pipeline.producer.log().contains("waiting for Kafka")
            && pipeline.consumers[0].log().contains("waiting for Kafka")
    })
    .await;
    for process in [
        &pipeline.producer,
        &pipeline.gateway,
        &pipeline.consumers[0],
    ] {
        assert_eq!(
            process.probe("/healthz").await,
            Some(200),
            "{} runs",
            process.name()
        );
        assert_eq!(
            process.probe("/readyz").await,
            Some(503),
            "{} is not ready",
            process.name()
        );
    }
    let answer = pipeline
        .client()
        .answer(&Request::json("/input", tweet(1)))
        .await;
    answer.problem(503);

    let listener = TcpListener::bind(address)
        .await
        .expect("the port is still ours");
    let relay = tokio::spawn(relay(listener, e2e::Services::from_env().brokers));
    pipeline.producer.ready().await;
    pipeline.consumer().ready().await;
    pipeline.gateway.ready().await;
    pipeline
        .client()
        .answer(&Request::json("/input", tweet(2)))
        .await
        .accepted(1);
    pipeline.exact("weather", 1).await;
    relay.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_process_does_not_take_a_socket_that_is_served() {
    let pipeline = Pipeline::weather().without(Kind::Consumer).start().await;
    for process in [&pipeline.producer, &pipeline.redis_writer] {
        let mut second = process.command("run");
        let table = process.name().replace('-', "_").to_uppercase();
        second.env(format!("AGUACERO_{table}_ADMIN"), "127.0.0.1:0");
        let output = tokio::task::spawn_blocking(move || second.output())
            .await
            .expect("joined");
        let output = output.expect("a program that starts");
        assert!(!output.status.success());
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("another process serves it"), "{said}");
    }
    pipeline
        .client()
        .answer(&Request::json("/input", tweet(1)))
        .await
        .accepted(1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_that_is_taken_is_told_in_one_line() {
    let pipeline = Pipeline::weather().prepare().await;
    let taken = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = taken.local_addr().expect("an address").to_string();
    let mut tried: Vec<_> = pipeline.processes().map(|p| (p, "ADMIN")).collect();
    tried.push((&pipeline.gateway, "LISTEN"));
    for (process, key) in tried {
        let table = process.kind().program().replace('-', "_").to_uppercase();
        let mut command = process.command("run");
        command
            .env(format!("AGUACERO_{table}_{key}"), &port)
            .env("RUST_BACKTRACE", "1");
        let output = tokio::task::spawn_blocking(move || command.output())
            .await
            .expect("joined");
        let output = output.expect("a program that starts");
        let name = process.name();
        assert_eq!(output.status.code(), Some(1), "{name} {key}: {output:?}");
        // Before it, there may be lines of the log, which have their time first.
        let said = String::from_utf8_lossy(&output.stderr);
        let mut lines = said.lines().skip_while(|line| !line.starts_with("Error: "));
        let line = lines.next().unwrap_or_default();
        assert!(line.contains(&port) && line.contains("in use"), "{said}");
        assert_eq!(lines.next(), None, "{name} {key} says more:\n{said}");
    }
}
