//! Logs on standard error, metrics for Prometheus.

use std::{io::IsTerminal, sync::OnceLock};

use metrics::{describe_gauge, gauge};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

use crate::process;

/// Seconds: from 100 µs, which a lone event takes on one machine, to the longest deadline.
const SECONDS: &[f64] = &[
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0, 30.0,
];

/// Bytes of a slab.
const BYTES: &[f64] = &[
    256.0,
    1024.0,
    4096.0,
    16_384.0,
    65_536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
];

/// Always 1; its labels say which process this is, and of which release.
const BUILD_INFO: &str = "aguacero_build_info";

/// Records in a batch.
const RECORDS: &[f64] = &[
    1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0,
];

/// Starts logging for `process`. The level comes from `AGUACERO_LOG` (default `info`); lines are
/// JSON when standard error is not a terminal. Metrics are kept from here on.
pub fn init(process: &'static str) {
    let filter = EnvFilter::try_from_env("AGUACERO_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    let started = if std::io::stderr().is_terminal() {
        log.compact().try_init()
    } else {
        log.json().flatten_event(true).with_target(false).try_init()
    };
    if started.is_ok() {
        tracing::info!(process, version = env!("CARGO_PKG_VERSION"), "starting");
    }
    metrics();
    describe_gauge!(
        BUILD_INFO,
        "Always 1: which process this is, and of which release"
    );
    gauge!(BUILD_INFO, "process" => process, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
}

/// What `/metrics` answers: what the process counts, and what the system knows of it.
#[must_use]
pub fn exposition() -> String {
    metrics().render() + &process::exposition()
}

/// What the process counts. The recorder is the process's own, so the first call installs it.
pub fn metrics() -> &'static PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE.get_or_init(|| {
        let builder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), SECONDS)
            .and_then(|b| b.set_buckets_for_metric(Matcher::Suffix("_records".into()), RECORDS))
            .and_then(|b| b.set_buckets_for_metric(Matcher::Suffix("_slab_bytes".into()), BYTES));
        let recorder = match builder {
            Ok(builder) => builder.build_recorder(),
            Err(_) => PrometheusBuilder::new().build_recorder(),
        };
        let handle = recorder.handle();
        if metrics::set_global_recorder(recorder).is_err() {
            tracing::warn!("another metrics recorder is installed: /metrics will be empty");
        }
        handle
    })
}
