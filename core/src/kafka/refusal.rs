//! Why Kafka does not let a process in: a wrong password, an authority that nobody has heard of, TLS on one
//! side only.
//!
//! To its callers librdkafka says of all of these that the broker did not answer in time. The reason it tells
//! to the client's callback alone, which an admin client of rdkafka 0.39 never calls: so another client
//! is made for the question.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use rdkafka::{
    ClientContext,
    config::RDKafkaLogLevel,
    error::KafkaError,
    producer::{BaseProducer, DeliveryResult, Producer as _, ProducerContext},
    types::RDKafkaErrorCode,
};

use super::client::client_config;
use crate::config::Kafka;

/// How long the broker may take to refuse.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(2);
/// One look at what it has said.
const LOOK: Duration = Duration::from_millis(50);

/// The first refusal that was told.
#[derive(Default)]
struct Listener {
    heard: Mutex<Option<String>>,
}

impl Listener {
    fn hear(&self, reason: &str) {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.get_or_insert_with(|| told(reason));
    }
}

impl ClientContext for Listener {
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "librdkafka");
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SSL) => self.hear(reason),
            // The alert with which a broker ends it that has seen our certificate, or none.
            Some(_) if reason.contains("SSL alert") => self.hear(reason),
            _ => {}
        }
    }

    /// That a broker ends a connection is no error to librdkafka. As young as these are, it is likely that TLS,
    /// or SASL, is spoken on one side only.
    fn log(&self, _: RDKafkaLogLevel, _: &str, message: &str) {
        if message.contains("Disconnected") {
            self.hear(message);
        }
    }
}

impl ProducerContext for Listener {
    type DeliveryOpaque = ();

    /// Nothing is ever sent.
    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
}

/// The reason, if the broker is there and refuses; takes up to [`REFUSAL_TIMEOUT`], and blocks.
pub(crate) fn refusal(kafka: &Kafka) -> Option<String> {
    let client = client_config(kafka, "question")
        .set("log.connection.close", "true")
        .set_log_level(RDKafkaLogLevel::Info)
        .create_with_context(Listener::default());
    let client: BaseProducer<Listener> = match client {
        Ok(client) => client,
        Err(error) => return Some(error.to_string()),
    };
    let deadline = Instant::now() + REFUSAL_TIMEOUT;
    while Instant::now() < deadline {
        // Connects; whether it succeeds, the callback knows better.
        if client.client().fetch_metadata(None, LOOK).is_ok() {
            return None;
        }
        client.poll(LOOK);
        let heard = &client.context().heard;
        if let Some(reason) = heard.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Some(reason);
        }
    }
    None
}

/// librdkafka's words, with what they mean in our configuration.
fn told(reason: &str) -> String {
    let mend = if reason.contains("certificate verify failed") {
        ". Its certificate is of an authority that kafka.ca does not have, or for another host"
    } else if reason.contains("SSL alert") {
        ". It asks for a certificate of ours that it can check: look at kafka.certificate and kafka.key"
    } else if reason.contains("uthentication") {
        ". Look at kafka.username and at what is in kafka.password_file"
    } else if reason.contains("Disconnected") || reason.contains("PLAINTEXT") {
        ". Perhaps TLS or SASL is spoken on one side only: look at kafka.tls and kafka.sasl"
    } else {
        ""
    };
    format!("{reason}{mend}")
}
