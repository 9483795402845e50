//! Programs of many minutes that end at once, and cleanly, when they are told to.

use std::{future::Future, process::ExitCode};

use tokio::signal::unix::{SignalKind, signal};

/// The exit status of `work`; 128 and the signal's number if SIGINT or SIGTERM comes first. `work` is dropped then, and
/// a pipeline that is dropped takes its processes with it.
pub async fn unless_interrupted(work: impl Future<Output = ExitCode>) -> ExitCode {
    let mut terminated = signal(SignalKind::terminate()).expect("signals");
    tokio::select! {
        code = work => code,
        _ = tokio::signal::ctrl_c() => ExitCode::from(130),
        _ = terminated.recv() => ExitCode::from(143),
    }
}
