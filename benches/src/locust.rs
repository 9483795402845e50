//! A run of Locust against a server: what it says, and what the server had of the processors meanwhile.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, ensure};
use serde_json::Value;
use tempfile::NamedTempFile;

use crate::{
    cpu::Cpu,
    sides::{Effort, Server},
};

/// Requests of a run, where a turn is long enough.
const REQUESTS: u64 = 10_000;
/// About what Locust sends in a second on two cores that it shares, and some more.
const REQUESTS_PER_SECOND: f64 = 2_000.0;

/// How many requests a run has.
#[must_use]
pub fn requests_of(effort: Effort) -> u64 {
    let in_a_turn = (effort.duration.as_secs_f64() * REQUESTS_PER_SECOND) as u64;
    in_a_turn.clamp(1, REQUESTS)
}

/// What Locust says of a run, and what the servers had of the processors.
pub struct Run {
    /// Requests in a second.
    pub rate: f64,
    /// Percentiles of Locust's times.
    pub p50_ms: f64,
    /// The same.
    pub p99_ms: f64,
    /// The same.
    pub p999_ms: f64,
    /// Answers other than 2xx.
    pub failures: u64,
    /// Of failures, with how often each was; empty if there was none.
    pub kinds: String,
    /// Its own.
    pub locust_seconds_for_a_million: f64,
    /// Of each of the server's processes.
    pub cpu: Vec<Cpu>,
}

/// So many requests, one event each, of so many users, all of whom begin at once; `also` are further options of
/// `scripts/locust`.
///
/// # Errors
/// Locust has sent fewer, or says nothing.
pub fn run(server: &Server, users: usize, requests: u64, also: &[&str]) -> anyhow::Result<Run> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/locust");
    let file = NamedTempFile::new().context("a file for Locust's summary")?;
    let (host, users) = (format!("http://{}", server.address), users.to_string());
    let before = server.cpu()?;
    let output = Command::new(&script)
        .args(["--host", &host, "--requests", &requests.to_string()])
        .args(["--users", &users, "--spawn-rate", &users, "--summary"])
        .arg(file.path())
        .args(also)
        .stdin(Stdio::null())
        .output()
        .with_context(|| script.display().to_string())?;
    let spent: Vec<Cpu> = server
        .cpu()?
        .into_iter()
        .zip(before)
        .map(|(after, before)| after.since(before))
        .collect();
    // Its status is 1 where a request failed, which is a figure; without a summary there is none.
    let summary: Value =
        serde_json::from_str(&fs::read_to_string(file.path())?).with_context(|| {
            let said = String::from_utf8_lossy(&output.stderr);
            format!("Locust gave no figures ({}): {said}", output.status)
        })?;
    let number = |name: &str| {
        let value = summary[name].as_f64();
        value.with_context(|| format!("no number {name} in Locust's summary: {summary}"))
    };
    let answered = number("requests")? as u64;
    ensure!(
        answered == requests,
        "Locust stopped after {answered} of {requests} requests"
    );
    let failures = number("failures")? as u64;
    Ok(Run {
        rate: number("requests_per_second")?,
        p50_ms: number("p50_ms")?,
        p99_ms: number("p99_ms")?,
        p999_ms: number("p99_9_ms")?,
        failures,
        kinds: match failures {
            0 => String::new(),
            _ => summary["failures_by_kind"].to_string(),
        },
        locust_seconds_for_a_million: number("cpu_seconds")? / requests as f64 * 1e6,
        cpu: spent,
    })
}
