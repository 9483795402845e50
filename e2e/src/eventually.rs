//! Waiting for what takes its time.

use std::time::{Duration, Instant};

/// How long anything may take before a test gives up. Never waited for in full unless it fails.
pub const DEADLINE: Duration = Duration::from_secs(45);

const PAUSE_FIRST: Duration = Duration::from_millis(10);
const PAUSE_LAST: Duration = Duration::from_millis(250);

/// Probes until the answer is `Ok`; at the deadline, panics with the last answer that was not.
pub async fn eventually<T, F>(what: &str, mut probe: F) -> T
where
    F: AsyncFnMut() -> Result<T, String>,
{
    let began = Instant::now();
    let mut pause = PAUSE_FIRST;
    loop {
        let why = match probe().await {
            Ok(answer) => return answer,
            Err(why) => why,
        };
        assert!(
            began.elapsed() < DEADLINE,
            "after {DEADLINE:?}, not yet {what}: {why}"
        );
        tokio::time::sleep(pause).await;
        pause = (pause * 3 / 2).min(PAUSE_LAST);
    }
}

/// [`eventually`] for a condition that says it all.
pub async fn once<F>(what: &str, mut holds: F)
where
    F: AsyncFnMut() -> bool,
{
    eventually(what, async || {
        if holds().await {
            Ok(())
        } else {
            Err("it is not so".into())
        }
    })
    .await;
}
