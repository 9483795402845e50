//! Kafka, MongoDB and Redis, waited for until each has answered.

use std::{collections::HashMap, sync::Arc};

use aguacero::{
    config::Config,
    kafka::{Described, TopicError, Topics},
};
use anyhow::Context as _;

use crate::{
    archive::Archive,
    retry::{RetryLimit, hosts},
    settle::Settler,
};

/// What every part of a consumer works with, once all of it was seen.
pub struct Stores {
    /// Kafka's topics.
    pub topics: Arc<Topics>,
    /// Kafka's id of the cluster.
    pub cluster: String,
    /// As they were a moment ago.
    pub described: HashMap<String, Described>,
    /// MongoDB.
    pub archive: Arc<Archive>,
    /// Redis, which nobody waits for.
    pub settler: Arc<Settler>,
}

impl Stores {
    /// Waits until Kafka and MongoDB were seen, and prepares them: topics, indices, whose the archives are. An
    /// archive that is somebody else's is refused, unless it is `adopt`'s.
    pub async fn connect(
        config: &Arc<Config>,
        limit: RetryLimit,
        adopt: Option<&str>,
    ) -> anyhow::Result<Self> {
        let topics = Arc::new(Topics::new(&config.kafka, "consumer").context("librdkafka")?);
        let archive = Arc::new(Archive::new(config.clone()).await.context("MongoDB")?);
        let settler = Arc::new(Settler::new(config.clone(), archive.clone()));
        let kafka = format!("Kafka at {}", config.kafka.brokers);
        let mongodb = format!("MongoDB at {}", hosts(&config.mongodb.uri));
        // The topics as declared, whoever comes first: this process or the kafka-producer.
        let ensured = limit.retry(&kafka, || async {
            match topics.ensure(&config.topics).await {
                Ok(described) => Ok(Ok(described)),
                Err(TopicError::Refused(why)) => Ok(Err(why)),
                Err(error) => Err(error),
            }
        });
        let described = ensured.await?.map_err(anyhow::Error::msg)?;
        limit.retry(&mongodb, || archive.ping()).await?;
        let indices = format!("{mongodb}, which is to make indices,");
        limit.retry(&indices, || archive.create_indices()).await?;
        let shards = format!("{mongodb}, which is asked how it is sharded,");
        limit.retry(&shards, || archive.look_at_shards()).await?;
        let cluster = limit.retry(&kafka, || topics.cluster()).await?;
        let claim = limit.retry(&mongodb, || archive.claim(&cluster, adopt));
        let mistakes = claim.await?;
        anyhow::ensure!(mistakes.is_empty(), "{}", mistakes.join("\n"));
        let origins = limit.retry(&mongodb, || archive.origins(&cluster));
        settler.count_from(origins.await?);
        Ok(Self {
            topics,
            cluster,
            described,
            archive,
            settler,
        })
    }
}
