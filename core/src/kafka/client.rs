//! The settings with which every process makes its clients.

use rdkafka::{ClientConfig, error::KafkaError};

use crate::{config::Kafka, log_limiter};

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
            Err(error) => log_limiter::repeated(
                "the password for Kafka",
                "",
                &format_args!("the file {error}"),
            ),
        }
    }
}

/// The name of an error's code, as librdkafka has it: one of a fixed set, so that it may be the label of a metric.
#[must_use]
pub fn code(error: &KafkaError) -> String {
    let code = error.rdkafka_error_code();
    code.map_or_else(|| "other".to_owned(), |code| format!("{code:?}"))
}
