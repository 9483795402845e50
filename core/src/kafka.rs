//! What gateway, kafka-producer and consumer need of Kafka beyond producing and consuming: topics as
//! they are declared, their incarnations, and the partitioner of the Java client.
//!
//! An *incarnation* is the id that Kafka gives to a topic when it is created. A topic that was deleted
//! and created again has another one, and offsets that mean other records.

use std::{
    collections::HashMap,
    ffi::{CStr, CString},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication},
    client::ClientContext,
    error::KafkaError,
    groups::GroupList,
    types::RDKafkaErrorCode,
};

use crate::{
    bootstrap::Bootstrap,
    config::{Kafka, Topic},
    refusal::refusal,
};

/// How long one call to the broker may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// Until a broker that has not heard of a new topic is asked again.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Settings that every client of the broker shares. The client keeps the password and the certificates that
/// the files have now: others are used by the next one that is made.
#[must_use]
pub fn client_config(kafka: &Kafka, process: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    access(kafka, &mut config);
    config
        .set("bootstrap.servers", &kafka.brokers)
        .set("client.id", format!("aguacero-{process}"))
        // Milliseconds: back within a moment after the broker is, not after the default 10 s.
        .set("reconnect.backoff.ms", "50")
        .set("reconnect.backoff.max.ms", "1000")
        .set("socket.nagle.disable", "true")
        .set("log.connection.close", "false");
    config
}

/// TLS and who we are. librdkafka checks certificate and name unless it is told not to, which it never is.
fn access(kafka: &Kafka, config: &mut ClientConfig) {
    let protocol = match (&kafka.sasl, &kafka.tls) {
        (None, None) => "plaintext",
        (None, Some(_)) => "ssl",
        (Some(_), None) => "sasl_plaintext",
        (Some(_), Some(_)) => "sasl_ssl",
    };
    config.set("security.protocol", protocol);
    let tls = kafka.tls.iter();
    let identity = tls.clone().filter_map(|tls| tls.identity.as_ref());
    let files = tls
        .filter_map(|tls| Some(("ssl.ca.location", tls.ca.as_ref()?)))
        .chain(identity.flat_map(|own| {
            [
                ("ssl.certificate.location", &own.certificate),
                ("ssl.key.location", &own.key),
            ]
        }));
    for (key, file) in files {
        config.set(key, file.to_string_lossy());
    }
    if let Some(sasl) = &kafka.sasl {
        config.set("sasl.mechanism", &sasl.mechanism);
        if let Some(username) = &sasl.credentials.username {
            config.set("sasl.username", username);
        }
        match sasl.credentials.password() {
            Ok(password) => _ = config.set("sasl.password", password.expose()),
            // Without one no client is made, and that is an error of whoever wanted it.
            Err(error) => tracing::error!("the password for Kafka: the file {error}"),
        }
    }
}

/// The name of an error's code, as librdkafka has it: one of a fixed set, so that it may be the label of a metric.
#[must_use]
pub fn code(error: &KafkaError) -> String {
    let code = error.rdkafka_error_code();
    code.map_or_else(|| "other".to_owned(), |code| format!("{code:?}"))
}

/// A topic as the broker has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// Kafka's id of it, as Kafka's tools print it.
    pub incarnation: String,
    /// Number of partitions.
    pub partitions: i32,
    /// Replicas of the partition that has the most.
    pub replicas: usize,
    /// Replicas of each partition that are in sync; none of one without a leader.
    pub in_sync: Vec<usize>,
    /// The broker's `min.insync.replicas`; 0 before [`Topics::ensure`].
    pub min_insync: usize,
    /// Most bytes of one batch of records, `max.message.bytes`; 0 before [`Topics::ensure`].
    pub batch_bytes_max: usize,
}

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

