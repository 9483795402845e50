//! Dead letters into their topic again: for `consumer dead-letters replay`, and for the console.

use std::{sync::Arc, time::Duration};

use aguacero::{
    config::{Config, Stream},
    id::EventId,
    kafka::client_config,
    record::{HEADER, Header, HeaderError},
};
use anyhow::{Context as _, bail};
use rdkafka::{
    error::KafkaError,
    message::{Header as KafkaHeader, OwnedHeaders},
    producer::{FutureProducer, FutureRecord, Producer as _},
    types::RDKafkaErrorCode,
};

use crate::{
    archive::{Archive, StoredDeadLetter},
    retry::RetryLimit,
};

/// How long Kafka may take for one record.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(30);
/// How long one question to Kafka may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// The broker's own limit decides; librdkafka's is put out of the way.
const MESSAGE_BYTES_MAX: &str = "100000000";
/// Takes the place of a bearer key's owner in the ids of records that had none.
const OWNER: &str = "dead letter";

/// Replays with the same settings.
pub struct Replayer {
    config: Arc<Config>,
    archive: Arc<Archive>,
    producer: FutureProducer,
    /// The stream of records that do not tell.
    stream_of: Option<usize>,
    value: Option<Vec<u8>>,
}

impl Replayer {
    /// `value` takes the place of a letter's own.
    pub fn new(
        config: Arc<Config>,
        archive: Arc<Archive>,
        stream_of: Option<&str>,
        value: Option<Vec<u8>>,
    ) -> anyhow::Result<Self> {
        let stream_of = stream_of.map(|name| {
            let stream = config.stream(name).map(|s| s.index);
            stream.with_context(|| format!("no stream is called {name}"))
        });
        let producer = client_config(&config.kafka, "dead-letters")
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("message.max.bytes", MESSAGE_BYTES_MAX)
            .set(
                "message.timeout.ms",
                DELIVERY_TIMEOUT.as_millis().to_string(),
            )
            .create()
            .context("librdkafka")?;
        Ok(Self {
            stream_of: stream_of.transpose()?,
            producer,
            value,
            archive,
            config,
        })
    }

    /// Waits until Kafka answers, so that not every letter has to wait for it in vain.
    pub async fn reach(&self, limit: RetryLimit) -> anyhow::Result<()> {
        let ask = || async {
            let producer = self.producer.clone();
            let asked = move || {
                producer
                    .client()
                    .fetch_metadata(None, CALL_TIMEOUT)
                    .map(drop)
            };
            tokio::task::spawn_blocking(asked)
                .await
                .context("asking")??;
            anyhow::Ok(())
        };
        limit.retry(&self.kafka(), ask).await
    }

    fn kafka(&self) -> String {
        format!("Kafka at {}", self.config.kafka.brokers)
    }

    /// One after the other; an error tells how many could not be replayed.
    pub(crate) async fn replay(&self, letters: &[StoredDeadLetter]) -> anyhow::Result<()> {
        let mut failed = 0;
        for letter in letters {
            match self.one(letter).await {
                Ok(offset) => println!("{}: again at offset {offset}", letter.id()),
                Err(error) => {
                    failed += 1;
                    println!("{}: not replayed: {error:#}", letter.id());
                    if gave_no_answer(&error) {
                        bail!(
                            "{} is away: no letter after this one was tried",
                            self.kafka()
                        );
                    }
                }
            }
        }
        if failed > 0 {
            bail!(
                "{failed} of {} dead letters were not replayed",
                letters.len()
            );
        }
        Ok(())
    }

