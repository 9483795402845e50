//! What is looked at in Kafka by every process that reads from it, whatever its sink is.

use std::sync::Arc;

use aguacero::{config::Config, essential::essential, kafka::Topics, shutdown::Shutdown};
use tokio::sync::watch;

use super::{lag, missed_partitions, topic_settings};
use crate::poll::{Assigned, Incarnations};

/// What is looked at.
pub struct Kafka {
    /// Which topics.
    pub config: Arc<Config>,
    /// Who is asked.
    pub topics: Arc<Topics>,
    /// Which incarnation each topic has.
    pub incarnations: Arc<Incarnations>,
    /// Which partitions this process has.
    pub assigned: watch::Receiver<Assigned>,
}

impl Kafka {
    /// Begins to look at topics, lag, settings and partitions that nobody has, until the shutdown.
    pub fn watch(self, until: &Shutdown) {
        let Self {
            config,
            topics,
            incarnations,
            assigned,
        } = self;
        let looking = incarnations.clone().watch(until.clone());
        tokio::spawn(essential("looking at the topics", looking));
        let lagging = lag::watch(config.clone(), topics.clone(), assigned, until.clone());
        tokio::spawn(essential("looking at the lag", lagging));
        let (asking, known) = (topics.clone(), incarnations.clone());
        let judging = topic_settings::watch(config.clone(), asking, known, until.clone());
        tokio::spawn(essential("looking at the settings of topics", judging));
        let missed = missed_partitions::watch(config, topics, incarnations, until.clone());
        tokio::spawn(essential("looking for missed partitions", missed));
    }
}
