//! Kafka, MongoDB and Redis, waited for until each has answered.

use std::{collections::HashMap, sync::Arc, time::Duration};

use aguacero::{
    config::Config,
    kafka::{Described, Topics},
};
use anyhow::Context as _;

use crate::{
    archive::Archive,
    process::ensured,
    retry::{RetryLimit, hosts},
    settle::Settler,
};

/// How long Redis may take to say whose its counters are.
const REDIS_TIMEOUT: Duration = Duration::from_secs(3);

/// Of which streams archive and counters must be ours.
#[derive(Debug, Clone, Copy)]
pub enum Claim<'a> {
    /// All that are declared.
    All,
    /// This one.
    Only(&'a str),
    /// None: a command will make one ours.
    None,
}

impl Claim<'_> {
    fn judges(self, stream: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(name) => name == stream,
            Self::None => false,
        }
    }
}

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
    /// archive, or counters, of `claim` that are somebody else's are refused.
    pub async fn connect(
        config: &Arc<Config>,
        limit: RetryLimit,
        claim: Claim<'_>,
    ) -> anyhow::Result<Self> {
        let topics = Arc::new(Topics::new(&config.kafka, "consumer").context("librdkafka")?);
        let archive = Arc::new(Archive::new(config.clone()).await.context("MongoDB")?);
        let settler = Arc::new(Settler::new(config.clone(), archive.clone()));
        let kafka = format!("Kafka at {}", config.kafka.brokers);
        let mongodb = format!("MongoDB at {}", hosts(&config.mongodb.uri));
        let described = ensured(config, &topics, limit).await?;
        limit.retry(&mongodb, || archive.ping()).await?;
        let indices = format!("{mongodb}, which is to make indices,");
        limit.retry(&indices, || archive.create_indices()).await?;
        let shards = format!("{mongodb}, which is asked how it is sharded,");
        limit.retry(&shards, || archive.look_at_shards()).await?;
        let cluster = limit.retry(&kafka, || topics.cluster()).await?;
        let origins = limit.retry(&mongodb, || archive.origins(&cluster));
        settler.count_from(origins.await?);
        let (mut mistakes, mut looks_at_redis) = (Vec::new(), true);
        for stream in config.streams.iter().filter(|s| claim.judges(&s.name)) {
            // A Redis that does not answer is not waited for, once for all streams.
            let mut foreign = None;
            if looks_at_redis {
                let looked = tokio::time::timeout(REDIS_TIMEOUT, settler.foreign(stream)).await;
                looks_at_redis = looked.is_ok();
                foreign = looked.ok().and_then(Result::ok).flatten();
            }
            if let (Some(ours), None) = (settler.origin(stream), &foreign) {
                let claimed = limit.retry(&mongodb, || archive.claim(stream, &ours));
                mistakes.extend(claimed.await?);
            }
            mistakes.extend(foreign);
        }
        anyhow::ensure!(mistakes.is_empty(), "{}", mistakes.join("\n"));
        Ok(Self {
            topics,
            cluster,
            described,
            archive,
            settler,
        })
    }
}
