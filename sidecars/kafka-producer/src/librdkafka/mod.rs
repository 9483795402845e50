//! Slabs into librdkafka, delivery reports out of it: the client that the world knows.

mod in_flight;
mod records;
mod reports;

use std::{
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use aguacero::{
    config::Config,
    essential::essential,
    kafka::{self, Bootstrap},
    log_limiter,
};
use aguacero_proto::produce::{Outcome, Slab};
use bytes::Bytes;
use rdkafka::{
    ClientConfig, ClientContext, Message as _,
    bindings::{rd_kafka_message_status, rd_kafka_msg_status_t},
    error::KafkaError,
    message::{BorrowedMessage, DeliveryResult},
    producer::{BaseProducer, Producer as _, ProducerContext, PurgeConfig},
    types::RDKafkaErrorCode,
};
use tokio::sync::Notify;

use crate::{
    client::Client,
    metric,
    receipt::Flight,
    topics::{BATCH_BYTES_MAX, Known},
};
use in_flight::{InFlight, Report, Ticket};
use reports::Reports;

/// The producer in use. A fatal error makes it useless, and another takes its place.
#[derive(Clone)]
pub(crate) struct Producers {
    current: Arc<RwLock<Arc<BaseProducer<Context>>>>,
    in_flight: InFlight,
}

pub(crate) struct Context {
    bootstrap: Bootstrap,
    brokers: String,
    /// Told of every error: which of them was the last one, only the client knows.
    failed: Arc<Notify>,
    in_flight: InFlight,
    topics: Known,
    /// What librdkafka makes the next offset of a batch that has none.
    no_offset: AtomicI64,
}

impl ClientContext for Context {
    /// Of a fatal error too this is told by the error behind it.
    fn error(&self, error: KafkaError, reason: &str) {
        metric::kafka_error(&kafka::code(&error));
        log_limiter::repeated("librdkafka", &kafka::code(&error), &reason);
        self.bootstrap.note(&error);
        self.failed.notify_one();
    }
}

impl Context {
    /// To be called every second or so.
    pub(crate) fn mend(&self, producer: &BaseProducer<Self>) {
        self.bootstrap.mend(producer.client(), &self.brokers);
    }

    /// Whether the broker has said that it stored a record at `offset`, or librdkafka concludes it
    /// (`docs/decisions/0017`): from the success of a later batch, of which it tells no offset; or from a sequence
    /// number that is refused as a duplicate. Then the batch's first record has -1, and each other one more. The
    /// reports of a batch come one after the other; a record that is really at such an offset counts as the batch's.
    fn is_confirmed(&self, offset: i64) -> bool {
        let is_confirmed = offset >= 0 && offset != self.no_offset.load(Ordering::Relaxed);
        let is_of_batch = !is_confirmed && offset >= -1;
        let next = if is_of_batch { offset + 1 } else { i64::MIN };
        self.no_offset.store(next, Ordering::Relaxed);
        is_confirmed
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, opaque: usize) {
        let report = match result {
            Ok(message) if self.is_confirmed(message.offset()) => Report::Stored(message.offset()),
            Ok(_) => {
                metric::unconfirmed();
                let detail = "librdkafka takes it for stored, the broker has not said so";
                Report::Failed(Outcome::Unknown, detail.to_owned())
            }
            Err((error, message)) => {
                metric::failed(message.topic(), &kafka::code(error), 1, error);
                if is_of_settings(error) {
                    self.topics.look_soon();
                }
                Report::Failed(outcome_of(error, message, &self.topics), error.to_string())
            }
        };
        self.in_flight.report(Ticket::from_opaque(opaque), report);
    }
}

/// Whether a record whose delivery failed may be in the log all the same.
#[allow(unsafe_code)]
fn outcome_of(error: &KafkaError, message: &BorrowedMessage<'_>, topics: &Known) -> Outcome {
    // SAFETY: the message is alive for the borrow, and the call only reads it. The safe API of
    // rdkafka 0.39 does not expose the status.
    match unsafe { rd_kafka_message_status(message.ptr()) } {
        rd_kafka_msg_status_t::RD_KAFKA_MSG_STATUS_NOT_PERSISTED if is_size(error) => {
            // The broker refuses a whole batch: most of its records can go in a smaller one.
            let bytes = message.payload_len() + message.key_len();
            match topics.is_too_large(message.topic(), bytes) {
                true => Outcome::TooLarge,
                false => Outcome::NotStored,
            }
        }
        // A leader that gives its partition up while a record waits for the replicas says that it is
        // not the leader. librdkafka takes that for "not persisted", tries again, and in the end tells
        // only what ended that: that time has run out, or the queue was purged.
        rd_kafka_msg_status_t::RD_KAFKA_MSG_STATUS_NOT_PERSISTED
            if topics.is_replicated(message.topic()) || is_unforeseen(error) =>
        {
            Outcome::Unknown
        }
        rd_kafka_msg_status_t::RD_KAFKA_MSG_STATUS_NOT_PERSISTED => Outcome::NotStored,
        _ => Outcome::Unknown,
    }
}

/// An error that a topic's settings can be the reason of: it is compacted, or has rules for timestamps.
fn is_of_settings(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(RDKafkaErrorCode::InvalidRecord | RDKafkaErrorCode::InvalidTimestamp)
    )
}

