//! What is done to a gateway, as Kubernetes would do it, with `/readyz` watched.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::Process;

/// How long a gateway may take to end: more than its `drain_delay_ms` and `drain_timeout_ms` together.
const ENDED_MAX: Duration = Duration::from_secs(60);
/// Between two looks at it.
const PAUSE: Duration = Duration::from_millis(1);

/// What one restart took.
#[derive(Debug, Clone, Copy)]
pub struct Restart {
    /// From SIGTERM until `/readyz` said 503; none if it was not seen to.
    pub unready: Option<Duration>,
    /// From the last answer of `/readyz` to the end.
    pub silent: Duration,
    /// From SIGTERM to the end.
    pub ended: Duration,
    /// From the start to ready.
    pub ready: Duration,
}

/// SIGTERM, the end, and the same gateway again, until it is ready. Panics if it does not end well.
pub async fn restart(gateway: &mut Process) -> Restart {
    gateway.terminate();
    let began = Instant::now();
    let (mut unready, mut last) = (None, Duration::ZERO);
    while gateway.is_running() {
        let status = gateway.probe("/readyz").await;
        let now = began.elapsed();
        if status.is_some() {
            last = now;
        }
        if status == Some(503) {
            unready.get_or_insert(now);
        }
        assert!(now < ENDED_MAX, "{} does not end", gateway.name());
        sleep(PAUSE).await;
    }
    let ended = began.elapsed();
    let status = gateway.ended().await;
    assert!(status.success(), "{} ended with {status}", gateway.name());
    let began = Instant::now();
    gateway.start_ready().await;
    Restart {
        unready,
        silent: ended - last,
        ended,
        ready: began.elapsed(),
    }
}
