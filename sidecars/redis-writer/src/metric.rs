//! The names of this process's metrics. `docs/metrics.md` has them all.

use std::time::Duration;

use aguacero::ledger::Applied;
use metrics::{
    Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};

const SESSIONS: &str = "aguacero_redis_writer_sessions";
const REFUSED_SESSIONS: &str = "aguacero_redis_writer_sessions_refused_total";
const OTHER_CONFIGURATION: &str = "aguacero_redis_writer_other_configuration_total";
const FRAMES: &str = "aguacero_redis_writer_frames_total";
const REPEATED: &str = "aguacero_redis_writer_repeated_total";
const ENTRIES: &str = "aguacero_redis_writer_entries_total";
const REFUSED: &str = "aguacero_redis_writer_refused_total";
const WAITING: &str = "aguacero_redis_writer_frames_waiting";
const PIPELINE_FRAMES: &str = "aguacero_redis_writer_pipeline_records";
const PIPELINE_SECONDS: &str = "aguacero_redis_writer_pipeline_seconds";
const FAILURES: &str = "aguacero_redis_writer_redis_failures_total";
/// 1 for what is wrong with Redis, by problem.
pub(crate) const REDIS_PROBLEM: &str = "aguacero_redis_writer_redis_problem";
const CONNECTED: &str = "aguacero_redis_writer_redis_connected";

/// What [`REFUSED`] has as `reason`.
pub(crate) const REASONS: [&str; 5] = [
    "unknown-stream",
    "fingerprint",
    "entry",
    "ledger-fingerprint",
    "ledger",
];

/// Tells Prometheus what they are, and begins at 0 what can be.
pub(crate) fn describe() {
    describe_gauge!(SESSIONS, "Gateways' workers that are connected");
    describe_counter!(REFUSED_SESSIONS, "Connections that broke the protocol");
    describe_counter!(
        OTHER_CONFIGURATION,
        "Connections of a gateway that was started with another configuration"
    );
    describe_counter!(FRAMES, "Frames that were acknowledged");
    describe_counter!(
        REPEATED,
        "Streams' parts of frames that Redis had seen before"
    );
    describe_counter!(
        ENTRIES,
        "Entries by what became of them: pending, merged, or settled before they came"
    );
    describe_counter!(
        REFUSED,
        "Frames of which something was refused for good, by reason"
    );
    describe_gauge!(WAITING, "Frames that were read and are not in Redis yet");
    describe_histogram!(PIPELINE_FRAMES, "Frames that went to Redis together");
    describe_histogram!(
        PIPELINE_SECONDS,
        Unit::Seconds,
        "From the first try of a pipeline until all of it is in Redis"
    );
    describe_counter!(FAILURES, "Times that Redis did not answer as it should");
    describe_gauge!(
        REDIS_PROBLEM,
        "1 for what is wrong with Redis, such that it may not keep the counters"
    );
    describe_gauge!(CONNECTED, "1 while Redis answers");
    for name in [
        REFUSED_SESSIONS,
        OTHER_CONFIGURATION,
        FRAMES,
        REPEATED,
        FAILURES,
    ] {
        counter!(name).increment(0);
    }
    for outcome in ["pending", "merged", "settled"] {
        counter!(ENTRIES, "outcome" => outcome).increment(0);
    }
    for reason in REASONS {
        counter!(REFUSED, "reason" => reason).increment(0);
    }
    for name in [SESSIONS, WAITING, CONNECTED] {
        gauge!(name).increment(0.0);
    }
    _ = histogram!(PIPELINE_FRAMES);
    _ = histogram!(PIPELINE_SECONDS);
}

/// Counts an open session while it lives.
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

/// A frame that was read, counted until it is applied or given up.
#[derive(Debug)]
pub(crate) struct Waiting;

impl Waiting {
    pub(crate) fn begin() -> Self {
        gauge!(WAITING).increment(1.0);
        Self
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        gauge!(WAITING).decrement(1.0);
    }
}

pub(crate) fn session_refused() {
    counter!(REFUSED_SESSIONS).increment(1);
}

pub(crate) fn other_configuration() {
    counter!(OTHER_CONFIGURATION).increment(1);
}

pub(crate) fn refused(reason: &'static str) {
    counter!(REFUSED, "reason" => reason).increment(1);
}

pub(crate) fn applied(applied: Applied) {
    match applied {
        Applied::Repeated => counter!(REPEATED).increment(1),
        Applied::Now {
            pending,
            merged,
            settled,
        } => {
            for (outcome, n) in [
                ("pending", pending),
                ("merged", merged),
                ("settled", settled),
            ] {
                counter!(ENTRIES, "outcome" => outcome).increment(n.into());
            }
        }
    }
}

pub(crate) fn pipeline(frames: usize, took: Duration) {
    counter!(FRAMES).increment(frames as u64);
    histogram!(PIPELINE_FRAMES).record(frames as f64);
    histogram!(PIPELINE_SECONDS).record(took.as_secs_f64());
}

pub(crate) fn redis_failed() {
    counter!(FAILURES).increment(1);
}

pub(crate) fn redis_connected(connected: bool) {
    gauge!(CONNECTED).set(u8::from(connected));
}
