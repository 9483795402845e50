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
    /// As they were a moment ago.
    pub described: HashMap<String, Described>,
    /// MongoDB.
    pub archive: Arc<Archive>,
    /// Redis.
    pub settler: Arc<Settler>,
}

impl Stores {
    /// Waits until all three were seen, and prepares them: topics, indices.
    pub async fn connect(config: &Arc<Config>, limit: RetryLimit) -> anyhow::Result<Self> {
        let topics = Arc::new(Topics::new(&config.kafka, "consumer").context("librdkafka")?);
        let archive = Arc::new(Archive::new(config.clone()).await.context("MongoDB")?);
        let settler = Arc::new(Settler::new(config.clone(), archive.clone()));
        let kafka = format!("Kafka at {}", config.kafka.brokers);
        let mongodb = format!("MongoDB at {}", hosts(&config.mongodb.uri));
        let redis = format!("Redis at {}", hosts(&config.redis.url));
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
        limit.retry(&redis, || settler.redis().ping()).await?;
        Ok(Self {
            topics,
            described,
            archive,
            settler,
        })
    }
}