/// The topics called `names` that exist, as `broker` sees them (any, if it is negative). The safe API of rdkafka does not ask for the topic's id.
#[allow(unsafe_code)]
fn describe(
    client: *mut rdkafka::bindings::rd_kafka_t,
    names: &[&str],
    broker: i32,
) -> Result<HashMap<String, Described>, KafkaError> {
    use rdkafka::bindings as sys;

    let names: Vec<CString> = names.iter().filter_map(|n| CString::new(*n).ok()).collect();
    let mut pointers: Vec<_> = names.iter().map(|n| n.as_ptr()).collect();
    let timeout_ms = i32::try_from(CALL_TIMEOUT.as_millis()).unwrap_or(i32::MAX);
    let mut found = HashMap::new();
    let mut failure = None;
    // SAFETY: `client` is alive for the duration of the call, because the caller borrows its owner.
    // The collection copies the names; queue, collection, options and event are destroyed below
    // and not used afterwards; what the result points to lives as long as the event.
    unsafe {
        let queue = sys::rd_kafka_queue_new(client);
        let topics =
            sys::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len());
        let options = sys::rd_kafka_AdminOptions_new(
            client,
            sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS,
        );
        sys::rd_kafka_AdminOptions_set_request_timeout(
            options,
            timeout_ms,
            std::ptr::null_mut(),
            0,
        );
        if broker >= 0 {
            sys::rd_kafka_AdminOptions_set_broker(options, broker, std::ptr::null_mut(), 0);
        }
        sys::rd_kafka_DescribeTopics(client, topics, options, queue);
        let event = sys::rd_kafka_queue_poll(queue, timeout_ms + 1000);
        if event.is_null() {
            failure = Some(RDKafkaErrorCode::OperationTimedOut);
        } else if sys::rd_kafka_event_error(event)
            != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR
        {
            failure = Some(sys::rd_kafka_event_error(event).into());
        } else {
            let result = sys::rd_kafka_event_DescribeTopics_result(event);
            let mut count = 0;
            let list = sys::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
            for i in 0..count {
                let topic = *list.add(i);
                let error = sys::rd_kafka_TopicDescription_error(topic);
                let code: RDKafkaErrorCode = sys::rd_kafka_error_code(error).into();
                match code {
                    RDKafkaErrorCode::NoError => {
                        let mut partitions = 0;
                        let list =
                            sys::rd_kafka_TopicDescription_partitions(topic, &raw mut partitions);
                        let (mut replicas, mut in_sync) = (0, vec![0; partitions]);
                        for i in 0..partitions {
                            let partition = *list.add(i);
                            let mut count = 0;
                            sys::rd_kafka_TopicPartitionInfo_replicas(partition, &raw mut count);
                            replicas = replicas.max(count);
                            let number = sys::rd_kafka_TopicPartitionInfo_partition(partition);
                            let leader = sys::rd_kafka_TopicPartitionInfo_leader(partition);
                            sys::rd_kafka_TopicPartitionInfo_isr(partition, &raw mut count);
                            let place = usize::try_from(number).ok();
                            if let Some(place) = place.and_then(|n| in_sync.get_mut(n))
                                && !leader.is_null()
                            {
                                *place = count;
                            }
                        }
                        let id = sys::rd_kafka_Uuid_base64str(
                            sys::rd_kafka_TopicDescription_topic_id(topic),
                        );
                        found.insert(
                            CStr::from_ptr(sys::rd_kafka_TopicDescription_name(topic))
                                .to_string_lossy()
                                .into_owned(),
                            Described {
                                incarnation: CStr::from_ptr(id).to_string_lossy().into_owned(),
                                partitions: i32::try_from(partitions).unwrap_or(i32::MAX),
                                replicas,
                                in_sync,
                                min_insync: 0,
                                batch_bytes_max: 0,
                            },
                        );
                    }
                    RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic => {}
                    other => failure = Some(other),
                }
            }
        }
        if !event.is_null() {
            sys::rd_kafka_event_destroy(event);
        }
        sys::rd_kafka_AdminOptions_destroy(options);
        sys::rd_kafka_TopicCollection_destroy(topics);
        sys::rd_kafka_queue_destroy(queue);
    }
    match failure {
        Some(code) => Err(KafkaError::AdminOp(code)),
        None => Ok(found),
    }
}

/// The partition of `key` among `partitions`, as Kafka's Java client chooses it.
#[must_use]
pub fn partition_of(key: &[u8], partitions: usize) -> usize {
    (murmur2(key) & 0x7fff_ffff) as usize % partitions
}

/// MurmurHash2 with the seed of Kafka's `org.apache.kafka.common.utils.Utils.murmur2`.
fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut h = 0x9747_b28c ^ (data.len() as u32);
    let mut chunks = data.chunks_exact(4);
    for chunk in &mut chunks {
        let mut k = u32::from_le_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]).wrapping_mul(M);
        k ^= k >> 24;
        h = h.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    let rest = chunks.remainder();
    if !rest.is_empty() {
        for (i, &b) in rest.iter().enumerate() {
            h ^= u32::from(b) << (8 * i);
        }
        h = h.wrapping_mul(M);
    }
    h ^= h >> 13;
    h = h.wrapping_mul(M);
    h ^ (h >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values of `UtilsTest.testMurmur2` in Kafka.
    #[test]
    fn murmur2_is_that_of_the_java_client() {
        for (key, hash) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            (
                "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8",
                -58_897_971,
            ),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()).cast_signed(), hash, "{key}");
        }
    }
}
