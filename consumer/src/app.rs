//! Build, then run: the admin port is bound before anything is asked of anybody.

use std::{collections::HashMap, net::SocketAddr, sync::Arc};

use aguacero::{
    admin::Admin,
    config::Config,
    kafka::{Described, TopicError, Topics},
    shutdown::Shutdown,
};
use anyhow::Context as _;
use tokio::sync::{oneshot, watch};

use crate::{
    archive::Archive,
    archiver::Archiver,
    incarnation::Incarnations,
    lag, metric, overlooked,
    patience::{Patience, hosts},
    poll::Poller,
    settle::Settler,
    upkeep::Upkeep,
};

/// Pause before the group is joined again after a fatal error.
const REJOIN_AFTER: std::time::Duration = std::time::Duration::from_secs(1);

/// A consumer whose admin port is bound.
pub struct App {
    config: Arc<Config>,
    admin: Admin,
}

/// What every part of a consumer works with, once all of it was seen.
pub struct Stores {
    /// Kafka's topics.
    pub topics: Arc<Topics>,
    /// As they were a moment ago.
    pub described: HashMap<String, Described>,
    /// MongoDB.
    pub archive: Arc<Archive>,
    /// Redis.
    pub settler: Arc<Settler>,
}

impl App {
    /// Binds the admin port.
    pub async fn build(config: Config) -> anyhow::Result<Self> {
        let admin = Admin::bind(config.consumer.admin).await?;
        Ok(Self {
            config: Arc::new(config),
            admin,
        })
    }

    /// Where the admin port listens.
    #[must_use]
    pub fn admin_addr(&self) -> SocketAddr {
        self.admin.local_addr()
    }

    /// Waits for Kafka, MongoDB and Redis, then archives until `shutdown`, and finishes what is in
    /// flight within the deadline.
    pub async fn run(self, shutdown: Shutdown) -> anyhow::Result<()> {
        metric::describe();
        let (ready_sender, ready) = watch::channel(false);
        tokio::spawn(self.admin.serve(ready, shutdown.clone()));

        let stores = tokio::select! {
            stores = Stores::connect(&self.config, Patience::endless()) => stores?,
            () = shutdown.requested() => return Ok(()),
        };
        ready_sender.send_replace(true);
        tracing::info!(group = self.config.consumer.group, "archiving");
        consume(self.config, stores, shutdown).await
    }
}

/// Starts every part, and returns when the poll loop has ended.
async fn consume(config: Arc<Config>, stores: Stores, shutdown: Shutdown) -> anyhow::Result<()> {
    let Stores {
        topics,
        described,
        archive,
        settler,
    } = stores;
    let names = config.topics.iter().map(|t| t.name.clone()).collect();
    let incarnations = Arc::new(Incarnations::new(topics.clone(), names, described));
    let (owned_sender, owned) = watch::channel(Vec::new());

    // These end when the poll loop has, and not before: it still asks while it drains.
    let (drained, until_drained) = Shutdown::new();
    tokio::spawn(incarnations.clone().watch(until_drained.clone()));
    tokio::spawn(lag::watch(
        config.clone(),
        topics.clone(),
        owned.clone(),
        until_drained.clone(),
    ));
    tokio::spawn(overlooked::watch(
        config.clone(),
        topics,
        incarnations.clone(),
        until_drained.clone(),
    ));
    let upkeep = Upkeep::new(
        archive.clone(),
        settler.clone(),
        incarnations.clone(),
        owned,
    );
    tokio::spawn(upkeep.run(until_drained));

    let sink = Arc::new(Archiver::new(
        config.clone(),
        archive,
        settler,
        incarnations.clone(),
    ));
    let result = loop {
        let poller = Poller::new(
            config.clone(),
            sink.clone(),
            incarnations.clone(),
            owned_sender.clone(),
            shutdown.clone(),
        )?;
        let (ended_sender, ended) = oneshot::channel();
        std::thread::Builder::new()
            .name("poll".into())
            .spawn(move || _ = ended_sender.send(poller.run()))?;
        // A process whose poll loop is gone looks alive and archives nothing: it ends, loudly, and
        // whoever looks after it starts another.
        let polled = ended.await.context("the poll thread is gone")?;
        match polled.map_err(|_| anyhow::anyhow!("the poll loop panicked: this is a bug"))? {
            // A broker that comes back can fence a member by its own repeated request to join.
            Err(error) if !shutdown.is_requested() => {
                tracing::error!(
                    error = format!("{error:#}"),
                    "out of the group: joining again"
                );
                tokio::time::sleep(REJOIN_AFTER).await;
            }
            result => break result,
        }
    };
    drained.fire();
    result
}

impl Stores {
    /// Waits until all three were seen, and prepares them: topics, indices.
    pub async fn connect(config: &Arc<Config>, patience: Patience) -> anyhow::Result<Self> {
        let topics = Arc::new(Topics::new(&config.kafka, "consumer").context("librdkafka")?);
        let archive = Arc::new(Archive::new(config.clone()).await.context("MongoDB")?);
        let settler = Arc::new(Settler::new(config.clone(), archive.clone()));
        let kafka = format!("Kafka at {}", config.kafka.brokers);
        let mongodb = format!("MongoDB at {}", hosts(&config.mongodb.uri));
        let redis = format!("Redis at {}", hosts(&config.redis.url));
        // The topics as declared, whoever comes first: this process or the kafka-producer.
        let ensured = patience.until(&kafka, || async {
            match topics.ensure(&config.topics).await {
                Ok(described) => Ok(Ok(described)),
                Err(TopicError::Refused(why)) => Ok(Err(why)),
                Err(error) => Err(error),
            }
        });
        let described = ensured.await?.map_err(anyhow::Error::msg)?;
        patience.until(&mongodb, || archive.ping()).await?;
        let indices = format!("{mongodb}, which is to make indices,");
        patience
            .until(&indices, || archive.create_indices())
            .await?;
        patience.until(&redis, || settler.redis().ping()).await?;
        Ok(Self {
            topics,
            described,
            archive,
            settler,
        })
    }
}
