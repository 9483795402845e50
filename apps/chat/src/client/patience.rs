//! Waiting for a server that is away.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use tokio::time::Instant;

use super::folder::Folder;
use crate::{
    message::Registered,
    text::complain,
    transport::{Transport, Trouble},
};

/// After a cut: at first, and doubled up to the second.
pub(super) const AGAIN_AFTER: [Duration; 2] =
    [Duration::from_millis(50), Duration::from_millis(800)];

/// Says once that the server is waited for, and then that it is there: there is no prompt yet.
pub(super) async fn register(
    transport: &dyn Transport,
    folder: &Folder,
    patience: Duration,
) -> Result<Registered, Trouble> {
    let (last, is_waiting) = (folder.received.last(), AtomicBool::new(false));
    let place = transport.place();
    let registered = patiently(patience, async || {
        let registered = transport
            .register(&folder.name, folder.registration, folder.log, last)
            .await;
        if let Err(Trouble::Away(why)) = &registered
            && !is_waiting.swap(true, Ordering::Relaxed)
        {
            complain(&format!(
                "waiting for the server at {place} for {} s ({why})",
                patience.as_secs()
            ));
        }
        registered
    })
    .await;
    if registered.is_ok() && is_waiting.into_inner() {
        complain(&format!("the server at {place} is there"));
    }
    registered
}

/// Asks until there is an answer.
///
/// # Errors
/// It was refused, or nobody has answered within this time.
pub async fn patiently<T>(
    patience: Duration,
    ask: impl AsyncFn() -> Result<T, Trouble>,
) -> Result<T, Trouble> {
    let deadline = Instant::now() + patience;
    let mut pause = AGAIN_AFTER[0];
    loop {
        match ask().await {
            Err(Trouble::Away(_)) if Instant::now() + pause < deadline => {
                tokio::time::sleep(pause).await
            }
            answered => return answered,
        }
        pause = (pause * 2).min(AGAIN_AFTER[1]);
    }
}
