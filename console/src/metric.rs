//! The names of this process's metrics. `docs/metrics.md` has them all.

use hyper::StatusCode;
use metrics::{counter, describe_counter, describe_gauge, gauge};

const STREAMS: &str = "aguacero_console_streams";
const STREAMS_REFUSED: &str = "aguacero_console_streams_refused_total";
const ANSWERS: &str = "aguacero_console_answers_total";
const READS: &str = "aguacero_console_reads_total";
const READ_ERRORS: &str = "aguacero_console_read_errors_total";
const TOKENS_REFUSED: &str = "aguacero_console_tokens_refused_total";

/// The pages that have a stream of updates, as `page` of [`STREAMS`].
pub(crate) const PAGES: [&str; 4] = ["live", "log", "pipeline", "dead-letters"];

/// What is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// The counters.
    Redis,
    /// Entries of the log and dead letters.
    Mongodb,
    /// The admin ports.
    Processes,
}

impl From {
    const ALL: [Self; 3] = [Self::Redis, Self::Mongodb, Self::Processes];

    fn name(self) -> &'static str {
        match self {
            Self::Redis => "redis",
            Self::Mongodb => "mongodb",
            Self::Processes => "processes",
        }
    }
}

/// Tells Prometheus what they are, and begins at 0 what can be.
pub(crate) fn describe() {
    describe_gauge!(STREAMS, "Streams of updates that are open, by page");
    describe_counter!(
        STREAMS_REFUSED,
        "Streams of updates that were refused since too many are open"
    );
    describe_counter!(ANSWERS, "Answers, by status");
    describe_counter!(
        READS,
        "Times that something was read for everybody who looks"
    );
    describe_counter!(
        READ_ERRORS,
        "Reads that failed: the store or the process is away, or does not allow it"
    );
    describe_counter!(
        TOKENS_REFUSED,
        "Attempts to replay or discard dead letters with a token that is not the operator's"
    );
    for page in PAGES {
        gauge!(STREAMS, "page" => page).increment(0.0);
    }
    for from in From::ALL {
        counter!(READS, "from" => from.name()).increment(0);
        counter!(READ_ERRORS, "from" => from.name()).increment(0);
    }
    counter!(ANSWERS, "status" => "200").increment(0);
    counter!(STREAMS_REFUSED).increment(0);
    counter!(TOKENS_REFUSED).increment(0);
}

/// Counts a stream of updates while it is open.
#[derive(Debug)]
pub(crate) struct Open(&'static str);

impl Open {
    pub(crate) fn of(page: &'static str) -> Self {
        gauge!(STREAMS, "page" => page).increment(1.0);
        Self(page)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        gauge!(STREAMS, "page" => self.0).decrement(1.0);
    }
}

pub(crate) fn answered(status: StatusCode) {
    counter!(ANSWERS, "status" => status.as_str().to_owned()).increment(1);
}

pub(crate) fn stream_refused() {
    counter!(STREAMS_REFUSED).increment(1);
}

pub(crate) fn token_refused() {
    counter!(TOKENS_REFUSED).increment(1);
}

pub(crate) fn read(from: From) {
    counter!(READS, "from" => from.name()).increment(1);
}

pub(crate) fn read_failed(from: From) {
    counter!(READ_ERRORS, "from" => from.name()).increment(1);
}
