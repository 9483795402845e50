//! The names of this process's metrics, and handles to those of every request. `docs/metrics.md` has them all.

use std::{
    cell::{RefCell, RefMut},
    collections::HashMap,
    net::IpAddr,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use aguacero::{
    accept::Kind,
    config::{Config, Via},
    log_limiter,
};
use metrics::{
    Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram,
    gauge, histogram,
};

use crate::{answer::outcomes::RecordOutcome, batch::lane::Sums};

const ANSWERS: &str = "aguacero_gateway_answers_total";
const REQUEST_SECONDS: &str = "aguacero_gateway_request_seconds";
const CANCELLED: &str = "aguacero_gateway_requests_cancelled_total";
const EVENTS: &str = "aguacero_gateway_events_total";
const EVENTS_REFUSED: &str = "aguacero_gateway_events_refused_total";
const NOT_STORED: &str = "aguacero_gateway_not_stored_total";
const CONNECTIONS: &str = "aguacero_gateway_connections";
const ASLEEP: &str = "aguacero_gateway_connections_asleep";
const BROKEN: &str = "aguacero_gateway_connections_broken_total";
const REFUSED: &str = "aguacero_gateway_connections_refused_total";
const ACCEPT_ERRORS: &str = "aguacero_gateway_accept_errors_total";
const ACCEPTING_PAUSED: &str = "aguacero_gateway_accepting_paused_total";
const BODIES_REFUSED: &str = "aguacero_gateway_bodies_refused_total";
const BYTES_IN_FLIGHT: &str = "aguacero_gateway_bytes_in_flight";
const FRAMES: &str = "aguacero_gateway_frames_total";
const FRAME_BYTES: &str = "aguacero_gateway_frame_bytes_total";
const SLABS: &str = "aguacero_gateway_slabs_total";
const SLABS_RESENT: &str = "aguacero_gateway_slabs_resent_total";
const SLAB_SECONDS: &str = "aguacero_gateway_slab_seconds";
const RECEIPTS: &str = "aguacero_gateway_receipts_total";
const LINKS: &str = "aguacero_gateway_links";
const LINK_BREAKS: &str = "aguacero_gateway_link_breaks_total";
const DELTAS_DROPPED: &str = "aguacero_gateway_delta_entries_dropped_total";
const KEYS: &str = "aguacero_gateway_keys";
const KEYS_REFUSED: &str = "aguacero_gateway_keys_refused";
const CERTIFICATE: &str = "aguacero_gateway_certificate_expires_seconds";
const CERTIFICATE_REFUSED: &str = "aguacero_gateway_certificate_refused";

/// The label of a request that leads to no stream.
const NO_STREAM: &str = "none";
/// What a gateway is linked to beside the producers that its routes take.
pub(crate) const REDIS_WRITER: &str = "redis-writer";

/// Tells Prometheus what they are, and begins those that need no worker at 0.
pub(crate) fn describe(config: &Config) {
    describe_counter!(
        ANSWERS,
        "Answers, by the stream that their request is for and by status"
    );
    describe_histogram!(
        REQUEST_SECONDS,
        Unit::Seconds,
        "From the end of a request's header to its answer"
    );
    describe_counter!(CANCELLED, "Requests whose client left before the answer");
    describe_counter!(
        EVENTS,
        "Events, by what became of them and the producer of their route"
    );
    describe_counter!(
        EVENTS_REFUSED,
        "Events that their client has to mend, by whose rule they break"
    );
    describe_counter!(
        NOT_STORED,
        "Events that are not stored, or not known to be, through no fault of their client, by reason"
    );
    describe_gauge!(CONNECTIONS, "Open connections of clients");
    describe_gauge!(
        ASLEEP,
        "Open connections of clients that have nothing but their socket"
    );
    describe_counter!(BROKEN, "Connections that ended other than by the book");
    describe_counter!(
        REFUSED,
        "Connections, and streams of HTTP/2, that an address may not have"
    );
    describe_counter!(ACCEPT_ERRORS, "Times that accepting a connection failed");
    describe_counter!(
        ACCEPTING_PAUSED,
        "Times that no connection was accepted for want of open files"
    );
    describe_counter!(
        BODIES_REFUSED,
        "Bodies that were refused since too many others wait"
    );
    describe_gauge!(
        BYTES_IN_FLIGHT,
        Unit::Bytes,
        "Bytes that events hold until their receipt"
    );
    describe_counter!(FRAMES, "Frames that were sent to the producer");
    describe_counter!(FRAME_BYTES, Unit::Bytes, "Bytes of these frames");
    describe_counter!(SLABS, "Slabs that were sent, each time that one was");
    describe_counter!(SLABS_RESENT, "Slabs that were sent again");
    describe_histogram!(
        SLAB_SECONDS,
        Unit::Seconds,
        "From a slab's first event to its verdict"
    );
    describe_counter!(RECEIPTS, "Receipts that came from the producer");
    describe_gauge!(
        LINKS,
        "Workers that are connected to the sidecar; all of them, when all is well"
    );
    describe_counter!(
        LINK_BREAKS,
        "Times that a worker's connection to the sidecar broke"
    );
    describe_counter!(
        DELTAS_DROPPED,
        "Deltas that were given up: the consumer's settling counts their events"
    );
    describe_gauge!(KEYS, "Keys that are in force");
    describe_gauge!(
        KEYS_REFUSED,
        "1 while the file of keys has mistakes, so that those before are in force"
    );
    describe_gauge!(
        CERTIFICATE,
        Unit::Seconds,
        "When the certificate in use expires, in seconds since 1970; +Inf without TLS"
    );
    describe_gauge!(
        CERTIFICATE_REFUSED,
        "1 while certificate and key cannot be used, so that those before are in use"
    );
    for name in [
        ACCEPT_ERRORS,
        ACCEPTING_PAUSED,
        BODIES_REFUSED,
        DELTAS_DROPPED,
    ] {
        counter!(name).increment(0);
    }
    for reason in NotStored::ALL {
        counter!(NOT_STORED, "reason" => reason.name()).increment(0);
    }
    let producers = config.vias().into_iter().map(Via::process);
    for process in producers.chain([REDIS_WRITER]) {
        gauge!(LINKS, "to" => process).increment(0.0);
        counter!(LINK_BREAKS, "to" => process).increment(0);
    }
    keys(0);
    keys_refused(false);
    certificate(None);
    certificate_refused(false);
}

/// Handles that a worker keeps, since looking one up costs more than using it.
pub(crate) struct Metrics {
    /// For each stream, and last for none: by status.
    answers: Vec<RefCell<HashMap<u16, Counter>>>,
    streams: Vec<String>,
    seconds: Histogram,
    connections: Gauge,
    asleep: Gauge,
    broken: Counter,
    refused: Counter,
    cancelled: Counter,
    /// For each stream, and by each way into Kafka: stored, refused, not stored, unknown.
    events: Vec<[[Counter; 4]; Via::ALL.len()]>,
    /// For each stream, in the order of [`refusal`].
    events_refused: Vec<[Counter; 3]>,
}

/// What becomes of events, in the order in which it is counted.
const OUTCOMES: [&str; 4] = ["stored", "refused", "not_stored", "unknown"];

impl Metrics {
    pub(crate) fn new(config: &Config) -> Self {
        let events = config.streams.iter().map(|stream| {
            Via::ALL.map(|via| {
                let is_taken = stream.routes.iter().any(|route| route.via == via);
                OUTCOMES.map(|outcome| match is_taken {
                    true => {
                        let name = stream.name.clone();
                        counter!(EVENTS, "stream" => name, "outcome" => outcome, "to" => via.process())
                    }
                    false => Counter::noop(),
                })
            })
        });
        let refused = config.streams.iter().map(|stream| {
            ["malformed", "unfit", "too_large"].map(|reason| {
                counter!(EVENTS_REFUSED, "stream" => stream.name.clone(), "reason" => reason)
            })
        });
        let streams = config.streams.iter().map(|stream| stream.name.clone());
        let metrics = Self {
            answers: (0..=config.streams.len())
                .map(|_| RefCell::default())
                .collect(),
            streams: streams.chain([NO_STREAM.to_owned()]).collect(),
            seconds: histogram!(REQUEST_SECONDS),
            connections: gauge!(CONNECTIONS),
            asleep: gauge!(ASLEEP),
            broken: counter!(BROKEN),
            refused: counter!(REFUSED),
            cancelled: counter!(CANCELLED),
            events: events.collect(),
            events_refused: refused.collect(),
        };
        for stream in 0..config.streams.len() {
            metrics.answers(Some(stream), 200).increment(0);
        }
        metrics
    }

    /// A request that begins.
    pub(crate) fn request(&self) -> Unanswered<'_> {
        Unanswered {
            metrics: self,
            since: Instant::now(),
        }
    }

    fn answered(&self, stream: Option<usize>, status: u16, after: Duration) {
        self.seconds.record(after.as_secs_f64());
        self.answers(stream, status).increment(1);
    }

    fn answers(&self, stream: Option<usize>, status: u16) -> RefMut<'_, Counter> {
        let at = stream.unwrap_or(self.streams.len() - 1);
        RefMut::map(self.answers[at].borrow_mut(), |answers| {
            answers.entry(status).or_insert_with(|| {
                let stream = self.streams[at].clone();
                counter!(ANSWERS, "stream" => stream, "status" => status.to_string())
            })
        })
    }

    /// What became of events that came by a route of a stream.
    pub(crate) fn events(&self, (stream, via): (usize, Via), records: &[RecordOutcome]) {
        let mut counts = [0_u64; 4];
        for record in records {
            let outcome = match record {
                RecordOutcome::Stored => 0,
                RecordOutcome::Refused(_) | RecordOutcome::TooLarge(_) => {
                    self.events_refused[stream][refusal(record)].increment(1);
                    1
                }
                RecordOutcome::NotStored(_) => 2,
                RecordOutcome::Unknown => 3,
            };
            counts[outcome] += 1;
        }
        for (counter, count) in self.events[stream][via as usize].iter().zip(counts) {
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

/// Where the counter of a refused record is.
fn refusal(record: &RecordOutcome) -> usize {
    match record {
        RecordOutcome::Refused(refusal) => match refusal.kind {
            Kind::Malformed => 0,
            Kind::Unfit => 1,
            Kind::TooLarge => 2,
        },
        _ => 2,
    }
}

/// Accepting a connection failed, most likely for want of open files.
pub(crate) fn accept_failed(error: &std::io::Error) {
    counter!(ACCEPT_ERRORS).increment(1);
    log_limiter::repeated("connections cannot be accepted", "", error);
}

/// No connection is accepted until one closes: the other open files need the descriptors that are left.
pub(crate) fn accepting_paused() {
    counter!(ACCEPTING_PAUSED).increment(1);
    let detail = "open files are short: raise the hard limit (ulimit -Hn, LimitNOFILE), or lower connections_max";
    log_limiter::repeated("connections wait to be accepted", "", &detail);
}

/// Why events are not stored, or not known to be, through no fault of their client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotStored {
    /// As many bytes as the bounds allow are on their way.
    Full,
    /// A partition, or the producer, does not answer: what is new is not taken.
    Away,
    /// The deadline came before they could be sent.
    Unreachable,
    /// Kafka, or the producer, refuses them.
    Refused,
    /// They were sent, and the deadline came before Kafka confirmed them.
    Unconfirmed,
}

impl NotStored {
    const ALL: [Self; 5] = [
        Self::Full,
        Self::Away,
        Self::Unreachable,
        Self::Refused,
        Self::Unconfirmed,
    ];

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
    counter!(NOT_STORED, "reason" => name).increment(events as u64);
    log_limiter::repeated_times("events are not stored", name, &detail, events as u64);
}

/// A body was refused since too many others wait.
pub(crate) fn body_refused() {
    counter!(BODIES_REFUSED).increment(1);
    let detail = "too many bodies wait, or too many bytes of them, of one client or of all";
    log_limiter::repeated("bodies are refused", "", &detail);
}

/// A request that is not answered yet. Dropped before it is, its client has left.
pub(crate) struct Unanswered<'a> {
    metrics: &'a Metrics,
    since: Instant,
}

