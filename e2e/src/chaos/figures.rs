//! What all rounds came to.

use std::{collections::BTreeMap, fmt, time::Duration};

use super::{fault::Fault, probe::Recovery};
use crate::oracle::Verdict;

/// Sums over rounds, and times to normal service by fault.
#[derive(Debug, Default)]
pub struct Figures {
    /// Rounds that were judged.
    pub rounds: usize,
    /// How often each fault happened.
    pub faults: BTreeMap<Fault, usize>,
    /// Of those that happened alone: how long until normal service.
    pub recoveries: BTreeMap<Fault, Vec<Recovery>>,
    /// Events, summed over the rounds.
    pub total: Verdict,
}

impl Figures {
    pub(super) fn happened(&mut self, fault: Fault) {
        *self.faults.entry(fault).or_default() += 1;
    }

    pub(super) fn recovered(&mut self, fault: Fault, recovery: Recovery) {
        self.recoveries.entry(fault).or_default().push(recovery);
    }

    pub(super) fn judged(&mut self, verdict: &Verdict) {
        self.rounds += 1;
        let total = &mut self.total;
        total.stored += verdict.stored;
        total.refused += verdict.refused;
        total.unknown += verdict.unknown;
        total.unknown_there += verdict.unknown_there;
        total.repeats += verdict.repeats;
        total.dead += verdict.dead;
        total.exact_after = total.exact_after.max(verdict.exact_after);
        total.violations.extend_from_slice(&verdict.violations);
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "  {:<34}{:>5}{:>22}{:>22}{:>22}",
            "", "", "answered, s", "archived, s", "shown, s"
        )?;
        writeln!(
            f,
            "  {:<34}{:>5}{:>22}{:>22}{:>22}",
            "fault", "times", "median    worst", "median    worst", "median    worst"
        )?;
        for (fault, times) in &self.faults {
            write!(f, "  {:<34}{times:>5}", fault.to_string())?;
            if let Some(recoveries) = self.recoveries.get(fault) {
                let figures: [fn(&Recovery) -> Duration; 3] =
                    [|r| r.answered, |r| r.archived, |r| r.shown];
                for figure in figures {
                    let (median, worst) = median_and_worst(recoveries.iter().map(figure));
                    write!(f, "{median:>14.2}{worst:>8.2}")?;
                }
            }
            writeln!(f)?;
        }
        let total = &self.total;
        writeln!(f)?;
        writeln!(f, "  {:<40}{:>12}", "rounds", self.rounds)?;
        for (what, count) in [
            ("events answered 200", total.stored),
            ("events refused each time", total.refused),
            ("events whose outcome nobody told", total.unknown),
            ("  of these archived", total.unknown_there),
            ("records in Kafka beyond the first", total.repeats),
            ("events that MongoDB refused: dead letters", total.dead),
            ("promises broken", total.violations.len()),
        ] {
            writeln!(f, "  {what:<40}{count:>12}")?;
        }
        let worst = total.exact_after.as_secs_f64();
        writeln!(f, "  {:<40}{worst:>12.1}", "worst time until exact, s")?;
        for violation in &total.violations {
            writeln!(f, "  VIOLATION: {violation}")?;
        }
        Ok(())
    }
}

fn median_and_worst(times: impl Iterator<Item = Duration>) -> (f64, f64) {
    let mut times: Vec<f64> = times.map(|t| t.as_secs_f64()).collect();
    times.sort_by(f64::total_cmp);
    let worst = times.last().copied().unwrap_or_default();
    (
        times.get(times.len() / 2).copied().unwrap_or_default(),
        worst,
    )
}