/// An error that the broker did not foresee: it may have come before the record was stored, or after.
fn is_unforeseen(error: &KafkaError) -> bool {
    error.rdkafka_error_code() == Some(RDKafkaErrorCode::Unknown)
}

/// The outcome of a record that librdkafka itself did not take.
fn refusal(error: &KafkaError) -> Outcome {
    if is_size(error) {
        Outcome::TooLarge
    } else {
        Outcome::NotStored
    }
}

fn is_size(error: &KafkaError) -> bool {
    error.rdkafka_error_code() == Some(RDKafkaErrorCode::MessageSizeTooLarge)
}

impl Producers {
    /// Makes the first producer. Call it inside a runtime.
    pub(crate) fn new(config: &Config, topics: Known) -> anyhow::Result<Self> {
        let recipe = Recipe {
            settings: settings(config, &topics),
            failed: Arc::new(Notify::new()),
            in_flight: InFlight::new(topics.clone()),
            topics: topics.clone(),
        };
        let in_flight = recipe.in_flight.clone();
        let current = Arc::new(RwLock::new(recipe.make()?));
        let replacing = replace_failed(recipe, Arc::clone(&current));
        tokio::spawn(essential("replacing failed producers", replacing));
        Ok(Self { current, in_flight })
    }
}

impl Client for Producers {
    /// Gives every record of `slab` to librdkafka.
    fn produce(&self, slab: Slab, _bytes: Bytes, flight: Flight) {
        let producer = Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner));
        let number = self.in_flight.begin(flight);
        // SAFETY: what is in flight keeps the values until the last report.
        #[allow(unsafe_code)]
        unsafe {
            records::produce(&producer, &slab, number, |ticket, error| {
                metric::refused_by_librdkafka(&slab.topic, &error);
                let report = Report::Failed(refusal(&error), error.to_string());
                self.in_flight.report(ticket, report);
            });
        }
    }
}

fn settings(config: &Config, topics: &Known) -> ClientConfig {
    let batch = topics
        .batch_bytes_max()
        .into_iter()
        .map(|(_, bytes)| bytes)
        .min();
    let batch = batch.unwrap_or(BATCH_BYTES_MAX).min(BATCH_BYTES_MAX);
    let mut settings = kafka::client_config(&config.kafka, "kafka-producer");
    settings
        .set("enable.idempotence", "true")
        .set("acks", "all")
        // A batch forms while the one before is on its way. Even 0.1 ms of waiting costs a lone
        // client a factor of five.
        .set("linger.ms", "0")
        .set(
            "message.timeout.ms",
            config.kafka.message_timeout.as_millis().to_string(),
        )
        .set("retry.backoff.ms", "50")
        .set("compression.type", &config.kafka_producer.compression)
        .set("message.max.bytes", batch.to_string())
        .set("batch.size", batch.to_string())
        // Bytes are bounded, here and, below this, in the gateway; a number of records is not needed.
        .set("queue.buffering.max.messages", "0")
        .set(
            "queue.buffering.max.kbytes",
            (config.kafka_producer.queue_bytes_max / 1024).to_string(),
        );
    settings
}

/// What a producer is made of.
struct Recipe {
    settings: ClientConfig,
    failed: Arc<Notify>,
    in_flight: InFlight,
    topics: Known,
}

impl Recipe {
    /// A producer whose reports are served until it is let go of.
    fn make(&self) -> anyhow::Result<Arc<BaseProducer<Context>>> {
        let brokers = self.settings.get("bootstrap.servers");
        let context = Context {
            bootstrap: Bootstrap::default(),
            brokers: brokers.unwrap_or_default().to_owned(),
            failed: Arc::clone(&self.failed),
            in_flight: self.in_flight.clone(),
            topics: self.topics.clone(),
            no_offset: AtomicI64::new(i64::MIN),
        };
        let producer: Arc<BaseProducer<Context>> =
            Arc::new(self.settings.create_with_context(context)?);
        let serving = Reports::of(&producer)?.serve(Arc::clone(&producer));
        tokio::spawn(essential("the delivery reports", serving));
        Ok(producer)
    }
}

/// Waits for fatal errors. What the failed producer still holds is reported by librdkafka itself as
/// it is purged: not stored what never left, unknown what was on its way.
async fn replace_failed(recipe: Recipe, current: Arc<RwLock<Arc<BaseProducer<Context>>>>) {
    loop {
        tokio::select! {
            () = recipe.failed.notified() => {
                let fatal = {
                    let current = current.read().unwrap_or_else(PoisonError::into_inner);
                    current.client().fatal_error()
                };
                let Some((error, reason)) = fatal else {
                    continue; // one that passes, or told twice
                };
                tracing::error!(
                    %error,
                    reason,
                    "the idempotent producer failed for good: making a new one"
                );
            }
            // librdkafka takes what it knows of the old topic's leaders for newer than anything about
            // the new one.
            () = recipe.topics.made_again() => {}
        }
        let new = loop {
            match recipe.make() {
                Ok(new) => break new,
                Err(error) => {
                    log_limiter::repeated("a new producer cannot be made", "", &error);
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        };
        let old = {
            let mut current = current.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *current, new)
        };
        metric::producer_replaced();
        // Its reports are served until the last one has come; then it goes.
        old.purge(PurgeConfig::default().queue().inflight());
    }
}

#[cfg(test)]
mod tests;

#[cfg(test)]
#[path = "early_tests.rs"]
mod early;