impl Unanswered<'_> {
    /// With the stream that it led to, and the status as it is sent.
    pub(crate) fn answered(self, stream: Option<usize>, status: u16) {
        self.metrics.answered(stream, status, self.since.elapsed());
        std::mem::forget(self);
    }
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        self.metrics.cancelled.increment(1);
    }
}

/// What a worker sends to a producer.
pub(crate) struct Sent {
    bytes_in_flight: Gauge,
    frames: Counter,
    frame_bytes: Counter,
    slabs: Counter,
    resent: Counter,
    pub(crate) receipts: Counter,
    /// From a slab's first event to its verdict.
    pub(crate) seconds: Histogram,
}

impl Sent {
    /// Of the worker whose thread this is, to the producer of this name.
    pub(crate) fn to(process: &'static str) -> Self {
        Self {
            bytes_in_flight: gauge!(BYTES_IN_FLIGHT, "to" => process, "worker" => worker_name()),
            frames: counter!(FRAMES, "to" => process),
            frame_bytes: counter!(FRAME_BYTES, "to" => process),
            slabs: counter!(SLABS, "to" => process),
            resent: counter!(SLABS_RESENT, "to" => process),
            receipts: counter!(RECEIPTS, "to" => process),
            seconds: histogram!(SLAB_SECONDS, "to" => process),
        }
    }

