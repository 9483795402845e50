//! A way back for clients of Kafka that librdkafka has left without a broker.
//!
//! A broker that is fenced, or has just started, may answer a request for metadata with topics and no
//! brokers. Since 2.12 librdkafka then forgets every broker that it knew, calls its own re-bootstrap off,
//! and asks nobody any more until the process is restarted (confluentinc/librdkafka#5301, open). With one
//! broker, a pause of some seconds is enough.

use std::{
    ffi::CString,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use rdkafka::{
    bindings as sys,
    client::{Client, ClientContext},
    error::KafkaError,
    types::RDKafkaErrorCode,
};

/// librdkafka tries to connect at least once a second (`reconnect.backoff.max.ms`) and reports each
/// failure, so that silence of this length after one is either service or the end.
const SILENCE: Duration = Duration::from_secs(2);

/// Remembers the last lost connection of a client.
#[derive(Debug, Default)]
pub struct Bootstrap {
    lost: Mutex<Option<Instant>>,
}

impl Bootstrap {
    /// To be told of every error that is not about a single record.
    pub fn note(&self, error: &KafkaError) {
        if let Some(RDKafkaErrorCode::AllBrokersDown | RDKafkaErrorCode::BrokerTransportFailure) =
            error.rdkafka_error_code()
        {
            *self.lost.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        }
    }

    /// To be called every second or so: gives `client` the bootstrap servers again, once for each time
    /// that it fell silent after a lost connection. Where it knows them, or others, this does nothing.
    #[allow(unsafe_code)]
    pub fn mend<C: ClientContext>(&self, client: &Client<C>, brokers: &str) {
        if !self.is_due(Instant::now()) {
            return;
        }
        let Ok(brokers) = CString::new(brokers) else {
            return;
        };
        // SAFETY: the client is alive; the text is copied. rdkafka 0.39 has no safe call for it.
        unsafe { sys::rd_kafka_brokers_add(client.native_ptr(), brokers.as_ptr()) };
    }

    fn is_due(&self, now: Instant) -> bool {
        let mut lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        lost.take_if(|lost| now.saturating_duration_since(*lost) >= SILENCE)
            .is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn once_for_each_silence_after_a_lost_connection() {
        let bootstrap = Bootstrap::default();
        let now = Instant::now() + SILENCE * 2;
        assert!(!bootstrap.is_due(now), "nothing was lost");
        bootstrap.note(&KafkaError::Global(RDKafkaErrorCode::QueueFull));
        assert!(!bootstrap.is_due(now));
        bootstrap.note(&KafkaError::Global(RDKafkaErrorCode::AllBrokersDown));
        assert!(
            !bootstrap.is_due(Instant::now()),
            "it may come back by itself"
        );
        assert!(bootstrap.is_due(now));
        assert!(!bootstrap.is_due(now), "once is enough");
    }
}
