//! The consumer group: how this process joins it, and what it tells about partitions.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use aguacero::{
    config::Config,
    kafka::{Bootstrap, client_config},
    log_limiter,
};
use rdkafka::{
    ClientConfig, ClientContext, TopicPartitionList,
    consumer::{BaseConsumer, Consumer, ConsumerContext},
    error::{KafkaError, KafkaResult},
    types::RDKafkaRespErr,
};

/// Bytes that make a fetch worth its while: some hundred events.
const FETCH_BYTES_MIN: &str = "65536";
/// What librdkafka keeps ahead of the poll loop.
const PREFETCH_KBYTES: &str = "16384";

/// A partition that is given or taken away.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) given: bool,
    pub(super) partitions: Vec<(String, i32)>,
}

/// Takes note of what the group decides; the poll loop acts on it as soon as `poll` has returned.
#[derive(Debug, Default)]
pub(super) struct Group {
    changes: Mutex<Vec<Change>>,
    leaving: AtomicBool,
    commit_failed: AtomicBool,
    pub(super) bootstrap: Bootstrap,
}

impl Group {
    pub(super) fn take_changes(&self) -> Vec<Change> {
        std::mem::take(&mut *self.changes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether a commit has failed since the last time: then what it carried is to be sent again.
    pub(super) fn take_commit_failed(&self) -> bool {
        self.commit_failed.swap(false, Ordering::Relaxed)
    }

    /// From now on nobody acts on what is noted.
    pub(super) fn leave(&self) {
        self.leaving.store(true, Ordering::Relaxed);
    }
}

impl ClientContext for Group {
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "librdkafka");
    }
}

impl ConsumerContext for Group {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        error: RDKafkaRespErr,
        partitions: &mut TopicPartitionList,
    ) {
        let given = error == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        if self.leaving.load(Ordering::Relaxed) {
            // Closing waits until everything that was given is given back.
            if given {
                return;
            }
            if let Err(error) = consumer
                .incremental_unassign(partitions)
                .or_else(|_| consumer.unassign())
            {
                tracing::debug!(%error, "giving partitions back");
            }
            return;
        }
        let partitions = partitions
            .elements()
            .iter()
            .map(|e| (e.topic().to_owned(), e.partition()))
            .collect();
        self.changes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Change { given, partitions });
    }

    fn commit_callback(&self, result: KafkaResult<()>, _: &TopicPartitionList) {
        match result {
            Ok(())
            | Err(KafkaError::ConsumerCommit(rdkafka::types::RDKafkaErrorCode::NoOffset)) => {}
            Err(error) => {
                log_limiter::repeated("offsets cannot be committed", "", &error);
                self.commit_failed.store(true, Ordering::Relaxed);
            }
        }
    }
}

/// Joins the group.
pub(super) fn join(config: &Config) -> KafkaResult<BaseConsumer<Group>> {
    client(config).create_with_context(Group::default())
}

/// The settings of a member of the group.
#[must_use]
pub fn client(config: &Config) -> ClientConfig {
    let consumer = &config.consumer;
    let session_ms = consumer.session_timeout.as_millis();
    let mut client = client_config(&config.kafka, "consumer");
    client
        .set("group.id", &consumer.group)
        .set("session.timeout.ms", session_ms.to_string())
        .set(
            "heartbeat.interval.ms",
            (session_ms / 10).clamp(100, 3000).to_string(),
        )
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set("auto.offset.reset", "earliest")
        // The poll loop commits what the sink has finished, and nothing else.
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        // A group that was just told of a topic, or of a topic made again, must not wait for minutes.
        .set("topic.metadata.refresh.interval.ms", "2000")
        // The broker answers when this much has come together, or after this long. Nobody waits for the
        // archive, and a fetch, an insert and a settle for every single event of a lone client would
        // take the processor from those that somebody does wait for.
        .set("fetch.min.bytes", FETCH_BYTES_MIN)
        .set("fetch.wait.max.ms", "100")
        // After a full queue, and not after the default second.
        .set("fetch.queue.backoff.ms", "20")
        .set("queued.max.messages.kbytes", PREFETCH_KBYTES);
    if let Some(instance) = &consumer.instance {
        client.set("group.instance.id", instance);
    }
    client
}