    /// What was sent since the last time, and the bytes that events hold now until their receipt.
    pub(crate) fn tell(&self, sums: &Sums, bytes_in_flight: usize) {
        self.bytes_in_flight.set(bytes_in_flight as f64);
        self.frames.increment(sums.frames);
        self.frame_bytes.increment(sums.bytes);
        self.slabs.increment(sums.slabs);
        self.resent.increment(sums.resent);
    }
}

/// A worker's connection to the sidecar of this name, counted while it is open; dropped, it broke.
pub(crate) struct OpenLink(&'static str);

impl OpenLink {
    pub(crate) fn to(process: &'static str) -> Self {
        gauge!(LINKS, "to" => process).increment(1.0);
        Self(process)
    }
}

impl Drop for OpenLink {
    fn drop(&mut self) {
        gauge!(LINKS, "to" => self.0).decrement(1.0);
        counter!(LINK_BREAKS, "to" => self.0).increment(1);
    }
}

/// Keys whose tokens are good.
pub(crate) fn keys(in_force: usize) {
    gauge!(KEYS).set(in_force as f64);
}

/// Whether the file of keys, as it is now, has mistakes, so that those before are in force.
pub(crate) fn keys_refused(is_refused: bool) {
    gauge!(KEYS_REFUSED).set(f64::from(u8::from(is_refused)));
}

/// When the certificate in use expires, in seconds since 1970.
pub(crate) fn certificate(expires: Option<SystemTime>) {
    let seconds = expires.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    gauge!(CERTIFICATE).set(seconds.map_or(f64::INFINITY, |s| s.as_secs_f64()));
}

/// Whether certificate and key, as they are now, cannot be used, so that those before are in use.
pub(crate) fn certificate_refused(is_refused: bool) {
    gauge!(CERTIFICATE_REFUSED).set(f64::from(u8::from(is_refused)));
}

/// Deltas that were given up: the consumer's settling counts those events.
pub(crate) fn deltas_dropped(entries: usize) {
    counter!(DELTAS_DROPPED).increment(entries as u64);
}

fn worker_name() -> String {
    std::thread::current().name().unwrap_or("worker").to_owned()
}
