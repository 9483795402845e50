//! Topics as they are declared, and as the broker has them.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use rdkafka::{
    admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication},
    client::ClientContext,
    error::KafkaError,
    groups::GroupList,
    types::RDKafkaErrorCode,
};

use super::{
    CALL_TIMEOUT,
    bootstrap::Bootstrap,
    client::client_config,
    describe::{Described, describe},
    refusal::refusal,
};
use crate::config::{Kafka, Topic};

/// Until a broker that has not heard of a new topic is asked again.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Why the broker does not have a topic as it was declared.
#[derive(Debug, thiserror::Error)]
pub enum TopicError {
    /// The broker did not answer: worth another try.
    #[error("Kafka did not answer: {0}")]
    Unreachable(#[from] KafkaError),
    /// The broker did not let us in, which may be mended there: worth another try.
    #[error("Kafka does not let this process in: {0}")]
    Barred(String),
    /// The broker answered, and the topic is not there as declared.
    #[error("{0}")]
    Refused(String),
}

/// Notices lost connections.
#[derive(Default)]
struct Context {
    bootstrap: Bootstrap,
}

impl ClientContext for Context {
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "librdkafka");
        self.bootstrap.note(&error);
    }
}

/// Asks and creates topics.
pub struct Topics {
    admin: AdminClient<Context>,
    kafka: Kafka,
    /// The broker that answered the last time, if one did.
    answering: Mutex<Option<i32>>,
}

impl Topics {
    /// Connects in the background.
    pub fn new(kafka: &Kafka, process: &str) -> Result<Self, KafkaError> {
        Ok(Self {
            admin: client_config(kafka, process).create_with_context(Context::default())?,
            kafka: kafka.clone(),
            answering: Mutex::default(),
        })
    }

    /// Creates the declared topics that are missing, and refuses those that have less than declared.
    /// Returns every topic as it is.
    pub async fn ensure(
        &self,
        declared: &[Topic],
    ) -> Result<HashMap<String, Described>, TopicError> {
        let names: Vec<_> = declared.iter().map(|t| t.name.as_str()).collect();
        let found = self.describe(&names).map_err(|error| {
            refusal(&self.kafka).map_or(TopicError::Unreachable(error), TopicError::Barred)
        })?;
        let missing: Vec<_> = declared
            .iter()
            .filter(|t| !found.contains_key(&t.name))
            .collect();
        if !missing.is_empty() {
            self.create(&missing).await?;
        }
        let mut found = self.describe_all(&names)?;
        self.check(declared, &mut found).await?;
        Ok(found)
    }

    /// The topics called `names` that exist. Blocks for up to some seconds.
    pub fn describe(&self, names: &[&str]) -> Result<HashMap<String, Described>, KafkaError> {
        let client = self.admin.inner();
        client.context().bootstrap.mend(client, &self.kafka.brokers);
        let broker = self.answering()?;
        let found = describe(client.native_ptr(), names, broker);
        if found.is_err() {
            *self
                .answering
                .lock()
                .unwrap_or_else(PoisonError::into_inner) = None;
        }
        found
    }

    /// A broker that answers. An admin call of librdkafka 2.12 goes to the one that is said to be the
    /// controller, and while that is away keeps a core busy until it times out, even if others are there;
    /// a query for metadata goes to any, and sleeps.
    fn answering(&self) -> Result<i32, KafkaError> {
        let mut answering = self
            .answering
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(broker) = *answering {
            return Ok(broker);
        }
        let metadata = self.admin.inner().fetch_metadata(None, CALL_TIMEOUT)?;
        Ok(*answering.insert(metadata.orig_broker_id()))
    }

    /// Kafka's id of the cluster.
    pub async fn cluster(&self) -> Result<String, TopicError> {
        let id = self.admin.inner().fetch_cluster_id(CALL_TIMEOUT);
        id.ok_or_else(|| TopicError::Barred("the cluster has no id yet".into()))
    }

    /// The consumer group called `name`, as its coordinator has it. Blocks for up to some seconds.
    pub fn group(&self, name: &str) -> Result<GroupList, KafkaError> {
        self.admin
            .inner()
            .fetch_group_list(Some(name), CALL_TIMEOUT)
    }

    /// The first and the next offset of a partition. Blocks for up to some seconds.
    pub fn offsets(&self, topic: &str, partition: i32) -> Result<(i64, i64), KafkaError> {
        self.admin
            .inner()
            .fetch_watermarks(topic, partition, CALL_TIMEOUT)
    }

