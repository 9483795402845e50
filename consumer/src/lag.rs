//! How far behind Kafka this process is: the one figure to alarm on.

use std::{sync::Arc, time::Duration};

use aguacero::{config::Config, kafka::Topics, shutdown::Shutdown};
use tokio::sync::watch;

use crate::{metric, poll::Owned};

const INTERVAL: Duration = Duration::from_secs(1);

/// Reports the lag of every partition that this process has, until the shutdown.
pub async fn watch(config: Arc<Config>, topics: Arc<Topics>, owned: watch::Receiver<Vec<Owned>>, shutdown: Shutdown) {
    while !shutdown.is_requested() {
        let partitions = owned.borrow().clone();
        let (config, topics) = (config.clone(), topics.clone());
        _ = tokio::task::spawn_blocking(move || report(&config, &topics, &partitions)).await;
        tokio::select! {
            () = tokio::time::sleep(INTERVAL) => {}
            () = shutdown.requested() => {}
        }
    }
}

fn report(config: &Config, topics: &Topics, partitions: &[Owned]) {
    for Owned { source, finished, .. } in partitions {
        let (topic, partition) = (&config.topics[source.topic].name, source.position.partition);
        // Kafka that is away is told elsewhere, and the last figure stays.
        let Ok((first, next)) = topics.offsets(topic, partition) else { return };
        let lag = next - finished.unwrap_or(first).max(first);
        let labels = [("topic", topic.clone()), ("partition", partition.to_string())];
        metrics::gauge!(metric::LAG, &labels).set(lag.max(0) as f64);
    }
}
