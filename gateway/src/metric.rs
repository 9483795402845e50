//! The names of this process's metrics, and handles to those of every request.

use std::{
    cell::RefCell,
    collections::HashMap,
    net::IpAddr,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use aguacero::{config::Config, log_limiter};
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use crate::answer::outcomes::RecordOutcome;

/// Handles that a worker keeps, since looking one up costs more than using it.
pub(crate) struct Metrics {
    answers: RefCell<HashMap<u16, Counter>>,
    seconds: Histogram,
    connections: Gauge,
    asleep: Gauge,
    broken: Counter,
    refused: Counter,
    cancelled: Counter,
    /// For each stream: stored, refused, not stored, unknown.
    events: Vec<[Counter; 4]>,
}

impl Metrics {
    pub(crate) fn new(config: &Config) -> Self {
        let events = config.streams.iter().map(|stream| {
            ["stored", "refused", "not_stored", "unknown"].map(|outcome| {
                counter!("aguacero_gateway_events_total", "stream" => stream.name.clone(), "outcome" => outcome)
            })
        });
        Self {
            answers: RefCell::default(),
            seconds: histogram!("aguacero_gateway_request_seconds"),
            connections: gauge!("aguacero_gateway_connections"),
            asleep: gauge!("aguacero_gateway_connections_asleep"),
            broken: counter!("aguacero_gateway_connections_broken_total"),
            refused: counter!("aguacero_gateway_connections_refused_total"),
            cancelled: counter!("aguacero_gateway_requests_cancelled_total"),
            events: events.collect(),
        }
    }

    /// A request that begins.
    pub(crate) fn request(&self) -> Unanswered<'_> {
        Unanswered {
            metrics: self,
            since: Instant::now(),
        }
    }

    fn answered(&self, status: u16, after: Duration) {
        self.seconds.record(after.as_secs_f64());
        let mut answers = self.answers.borrow_mut();
        let counter = answers.entry(status).or_insert_with(
            || counter!("aguacero_gateway_answers_total", "status" => status.to_string()),
        );
        counter.increment(1);
    }

    pub(crate) fn events(&self, stream: usize, records: &[RecordOutcome]) {
        let mut counts = [0_u64; 4];
        for record in records {
            let outcome = match record {
                RecordOutcome::Stored => 0,
                RecordOutcome::Refused(_) | RecordOutcome::TooLarge(_) => 1,
                RecordOutcome::NotStored(_) => 2,
                RecordOutcome::Unknown => 3,
            };
            counts[outcome] += 1;
        }
        for (counter, count) in self.events[stream].iter().zip(counts) {
            if count > 0 {
                counter.increment(count);
            }
        }
    }

    pub(crate) fn connection_opened(&self) {
        self.connections.increment(1.0);
    }

    pub(crate) fn connection_closed(&self) {
        self.connections.decrement(1.0);
    }

    /// An open connection has nothing but its socket.
    pub(crate) fn connection_asleep(&self) {
        self.asleep.increment(1.0);
    }

    pub(crate) fn connection_awake(&self) {
        self.asleep.decrement(1.0);
    }

    /// A connection ended other than by the book.
    pub(crate) fn connection_broken(&self, error: &(dyn std::error::Error + 'static)) {
        self.broken.increment(1);
        tracing::debug!(error, "a connection broke");
    }

    /// An address has as many connections and streams as it may.
    pub(crate) fn stream_refused(&self) {
        self.refused.increment(1);
    }

    /// An address has as many connections as it may.
    pub(crate) fn connection_refused(&self, address: IpAddr) {
        self.refused.increment(1);
        log_limiter::repeated(
            "connections of an address are refused",
            &address.to_string(),
            &"it has gateway.connections_per_address_max of them; if it is a proxy, name it in gateway.proxies",
        );
    }
}

/// Accepting a connection failed, most likely for want of open files.
pub(crate) fn accept_failed(error: &std::io::Error) {
    counter!("aguacero_gateway_accept_errors_total").increment(1);
    log_limiter::repeated("connections cannot be accepted", "", error);
}

/// No connection is accepted until one closes: the other open files need the descriptors that are left.
pub(crate) fn accepting_paused() {
    counter!("aguacero_gateway_accepting_paused_total").increment(1);
    let detail = "open files are short: raise the hard limit (ulimit -Hn, LimitNOFILE), or lower connections_max";
    log_limiter::repeated("connections wait to be accepted", "", &detail);
}

/// Why events are not stored, or not known to be, through no fault of their client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotStored {
    /// As many bytes as the bounds allow are on their way.
    Full,
    /// A partition, or the kafka-producer, does not answer: what is new is not taken.
    Away,
    /// The deadline came before they could be sent.
    Unreachable,
    /// Kafka, or the kafka-producer, refuses them.
    Refused,
    /// They were sent, and the deadline came before Kafka confirmed them.
    Unconfirmed,
}

