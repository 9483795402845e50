//! Medians and spreads of repeated rounds.

use std::time::Duration;

/// Sorted durations.
pub struct Times(Vec<Duration>);

impl Times {
    /// Sorts `times`.
    #[must_use]
    pub fn new(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Self(times)
    }

    /// The value below which `fraction` of the times lie, in microseconds.
    #[must_use]
    pub fn quantile_us(&self, fraction: f64) -> f64 {
        let at = ((self.0.len() - 1) as f64 * fraction).round() as usize;
        self.0[at].as_secs_f64() * 1e6
    }
}

/// Least, middle and greatest of `values`.
#[must_use]
pub fn spread(values: &[f64]) -> [f64; 3] {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    [
        sorted[0],
        sorted[sorted.len() / 2],
        sorted[sorted.len() - 1],
    ]
}
