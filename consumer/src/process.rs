//! A process that reads from Kafka into a sink, whichever that is, and does nothing else.

use std::{collections::HashMap, sync::Arc};

use aguacero::{
    config::Config,
    kafka::{Described, TopicError, Topics},
    shutdown::Shutdown,
};
use anyhow::Context as _;
use tokio::sync::watch;

use crate::{
    periodic::kafka::Kafka,
    poll::{Assigned, Incarnations, poll},
    retry::RetryLimit,
    sink::Sink,
};

/// Waits for Kafka, makes the topics of `config` that are missing, and reads them into `sink` as the group
/// `config.consumer.group` until `shutdown`. `seen` is told that Kafka was seen.
pub async fn run<S: Sink>(
    config: Arc<Config>,
    sink: Arc<S>,
    seen: impl FnOnce(),
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    let topics = Arc::new(Topics::new(&config.kafka, "consumer").context("librdkafka")?);
    let described = tokio::select! {
        described = ensured(&config, &topics, RetryLimit::endless()) => described?,
        () = shutdown.requested() => return Ok(()),
    };
    seen();
    tracing::info!(group = config.consumer.group, "reading");
    let names = config.topics.iter().map(|t| t.name.clone()).collect();
    let incarnations = Arc::new(Incarnations::new(topics.clone(), names, described));
    let (assigned_sender, assigned) = watch::channel(Assigned::default());
    // It still asks while it drains.
    let (drained, until_drained) = Shutdown::new();
    let kafka = Kafka {
        config: config.clone(),
        topics,
        incarnations: incarnations.clone(),
        assigned,
    };
    kafka.watch(&until_drained);
    let polled = poll(config, sink, incarnations, assigned_sender, shutdown).await;
    drained.fire();
    polled
}

/// The topics as declared, whoever comes first: this process or another.
pub(crate) async fn ensured(
    config: &Config,
    topics: &Topics,
    limit: RetryLimit,
) -> anyhow::Result<HashMap<String, Described>> {
    let kafka = format!("Kafka at {}", config.kafka.brokers);
    let ensured = limit.retry(&kafka, || async {
        match topics.ensure(&config.topics).await {
            Ok(described) => Ok(Ok(described)),
            Err(TopicError::Refused(why)) => Ok(Err(why)),
            Err(error) => Err(error),
        }
    });
    ensured.await?.map_err(anyhow::Error::msg)
}
