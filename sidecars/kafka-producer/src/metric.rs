//! The names of this process's metrics. `docs/metrics.md` has them all.

use std::{fmt::Display, sync::LazyLock, time::Instant};

use aguacero::{config::Config, kafka, log_limiter};
use metrics::{
    Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram,
    gauge, histogram,
};
use rdkafka::error::KafkaError;

const RECORDS: &str = "aguacero_producer_records_total";
const SLAB_RECORDS: &str = "aguacero_producer_slab_records";
const SLAB_BYTES: &str = "aguacero_producer_slab_bytes";
const SLAB_SECONDS: &str = "aguacero_producer_slab_seconds";
const BYTES_IN_FLIGHT: &str = "aguacero_producer_bytes_in_flight";
const FAILED: &str = "aguacero_producer_failed_total";
const REFUSED_BY_LIBRDKAFKA: &str = "aguacero_producer_refused_by_librdkafka_total";
const SLABS_REFUSED: &str = "aguacero_producer_slabs_refused_total";
const UNCONFIRMED: &str = "aguacero_producer_unconfirmed_total";
const KAFKA_ERRORS: &str = "aguacero_producer_kafka_errors_total";
const NEW_EPOCHS: &str = "aguacero_producer_new_epochs_total";
const REPLACED: &str = "aguacero_producer_replaced_total";
const SESSIONS: &str = "aguacero_producer_sessions";
/// 1 for a setting of a topic that endangers what is promised, by topic and setting.
pub(crate) const TOPIC_SETTING: &str = "aguacero_producer_topic_setting_problem";

/// Handles to those of every slab, since looking one up costs more than using it.
static OF_SLABS: LazyLock<OfSlabs> = LazyLock::new(|| OfSlabs {
    stored: counter!(RECORDS, "outcome" => "stored"),
    failed: counter!(RECORDS, "outcome" => "failed"),
    records: histogram!(SLAB_RECORDS),
    bytes: histogram!(SLAB_BYTES),
    seconds: histogram!(SLAB_SECONDS),
    bytes_in_flight: gauge!(BYTES_IN_FLIGHT),
});

struct OfSlabs {
    stored: Counter,
    failed: Counter,
    records: Histogram,
    bytes: Histogram,
    seconds: Histogram,
    bytes_in_flight: Gauge,
}

/// Tells Prometheus what they are, and begins at 0 what can be.
pub(crate) fn describe(config: &Config) {
    describe_counter!(
        RECORDS,
        "Records whose delivery report has come, by what it says"
    );
    describe_histogram!(SLAB_RECORDS, "Records in a slab");
    describe_histogram!(
        SLAB_BYTES,
        Unit::Bytes,
        "Bytes of the values that a slab holds"
    );
    describe_histogram!(
        SLAB_SECONDS,
        Unit::Seconds,
        "From a slab's arrival to the last delivery report of its records"
    );
    describe_gauge!(
        BYTES_IN_FLIGHT,
        Unit::Bytes,
        "Bytes of values that Kafka has not confirmed yet"
    );
    describe_counter!(
        FAILED,
        "Records that are not stored, or not known to be, by topic and Kafka's reason"
    );
    describe_counter!(
        REFUSED_BY_LIBRDKAFKA,
        "Records that librdkafka did not take, by its reason"
    );
    describe_counter!(
        SLABS_REFUSED,
        "Slabs of which nothing was given to librdkafka, by topic"
    );
    describe_counter!(
        UNCONFIRMED,
        "Records that librdkafka took for stored without the broker's word"
    );
    describe_counter!(
        KAFKA_ERRORS,
        "Errors of connections and requests to Kafka, by their code"
    );
    describe_counter!(
        NEW_EPOCHS,
        "Times that the producer of this project has numbered a partition's batches anew, after a gap"
    );
    describe_counter!(
        REPLACED,
        "Times that a new producer was made, after a fatal error or for a topic that was made again"
    );
    describe_gauge!(SESSIONS, "Gateways' workers that are connected");
    describe_gauge!(
        TOPIC_SETTING,
        "1 for a setting of a topic that endangers what is promised"
    );
    LazyLock::force(&OF_SLABS);
    counter!(UNCONFIRMED).increment(0);
    counter!(REPLACED).increment(0);
    counter!(NEW_EPOCHS).increment(0);
    gauge!(SESSIONS).increment(0.0);
    for topic in &config.topics {
        counter!(SLABS_REFUSED, "topic" => topic.name.clone()).increment(0);
    }
}

/// A slab on its way, counted until its last delivery report.
pub(crate) struct OnItsWay {
    bytes: f64,
    since: Instant,
}

impl OnItsWay {
    /// With so many bytes of values.
    pub(crate) fn begin(bytes: usize) -> Self {
        let bytes = bytes as f64;
        OF_SLABS.bytes_in_flight.increment(bytes);
        Self {
            bytes,
            since: Instant::now(),
        }
    }

    /// So many of its records were stored, and so many not.
    pub(crate) fn reported(&self, stored: usize, failed: usize) {
        let metrics = &*OF_SLABS;
        metrics.stored.increment(stored as u64);
        metrics.failed.increment(failed as u64);
        metrics.records.record((stored + failed) as f64);
        metrics.bytes.record(self.bytes);
        metrics.seconds.record(self.since.elapsed().as_secs_f64());
    }
}

impl Drop for OnItsWay {
    fn drop(&mut self) {
        OF_SLABS.bytes_in_flight.decrement(self.bytes);
    }
}

/// A connection to Kafka failed, or a request; `code` is of a fixed set.
pub(crate) fn kafka_error(code: &str) {
    counter!(KAFKA_ERRORS, "code" => code.to_owned()).increment(1);
}

/// A partition's batches got new numbers.
pub(crate) fn new_epoch() {
    counter!(NEW_EPOCHS).increment(1);
}

/// So many records were not stored, or nobody knows whether they were; `code` is of a fixed set.
pub(crate) fn failed(topic: &str, code: &str, records: usize, why: &dyn Display) {
    let about = format!("{topic}: {code}");
    let labels = [("topic", topic.to_owned()), ("code", code.to_owned())];
    counter!(FAILED, &labels).increment(records as u64);
    log_limiter::repeated("Kafka does not store records", &about, why);
}

/// librdkafka did not take a record. A full queue would be a bug: the gateway's bounds are below it.
pub(crate) fn refused_by_librdkafka(topic: &str, error: &KafkaError) {
    let code = kafka::code(error);
    let about = format!("{topic}: {code}");
    counter!(REFUSED_BY_LIBRDKAFKA, "code" => code).increment(1);
    log_limiter::repeated("librdkafka does not take records", &about, error);
}

/// Nothing of a slab was given to librdkafka.
pub(crate) fn not_produced(topic: &str, partition: i32, detail: &str) {
    counter!(SLABS_REFUSED, "topic" => topic.to_owned()).increment(1);
    let about = format!("{topic}, partition {partition}");
    log_limiter::repeated("slabs cannot be produced", &about, &detail);
}

/// librdkafka took a record for stored without the broker's word.
pub(crate) fn unconfirmed() {
    counter!(UNCONFIRMED).increment(1);
}

/// A fatal error made a new producer necessary.
pub(crate) fn producer_replaced() {
    counter!(REPLACED).increment(1);
}

/// An open stream, counted while it lives.
pub(crate) struct Session;

impl Session {
    pub(crate) fn open() -> Self {
        gauge!(SESSIONS).increment(1.0);
        Self
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        gauge!(SESSIONS).decrement(1.0);
    }
}
