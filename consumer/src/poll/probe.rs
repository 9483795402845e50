//! Whether a record can be read, by a client that reads nothing else: what the poll loop is told of a batch that
//! librdkafka cannot unpack names no partition and no offset.

use std::time::{Duration, Instant};

use aguacero::{config::Config, kafka::client_config};
use rdkafka::{
    Offset, TopicPartitionList, bindings as sys,
    consumer::{BaseConsumer, Consumer as _},
    error::KafkaResult,
    types::RDKafkaErrorCode,
};

/// What a probe may take: the broker may have to be found first.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long one look for an answer waits.
const LOOK: Duration = Duration::from_millis(100);

/// What is found from an offset on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probed {
    /// A record, at this offset.
    Record(i64),
    /// A batch that librdkafka cannot unpack.
    Unreadable {
        /// Offset of its first record.
        begins: i64,
        /// What librdkafka says.
        why: String,
    },
    /// Nothing before this offset, at which the next record will come.
    End(i64),
    /// The broker does not tell within the time.
    Nothing,
}

/// A client that reads one partition from `offset` on and belongs to no group's assignment.
pub fn reader(
    config: &Config,
    topic: &str,
    partition: i32,
    offset: i64,
) -> KafkaResult<BaseConsumer> {
    let mut client = client_config(&config.kafka, "probe");
    client
        .set("group.id", &config.consumer.group)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "error")
        .set("enable.partition.eof", "true")
        .set("fetch.wait.max.ms", "100")
        // The first batch comes however large it is; more is not wanted.
        .set("fetch.message.max.bytes", "1024")
        .set("queued.max.messages.kbytes", "1024");
    let consumer: BaseConsumer = client.create()?;
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, partition, Offset::Offset(offset))?;
    consumer.assign(&list)?;
    Ok(consumer)
}

/// Whether librdkafka cannot unpack what the broker has sent, however often it is sent again.
pub(super) fn is_unreadable(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(code, Code::BadCompression | Code::BadMessage)
}

/// Reads from `offset` on until there is one record, one error that stays, or the end. Blocks for up to ten seconds.
#[allow(unsafe_code)]
pub fn probe(config: &Config, topic: &str, partition: i32, offset: i64) -> KafkaResult<Probed> {
    let consumer = reader(config, topic, partition, offset)?;
    let until = Instant::now() + TIMEOUT;
    let look_ms = i32::try_from(LOOK.as_millis()).unwrap_or(i32::MAX);
    while Instant::now() < until {
        // SAFETY: the client is alive and nobody else polls it. A message is ours until it is destroyed, and is
        // not used afterwards; rdkafka's own `poll` does not tell the offset of an error.
        let found = unsafe {
            let message = sys::rd_kafka_consumer_poll(consumer.client().native_ptr(), look_ms);
            if message.is_null() {
                continue;
            }
            let (code, offset) = ((*message).err, (*message).offset);
            sys::rd_kafka_message_destroy(message);
            match RDKafkaErrorCode::from(code) {
                RDKafkaErrorCode::NoError => Some(Probed::Record(offset)),
                RDKafkaErrorCode::PartitionEOF => Some(Probed::End(offset)),
                code if is_unreadable(code) => Some(Probed::Unreadable {
                    begins: offset,
                    why: code.to_string(),
                }),
                _ => None,
            }
        };
        if let Some(found) = found {
            return Ok(found);
        }
    }
    Ok(Probed::Nothing)
}
