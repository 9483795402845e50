//! How far behind Kafka this process is: the one figure to alarm on.

use std::{collections::HashSet, sync::Arc, time::Duration};

use aguacero::{config::Config, kafka::Topics, shutdown::Shutdown};
use tokio::sync::watch;

use crate::{metric, poll::Owned};

const INTERVAL: Duration = Duration::from_secs(1);

/// Reports the lag of every partition that this process has, until the shutdown.
pub async fn watch(
    config: Arc<Config>,
    topics: Arc<Topics>,
    owned: watch::Receiver<Vec<Owned>>,
    shutdown: Shutdown,
) {
    let mut before = HashSet::new();
    while !shutdown.is_requested() {
        let partitions = owned.borrow().clone();
        let now: HashSet<_> = partitions
            .iter()
            .map(|o| (o.source.topic, o.source.position.partition))
            .collect();
        for &(topic, partition) in before.difference(&now) {
            show(&config, topic, partition, 0); // whoever has it now shows it
        }
        before = now;
        let (config, topics) = (config.clone(), topics.clone());
        _ = tokio::task::spawn_blocking(move || report(&config, &topics, &partitions)).await;
        tokio::select! {
            () = tokio::time::sleep(INTERVAL) => {}
            () = shutdown.requested() => {}
        }
    }
}

fn report(config: &Config, topics: &Topics, partitions: &[Owned]) {
    for Owned {
        source, finished, ..
    } in partitions
    {
        let partition = source.position.partition;
        // Kafka that is away is told elsewhere, and the last figure stays.
        let Ok((first, next)) = topics.offsets(&config.topics[source.topic].name, partition) else {
            return;
        };
        show(
            config,
            source.topic,
            partition,
            next - finished.unwrap_or(first).max(first),
        );
    }
}

fn show(config: &Config, topic: usize, partition: i32, lag: i64) {
    metric::lag(&config.topics[topic].name, partition, lag);
}