    /// Sends one, notes in the letter that it was sent, and says at which offset it stands.
    pub async fn one(&self, letter: &StoredDeadLetter) -> anyhow::Result<i64> {
        let topic = letter.text("topic").unwrap_or_default();
        if !self.config.topics.iter().any(|t| t.name == topic) {
            bail!("its topic {topic} is not declared any more");
        }
        let value = match &self.value {
            Some(value) => value,
            None => whole_value(letter)?,
        };
        let header = self.header(letter, topic)?;
        let others = letter.headers().filter(|(name, _)| *name != HEADER);
        let ours = OwnedHeaders::new().insert(KafkaHeader {
            key: HEADER,
            value: Some(&header),
        });
        let headers = others.fold(ours, |headers, (key, value)| {
            headers.insert(KafkaHeader { key, value })
        });
        let mut record = FutureRecord::<[u8], [u8]>::to(topic)
            .partition(letter.partition())
            .timestamp(letter.timestamp())
            .headers(headers)
            .payload(value);
        if let Some(key) = letter.key() {
            record = record.key(key);
        }
        let delivered = self.producer.send(record, DELIVERY_TIMEOUT).await;
        let delivered = delivered.map_err(|(error, _)| error);
        let offset = delivered.context("Kafka did not take it")?.offset;
        if offset < 0 {
            bail!(
                "whether Kafka has it is not known: replay it again, which changes nothing if it has"
            );
        }
        // Should this fail, a second replay changes nothing: the id is the same.
        let marking = self.archive.mark_replayed(letter, offset);
        marking.await.context("it is in Kafka, but not marked")?;
        Ok(offset)
    }

    /// The header of ours that the record had, or one that is made up for it: the same each time. An error, if no
    /// consumer of this configuration could read it in `topic`: each would stop its partition there.
    fn header(&self, letter: &StoredDeadLetter, topic: &str) -> anyhow::Result<Vec<u8>> {
        let streams = || self.config.streams.iter();
        let fits = |stream: &Stream| self.config.topic_of(stream).name == topic;
        if let Some(bytes) = letter.header() {
            match Header::read(bytes) {
                Ok(header) => {
                    let name = header.stream;
                    match self.config.stream(name) {
                        Some(stream) if fits(stream) => return Ok(bytes.to_vec()),
                        Some(stream) => bail!(
                            "its stream {name} is declared for topic {}, and it would stop its partition of {topic}: declare {name} for {topic} while it is replayed, or discard it",
                            self.config.topic_of(stream).name
                        ),
                        None => bail!(
                            "its stream {name} is not declared any more, and it would stop its partition of {topic}: declare {name} for {topic}, or discard it"
                        ),
                    }
                }
                Err(HeaderError::Newer(_)) => {
                    bail!("a later release wrote it: replay it with that one's consumer")
                }
                Err(HeaderError::Damaged) => {}
            }
        }
        let Some(stream) = self.stream_of.and_then(|i| self.config.streams.get(i)) else {
            let names: Vec<_> = streams().filter(|s| fits(s)).map(|s| &*s.name).collect();
            bail!(
                "its header does not tell its stream: say --as {}",
                names.join(" or --as ")
            );
        };
        if !fits(stream) {
            bail!("stream {} does not write to topic {topic}", stream.name);
        }
        let mut header = Vec::new();
        Header {
            id: EventId::of_client_key(&stream.name, OWNER, letter.id().as_bytes(), 0),
            stream: &stream.name,
            client_key: b"",
        }
        .write(&mut header);
        Ok(header)
    }
}

/// Whether the record has waited for Kafka in vain.
#[must_use]
pub fn gave_no_answer(error: &anyhow::Error) -> bool {
    let kafka = error.downcast_ref::<KafkaError>();
    kafka.and_then(KafkaError::rdkafka_error_code) == Some(RDKafkaErrorCode::MessageTimedOut)
}

fn whole_value(letter: &StoredDeadLetter) -> anyhow::Result<&[u8]> {
    let value = letter
        .value()
        .context("it has no value: give it one with --value FILE")?;
    if value.len() < letter.value_bytes() {
        bail!(
            "only {} of its {} bytes are kept: take it from the topic and give it with --value FILE",
            value.len(),
            letter.value_bytes()
        );
    }
    Ok(value)
}