    /// [`Self::describe`], after waiting until the broker has spread the word of new ones.
    fn describe_all(&self, names: &[&str]) -> Result<HashMap<String, Described>, TopicError> {
        let deadline = Instant::now() + CALL_TIMEOUT;
        loop {
            let found = self.describe(names)?;
            if found.len() == names.len() {
                return Ok(found);
            }
            if Instant::now() > deadline {
                let missing: Vec<_> = names.iter().filter(|n| !found.contains_key(**n)).collect();
                return Err(TopicError::Refused(format!(
                    "topics {missing:?} do not appear after they were created"
                )));
            }
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    async fn create(&self, topics: &[&Topic]) -> Result<(), TopicError> {
        let min_insync: Vec<_> = topics.iter().map(|t| t.min_insync.to_string()).collect();
        let new = topics.iter().zip(&min_insync).map(|(t, min_insync)| {
            NewTopic::new(
                &t.name,
                t.partitions,
                TopicReplication::Fixed(t.replication),
            )
            .set("min.insync.replicas", min_insync)
        });
        let new: Vec<_> = new.collect();
        let options = AdminOptions::new()
            .request_timeout(Some(CALL_TIMEOUT))
            .operation_timeout(Some(CALL_TIMEOUT));
        for result in self.admin.create_topics(&new, &options).await? {
            match result {
                Ok(name) => tracing::info!(topic = name, "created"),
                Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {} // another process was faster
                Err((name, code)) => {
                    return Err(TopicError::Refused(format!(
                        "the broker refuses to create the topic {name}: {code}. Create it yourself as it is declared, or mend the declaration"
                    )));
                }
            }
        }
        Ok(())
    }

    /// Refuses topics that have less than declared, and notes what the broker says of the others.
    async fn check(
        &self,
        declared: &[Topic],
        found: &mut HashMap<String, Described>,
    ) -> Result<(), TopicError> {
        let mut mistakes = Vec::new();
        for topic in declared {
            let name = &topic.name;
            let partitions = found.get(name).map_or(0, |t| t.partitions);
            if partitions < topic.partitions {
                mistakes.push(format!(
                    "topic {name}: {} partitions are declared, the broker has {partitions}. Add partitions on the broker, or declare fewer",
                    topic.partitions
                ));
            }
            let [min_insync, batch_bytes_max] = self
                .settings(name, ["min.insync.replicas", "max.message.bytes"])
                .await?;
            if min_insync < i64::from(topic.min_insync) {
                mistakes.push(format!(
                    "topic {name}: min_insync = {} is declared, the broker's min.insync.replicas is {min_insync}: an acknowledged event could be lost. Raise it on the broker, or declare less",
                    topic.min_insync
                ));
            }
            if let Some(topic) = found.get_mut(name) {
                topic.batch_bytes_max = usize::try_from(batch_bytes_max).unwrap_or(0);
                topic.min_insync = usize::try_from(min_insync).unwrap_or(0);
            }
        }
        if mistakes.is_empty() {
            Ok(())
        } else {
            Err(TopicError::Refused(mistakes.join("\n")))
        }
    }

    /// Most bytes of one batch of records of a topic, as the broker has it now.
    pub async fn batch_bytes_max(&self, topic: &str) -> Result<usize, TopicError> {
        let [bytes] = self.settings(topic, ["max.message.bytes"]).await?;
        Ok(usize::try_from(bytes).unwrap_or(0))
    }

    /// Numeric settings of a topic as the broker applies them.
    async fn settings<const N: usize>(
        &self,
        topic: &str,
        names: [&str; N],
    ) -> Result<[i64; N], TopicError> {
        let options = AdminOptions::new()
            .request_timeout(Some(CALL_TIMEOUT))
            .broker_id(Some(self.answering()?).filter(|id| *id >= 0));
        let deadline = Instant::now() + CALL_TIMEOUT;
        let answers = loop {
            let resource = ResourceSpecifier::Topic(topic);
            let answers = self.admin.describe_configs([&resource], &options).await?;
            let is_empty = answers.iter().flatten().all(|c| c.entries.is_empty());
            // With several brokers, the one that is asked may not have heard of a new topic yet. It says
            // so, and rdkafka 0.39 makes a topic without settings of it.
            if !is_empty || Instant::now() > deadline {
                break answers;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        };
        let mut values = [0; N];
        for (value, name) in values.iter_mut().zip(names) {
            let entry = answers.iter().flatten().find_map(|config| config.get(name));
            let number = entry
                .and_then(|e| e.value.as_deref())
                .and_then(|v| v.parse().ok());
            *value = number.ok_or_else(|| {
                TopicError::Refused(format!(
                    "topic {topic}: the broker does not tell its {name}"
                ))
            })?;
        }
        Ok(values)
    }
}