impl NotStored {
    fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Away => "away",
            Self::Unreachable => "unreachable",
            Self::Refused => "refused",
            Self::Unconfirmed => "unconfirmed",
        }
    }
}

/// So many events are not stored, perhaps none; `detail` is what their clients are told.
pub(crate) fn not_stored(reason: NotStored, detail: &str, events: usize) {
    if events == 0 {
        return;
    }
    let name = reason.name();
    counter!("aguacero_gateway_not_stored_total", "reason" => name).increment(events as u64);
    log_limiter::repeated_times("events are not stored", name, &detail, events as u64);
}

/// A body was refused since too many others wait.
pub(crate) fn body_refused() {
    counter!("aguacero_gateway_bodies_refused_total").increment(1);
    let detail = "too many bodies wait, or too many bytes of them, of one client or of all";
    log_limiter::repeated("bodies are refused", "", &detail);
}

/// A request that is not answered yet. Dropped before it is, its client has left.
pub(crate) struct Unanswered<'a> {
    metrics: &'a Metrics,
    since: Instant,
}

impl Unanswered<'_> {
    /// With the status as it is sent.
    pub(crate) fn answered(self, status: u16) {
        self.metrics.answered(status, self.since.elapsed());
        std::mem::forget(self);
    }
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        self.metrics.cancelled.increment(1);
    }
}

/// Bytes that events hold until their receipt, of the worker that says so.
pub(crate) fn bytes_in_flight(bytes: usize) {
    gauge!("aguacero_gateway_bytes_in_flight", "worker" => worker_name()).set(bytes as f64);
}

/// Keys whose tokens are good.
pub(crate) fn keys(in_force: usize) {
    gauge!("aguacero_gateway_keys").set(in_force as f64);
}

/// Whether the file of keys, as it is now, has mistakes, so that those before are in force.
pub(crate) fn keys_refused(is_refused: bool) {
    gauge!("aguacero_gateway_keys_refused").set(f64::from(u8::from(is_refused)));
}

/// When the certificate in use expires, in seconds since 1970.
pub(crate) fn certificate(expires: Option<SystemTime>) {
    let seconds = expires.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    gauge!("aguacero_gateway_certificate_expires_seconds")
        .set(seconds.map_or(f64::INFINITY, |s| s.as_secs_f64()));
}

/// Whether certificate and key, as they are now, cannot be used, so that those before are in use.
pub(crate) fn certificate_refused(is_refused: bool) {
    gauge!("aguacero_gateway_certificate_refused").set(f64::from(u8::from(is_refused)));
}

/// Deltas that were given up: the consumer's settling counts those events.
pub(crate) fn deltas_dropped(entries: usize) {
    counter!("aguacero_gateway_delta_entries_dropped_total").increment(entries as u64);
}

fn worker_name() -> String {
    std::thread::current().name().unwrap_or("worker").to_owned()
}
