//! Topics as they are declared, and as the broker has them.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use rdkafka::{
    admin::{
        AdminClient, AdminOptions, ConfigResource, NewTopic, OwnedResourceSpecifier,
        ResourceSpecifier, TopicReplication,
    },
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
    offsets::{End, TopicPartition, offsets_at},
    refusal::refusal,
    settings::{Effect, Setting, Values, is_compact, judge},
};
use crate::config::{Config, Kafka, Topic};

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
        let found = self.describe_or_barred(&names)?;
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

    /// [`Self::describe`]; an error says why the broker lets nobody in, if it does not.
    pub(super) fn describe_or_barred(
        &self,
        names: &[&str],
    ) -> Result<HashMap<String, Described>, TopicError> {
        self.describe(names).map_err(|error| {
            refusal(&self.kafka).map_or(TopicError::Unreachable(error), TopicError::Barred)
        })
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

    /// The offset at one end of each of `partitions`, asked of all at once, or why it is not told. Blocks for up to
    /// `timeout` and some seconds.
    pub fn offsets_at(
        &self,
        partitions: &[TopicPartition],
        end: End,
        timeout: Duration,
    ) -> HashMap<TopicPartition, Result<i64, String>> {
        let client = self.admin.inner();
        let told = offsets_at(client.native_ptr(), partitions, end, timeout);
        if !told.as_ref().is_ok_and(|t| t.values().all(Result::is_ok)) {
            // What librdkafka keeps of leaders is asked for anew: of partitions that had none it would be
            // believed for minutes. That it may fail is told by the next question.
            _ = client.fetch_metadata(None, timeout);
        }
        let of = |partition: &TopicPartition| match &told {
            Ok(told) => match told.get(partition) {
                Some(Ok(offset)) => Ok(*offset),
                Some(Err(error)) => Err(KafkaError::AdminOp(*error).to_string()),
                None => Err("Kafka does not tell it".to_owned()),
            },
            Err(error) => Err(error.to_string()),
        };
        partitions.iter().map(|p| (p.clone(), of(p))).collect()
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
        let settings: Vec<_> = topics.iter().map(|t| settings_of_new(t)).collect();
        let new = topics.iter().zip(&settings).map(|(t, settings)| {
            let new = NewTopic::new(
                &t.name,
                t.partitions,
                TopicReplication::Fixed(t.replication),
            );
            settings
                .iter()
                .fold(new, |new, (name, value)| new.set(name, value))
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

    /// Refuses topics whose settings break what is promised, and notes what the broker says of the others.
    async fn check(
        &self,
        declared: &[Topic],
        found: &mut HashMap<String, Described>,
    ) -> Result<(), TopicError> {
        let settings = self.judge(declared, 0, found, true).await?;
        let broken = settings.iter().filter(|s| s.effect == Effect::Breaks);
        let mistakes: Vec<_> = broken.map(ToString::to_string).collect();
        match mistakes.is_empty() {
            true => Ok(()),
            false => Err(TopicError::Refused(mistakes.join("\n"))),
        }
    }

    /// Whether the broker keeps only the latest record of each key in a topic.
    pub async fn is_compacted(&self, topic: &str) -> Result<bool, TopicError> {
        let told = self.values(&[topic], false).await?;
        let policy = told.get(topic).and_then(|v| v.get("cleanup.policy"));
        Ok(policy.is_some_and(|policy| is_compact(policy)))
    }

    /// What the settings of the declared topics that were `found` do to what is promised; what is noted of them
    /// in `found` is made new.
    pub async fn settings(
        &self,
        config: &Config,
        found: &mut HashMap<String, Described>,
    ) -> Result<Vec<Setting>, TopicError> {
        let event_bytes_max = config.gateway.event_bytes_max;
        self.judge(&config.topics, event_bytes_max, found, false)
            .await
    }

    async fn judge(
        &self,
        declared: &[Topic],
        event_bytes_max: usize,
        found: &mut HashMap<String, Described>,
        are_new: bool,
    ) -> Result<Vec<Setting>, TopicError> {
        let there = declared.iter().filter(|t| found.contains_key(&t.name));
        let there: Vec<_> = there.collect();
        let names: Vec<_> = there.iter().map(|t| t.name.as_str()).collect();
        let all = self.values(&names, are_new).await?;
        let mut settings = Vec::new();
        for topic in there {
            let name = &topic.name;
            let (Some(values), Some(found)) = (all.get(name), found.get_mut(name)) else {
                match are_new {
                    true => return Err(untold(name, "settings")),
                    false => continue, // deleted in this moment
                }
            };
            found.batch_bytes_max = number(&topic.name, values, "max.message.bytes")?;
            found.min_insync = number(&topic.name, values, "min.insync.replicas")?;
            settings.extend(judge(topic, found, values, event_bytes_max));
        }
        Ok(settings)
    }

    /// The settings of topics as the broker applies them. Those that `are_new` are waited for, where the broker has
    /// not heard of them yet.
    async fn values(
        &self,
        topics: &[&str],
        are_new: bool,
    ) -> Result<HashMap<String, Values>, TopicError> {
        if topics.is_empty() {
            return Ok(HashMap::new());
        }
        let broker = match are_new {
            true => self.answering()?,
            // Not asked for: that could block, and whoever describes topics finds it out.
            false => self
                .answering
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .ok_or(KafkaError::AdminOp(RDKafkaErrorCode::AllBrokersDown))?,
        };
        let options = AdminOptions::new()
            .request_timeout(Some(CALL_TIMEOUT))
            .broker_id(Some(broker).filter(|id| *id >= 0));
        let deadline = Instant::now() + CALL_TIMEOUT;
        let asked: Vec<_> = topics.iter().map(|t| ResourceSpecifier::Topic(t)).collect();
        loop {
            let answers = self.admin.describe_configs(&asked, &options).await?;
            // With several brokers, the one that is asked may not have heard of a new topic yet. It says
            // so, and rdkafka 0.39 makes a topic without settings of it.
            let told = answers.into_iter().flatten().filter_map(values_of);
            let told: HashMap<_, _> = told.collect();
            if told.len() == topics.len() || !are_new || Instant::now() > deadline {
                return Ok(told);
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
}

/// What a topic is made with, whatever the broker's defaults are.
fn settings_of_new(topic: &Topic) -> Vec<(&'static str, String)> {
    let retention_ms = topic.retention_min.as_millis();
    let retention_bytes = topic.retention_min_bytes;
    let mut settings = vec![
        ("min.insync.replicas", topic.min_insync.to_string()),
        ("unclean.leader.election.enable", "false".to_owned()),
        ("cleanup.policy", "delete".to_owned()),
        ("message.timestamp.type", "CreateTime".to_owned()),
    ];
    if retention_ms > 0 {
        settings.push(("retention.ms", retention_ms.to_string()));
    }
    if retention_bytes > 0 {
        settings.push(("retention.bytes", retention_bytes.to_string()));
    }
    settings
}

/// The name and the settings of a topic, if it has any.
fn values_of(answer: ConfigResource) -> Option<(String, Values)> {
    let OwnedResourceSpecifier::Topic(name) = answer.specifier else {
        return None;
    };
    let entries = answer.entries.into_iter();
    let values: Values = entries.filter_map(|e| Some((e.name, e.value?))).collect();
    (!values.is_empty()).then_some((name, values))
}

fn number(topic: &str, values: &Values, name: &str) -> Result<usize, TopicError> {
    let value = values.get(name).and_then(|value| value.parse().ok());
    value.ok_or_else(|| untold(topic, name))
}

fn untold(topic: &str, what: &str) -> TopicError {
    TopicError::Refused(format!(
        "topic {topic}: the broker does not tell its {what}. Does it let this process DescribeConfigs?"
    ))
}
