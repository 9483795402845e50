//! Several brokers and several members of MongoDB's replica set, of which some are away: the others go
//! on, or say that they cannot. `scripts/test cluster` runs this with three of each.

mod brokers;
mod members;

use std::time::Duration;

use e2e::{
    Builder, Pipeline,
    load::{COUNTRIES, Load, Plan},
    outage::Outages,
};

/// `aguacero.toml` with its topic on three brokers, two of which must have an event before its 200, and
/// `more` streams.
fn cluster(more: &str) -> Builder {
    let toml = e2e::edited(&e2e::repository("aguacero.toml"), &e2e::ON_THREE_BROKERS);
    Pipeline::builder(&format!("{toml}\n{more}"))
        .pods(2)
        .consumers(2)
        .with("consumer.session_timeout_ms", 6000)
        .with("consumer.batch_records_max", 200)
        // Shorter than a new leader may take, so that the outcomes of what was on its way are told.
        .with("kafka.message_timeout_ms", 1500)
        .with("gateway.ack_timeout_ms", 5000)
        .with("gateway.request_timeout_ms", 8000)
}

/// Clients that retry, some that give up, and events that must be refused.
fn clients(pipeline: &Pipeline) -> Load {
    let plan = Plan {
        clients: 2 * COUNTRIES.len(),
        give_up: 4,
        pause: Duration::from_millis(8),
        some_are_bad: true,
        ..Plan::default()
    };
    Load::follow(plan, &pipeline.addresses())
}

/// The end of every test: the load is over, and everything is as the clients were told.
async fn judged(pipeline: &Pipeline, load: Load) {
    let report = load.finish().await;
    let verdict = pipeline.judge(&report).await;
    assert!(verdict.violations.is_empty(), "{verdict}");
    // A log of several replicas loses nothing, and nobody says that it has.
    for consumer in &pipeline.consumers {
        let truncated = "aguacero_consumer_truncated_total";
        assert!(
            consumer.metric(truncated).await == 0.0,
            "{}",
            consumer.log()
        );
    }
}

/// Services of which there are three.
async fn three_of_each() -> Outages {
    let outages = Outages::prepare().await;
    for kind in ["kafka", "mongodb"] {
        let there = outages.of_kind(kind);
        assert_eq!(there.len(), 3, "{there:?}: run `scripts/test cluster`");
    }
    outages
}
