//! Why deltas are refused for good. The gateway is told each time, the log by [`log_limiter`].

use std::fmt;

use aguacero::{config::Stream, ledger::LedgerError, log_limiter};

use crate::metric;

/// A name from outside, in a text of ours.
const NAME_CHARS_MAX: usize = 64;

/// Why a stream's deltas, or one entry of them, were refused for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    reason: &'static str,
    text: String,
}

impl Problem {
    pub(crate) fn unknown_stream(name: &str) -> Self {
        let name: String = name.chars().take(NAME_CHARS_MAX).collect();
        let text = format!("stream {name:?} is not declared in the redis-writer's configuration");
        Self {
            reason: "unknown-stream",
            text,
        }
    }

    pub(crate) fn fingerprint(stream: &Stream, theirs: u64) -> Self {
        let text = format!(
            "stream {}: the gateway declares its counters as {theirs:016x}, the redis-writer as {:016x}; \
             let both read the same file",
            stream.name, stream.counters_fingerprint
        );
        Self {
            reason: "fingerprint",
            text,
        }
    }

    pub(crate) fn entry(stream: &Stream, why: &str) -> Self {
        Self {
            reason: "entry",
            text: format!("stream {}: an entry cannot be counted: {why}", stream.name),
        }
    }

    pub(crate) fn ledger(stream: &Stream, error: &LedgerError) -> Self {
        let reason = match error {
            LedgerError::Fingerprint { .. } => "ledger-fingerprint",
            _ => "ledger",
        };
        Self {
            reason,
            text: format!("stream {}: {error}", stream.name),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Problem {
    /// Counts it, and logs it by its text.
    pub(crate) fn report(&self) {
        metric::refused(self.reason);
        log_limiter::repeated("deltas are refused", &self.text, &self.reason);
    }
}
