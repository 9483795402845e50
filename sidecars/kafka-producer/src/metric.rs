//! The names of this process's metrics.

use aguacero::{kafka, log_limiter};
use metrics::{counter, gauge, histogram};
use rdkafka::error::KafkaError;

/// 1 for a setting of a topic that endangers what is promised, by topic and setting.
pub(crate) const TOPIC_SETTING: &str = "aguacero_producer_topic_setting_problem";

/// Counts a slab whose last delivery report has come.
pub(crate) fn slab(stored: usize, failed: usize) {
    counter!("aguacero_producer_records_total", "outcome" => "stored").increment(stored as u64);
    counter!("aguacero_producer_records_total", "outcome" => "failed").increment(failed as u64);
    histogram!("aguacero_producer_slab_records").record((stored + failed) as f64);
}

/// A record was not stored, or nobody knows whether it was; why is in `error`.
pub(crate) fn failed(topic: &str, error: &KafkaError) {
    let (topic, code) = (topic.to_owned(), kafka::code(error));
    let about = format!("{topic}: {code}");
    counter!("aguacero_producer_failed_total", "topic" => topic, "code" => code).increment(1);
    log_limiter::repeated("Kafka does not store records", &about, error);
}

/// librdkafka did not take a record. A full queue would be a bug: the gateway's bounds are below it.
pub(crate) fn refused_by_librdkafka(topic: &str, error: &KafkaError) {
    let code = kafka::code(error);
    let about = format!("{topic}: {code}");
    counter!("aguacero_producer_refused_by_librdkafka_total", "code" => code).increment(1);
    log_limiter::repeated("librdkafka does not take records", &about, error);
}

/// Nothing of a slab was given to librdkafka.
pub(crate) fn not_produced(topic: &str, partition: i32, detail: &str) {
    counter!("aguacero_producer_slabs_refused_total", "topic" => topic.to_owned()).increment(1);
    let about = format!("{topic}, partition {partition}");
    log_limiter::repeated("slabs cannot be produced", &about, &detail);
}

/// librdkafka took a record for stored without the broker's word.
pub(crate) fn unconfirmed() {
    counter!("aguacero_producer_unconfirmed_total").increment(1);
}

/// A fatal error made a new producer necessary.
pub(crate) fn producer_replaced() {
    counter!("aguacero_producer_replaced_total").increment(1);
}

/// An open stream, counted while it lives.
pub(crate) struct Session;

impl Session {
    pub(crate) fn open() -> Self {
        gauge!("aguacero_producer_sessions").increment(1.0);
        Self
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        gauge!("aguacero_producer_sessions").decrement(1.0);
    }
}
