//! The names of this process's metrics.

use metrics::{counter, gauge, histogram};
use rdkafka::error::KafkaError;

/// Counts a slab whose last delivery report has come.
pub(crate) fn slab(stored: usize, failed: usize) {
    counter!("aguacero_producer_records_total", "outcome" => "stored").increment(stored as u64);
    counter!("aguacero_producer_records_total", "outcome" => "failed").increment(failed as u64);
    histogram!("aguacero_producer_slab_records").record((stored + failed) as f64);
}

/// librdkafka did not take a record. A full queue would be a bug: the gateway's bounds are below it.
pub(crate) fn refused_by_librdkafka(error: &KafkaError) {
    let code = error
        .rdkafka_error_code()
        .map_or_else(|| "other".to_owned(), |c| format!("{c:?}"));
    counter!("aguacero_producer_refused_by_librdkafka_total", "code" => code).increment(1);
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
