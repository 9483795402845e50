//! What goes wrong for long: each reason in a metric, and a few lines in the log.

use e2e::{Client, Kind, Pipeline, Process, Request, load::tweet, once};
use tokio::{net::TcpStream, process::Command};

/// Lines of a process' log that are about this.
fn lines(process: &Process, about: &str) -> Vec<String> {
    let log = process.log();
    let lines = log.lines().filter(|line| line.contains(about));
    lines.map(str::to_owned).collect()
}

/// Sends events until so many were refused with this status.
async fn refused(client: &mut Client, count: usize, status: u16) {
    for n in 0..count {
        let answer = client.answer(&Request::json("/input", tweet(n))).await;
        answer.problem(status);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_refuses_every_record_is_told_by_its_reason_and_not_each_time() {
    let pipeline = Pipeline::weather().without(Kind::Consumer).start().await;
    let (mut client, topic) = (pipeline.client(), pipeline.topic("weather").to_owned());
    client
        .answer(&Request::json("/input", tweet(1)))
        .await
        .accepted(1);

    // Nothing of ours: a topic that is compacted takes no record without a key.
    pipeline
        .kafka
        .set(&topic, "cleanup.policy", "compact")
        .await;
    once("the broker refuses records", async || {
        let answer = client.answer(&Request::json("/input", tweet(2))).await;
        answer.status == 503
    })
    .await;
    let told = "Kafka does not store records";
    let (before, counted) = (
        pipeline
            .gateway
            .metric("aguacero_gateway_not_stored_total{reason=\"refused\"")
            .await,
        pipeline
            .producer
            .metric("aguacero_producer_failed_total")
            .await,
    );
    refused(&mut client, 200, 503).await;
    let after = pipeline
        .gateway
        .metric("aguacero_gateway_not_stored_total{reason=\"refused\"")
        .await;
    assert_eq!(after - before, 200.0, "each event, by its reason");
    let failed = pipeline
        .producer
        .metric("aguacero_producer_failed_total")
        .await;
    assert_eq!(
        failed - counted,
        200.0,
        "each record, by its topic and code"
    );
    for (process, about) in [
        (&pipeline.producer, told),
        (&pipeline.gateway, "events are not stored"),
    ] {
        let lines = lines(process, about);
        // Three more at the most, as the broker's words name another partition.
        assert!((1..=4).contains(&lines.len()), "{lines:?}");
        assert!(
            ["InvalidRecord", "Invalid record", "INVALID_RECORD"]
                .iter()
                .any(|name| lines[0].contains(name)),
            "{lines:?}"
        );
    }

    pipeline.kafka.set(&topic, "cleanup.policy", "delete").await;
    once("the broker stores records again", async || {
        let answer = client.answer(&Request::json("/input", tweet(3))).await;
        answer.status == 200
    })
    .await;
    once("the end of it is told", async || {
        let ended = format!("{told}: has ended");
        !lines(&pipeline.producer, &ended).is_empty()
            && !lines(&pipeline.gateway, "events are not stored: has ended").is_empty()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_admin_port_answers_while_connections_have_taken_all_descriptors() {
    let pipeline = Pipeline::weather().without(Kind::Consumer).start().await;
    let limit = 128;
    let lowered = Command::new("prlimit")
        .args(["--pid", &pipeline.gateway.pid().to_string()])
        .arg(format!("--nofile={limit}:{limit}"))
        .status()
        .await;
    assert!(lowered.expect("prlimit runs").success());
    let mut connections = Vec::new();
    for _ in 0..2 * limit {
        connections.push(
            TcpStream::connect(pipeline.address())
                .await
                .expect("a connection"),
        );
    }
    once("accepting pauses", async || {
        pipeline
            .gateway
            .metric("aguacero_gateway_accepting_paused_total")
            .await
            > 0.0
    })
    .await;
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(pipeline.gateway.probe(path).await, Some(200), "{path}");
    }
    assert_eq!(
        pipeline
            .gateway
            .metric("aguacero_gateway_accept_errors_total")
            .await,
        0.0
    );
    assert_eq!(
        lines(&pipeline.gateway, "connections wait to be accepted").len(),
        1
    );
    drop(connections);
    let mut client = pipeline.client();
    client
        .answer(&Request::json("/input", tweet(1)))
        .await
        .accepted(1);
}
