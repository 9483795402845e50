//! What the clients have seen, and what the restarts took.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use super::{Outcome, Restart};

/// How many of the requests that were lost are told one by one.
const LOST_SHOWN: usize = 10;
/// From when on a gateway has had the time to say on `/readyz` that it ends.
const AT_ONCE: Duration = Duration::from_millis(100);

/// Counts of everything.
#[derive(Debug, Default, Clone)]
pub struct Tally {
    /// Connections that were made.
    pub connects: usize,
    /// Events that are stored: answered 200.
    pub stored: usize,
    /// Answers by status.
    pub answers: BTreeMap<u16, usize>,
    /// Those of them that said `Connection: close`.
    pub closing: usize,
    /// Connections that were found closed between two requests.
    pub closed_before: usize,
    /// Attempts to connect where nobody listened.
    pub refused: usize,
    /// Requests that were being sent when the connection was closed, of which nothing was read.
    pub unread: usize,
    /// Streams of HTTP/2 of which the server said that it has not looked at them.
    pub left_out: usize,
    /// Requests that were on their way and got no answer. None may be.
    pub lost: usize,
    /// The longest wait for an answer.
    pub answered_within: Duration,
    /// The restarts.
    pub restarts: Vec<Restart>,
    lost_shown: Vec<String>,
}

/// One that clients and restarts write into.
#[derive(Debug, Default, Clone)]
pub struct Shared(Arc<Mutex<Tally>>);

/// Reads one of the times of a restart.
type TimeOf = fn(&Restart) -> Option<Duration>;

impl Shared {
    /// Looks at it, or changes it.
    pub fn with<T>(&self, look: impl FnOnce(&mut Tally) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Tally {
    pub(super) fn note(&mut self, outcome: &Outcome, took: Duration) {
        match outcome {
            Outcome::Answered { status, closes } => {
                *self.answers.entry(*status).or_default() += 1;
                self.stored += usize::from(*status == 200);
                self.closing += usize::from(*closes);
                self.answered_within = self.answered_within.max(took);
            }
            Outcome::ClosedBefore => self.closed_before += 1,
            Outcome::Refused => self.refused += 1,
            Outcome::Unread => self.unread += 1,
            Outcome::LeftOut => self.left_out += 1,
            Outcome::Lost(how) => {
                self.lost += 1;
                if self.lost_shown.len() < LOST_SHOWN {
                    let restart = self.restarts.len() + 1;
                    self.lost_shown.push(format!("restart {restart}: {how}"));
                }
            }
        }
    }

    /// Restarts in which `/readyz` did not say at once that the gateway ends, or was silent before the end.
    #[must_use]
    pub fn unready_late(&self) -> usize {
        let is_late = |restart: &&Restart| {
            restart.unready.unwrap_or(restart.ended) > AT_ONCE || restart.silent > AT_ONCE
        };
        self.restarts.iter().filter(is_late).count()
    }

    /// Whether every promise was kept.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.lost == 0 && self.unready_late() == 0
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let answers: usize = self.answers.values().sum();
        let sent = answers + self.unread + self.left_out + self.lost;
        let mut row = |what: &str, count: usize| writeln!(f, "  {what:<62}{count:>10}");
        row("restarts", self.restarts.len())?;
        row("requests", sent)?;
        for (status, count) in &self.answers {
            row(&format!("  answered {status}"), *count)?;
        }
        row("  on their way and not answered (must be 0)", self.lost)?;
        row(
            "  closed while they were sent, nothing of them read",
            self.unread,
        )?;
        row("  left out by GOAWAY (HTTP/2)", self.left_out)?;
        row("connections made", self.connects)?;
        row("  ended by an answer with Connection: close", self.closing)?;
        row("  found closed between two requests", self.closed_before)?;
        row("attempts to connect where nobody listened", self.refused)?;
        let ready = |restart: &Restart| restart.unready.is_some();
        row(
            "restarts in which /readyz was seen to say 503",
            self.restarts.iter().filter(|r| ready(r)).count(),
        )?;
        row(
            "  or 503 came after 100 ms, or silence, 100 ms before the end (must be 0)",
            self.unready_late(),
        )?;
        writeln!(
            f,
            "\n  {:<48}{:>12}{:>12}",
            "milliseconds", "median", "worst"
        )?;
        let columns: [(&str, TimeOf); 4] = [
            ("from SIGTERM to 503 on /readyz", |r| r.unready),
            ("from the last answer of /readyz to the end", |r| {
                Some(r.silent)
            }),
            ("from SIGTERM to the end", |r| Some(r.ended)),
            ("from the start to ready", |r| Some(r.ready)),
        ];
        for (what, column) in columns {
            let mut times: Vec<_> = self.restarts.iter().filter_map(column).collect();
            times.sort();
            if let (Some(median), Some(worst)) = (times.get(times.len() / 2), times.last()) {
                let [median, worst] = [median, worst].map(|t| t.as_secs_f64() * 1000.0);
                writeln!(f, "  {what:<48}{median:>12.1}{worst:>12.1}")?;
            }
        }
        let within = self.answered_within.as_secs_f64() * 1000.0;
        writeln!(f, "  {:<48}{:>12}{within:>12.1}", "an answer", "")?;
        for lost in &self.lost_shown {
            writeln!(f, "  LOST: {lost}")?;
        }
        Ok(())
    }
}
