//! Shutdown as a value that is passed in, so that a test can stop what it started.

use std::future::Future;

use tokio::sync::watch;

/// Tells when to stop. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Shutdown(watch::Receiver<bool>);

/// Stops whoever holds the [`Shutdown`]; dropping it does so too.
#[derive(Debug)]
pub struct Trigger(watch::Sender<bool>);

impl Shutdown {
    /// A shutdown and what fires it.
    #[must_use]
    pub fn new() -> (Trigger, Self) {
        let (sender, receiver) = watch::channel(false);
        (Trigger(sender), Self(receiver))
    }

    /// Returns once the shutdown was requested.
    pub async fn requested(&self) {
        // An error means that the trigger is gone: nobody could ask any more.
        _ = self.0.clone().wait_for(|fired| *fired).await;
    }

    /// [`Shutdown::requested`], for those who take a future of their own.
    pub async fn requested_owned(self) {
        self.requested().await;
    }

    /// Whether it was requested.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        *self.0.borrow() || self.0.has_changed().is_err()
    }
}

impl Trigger {
    /// Requests the shutdown. Again does nothing.
    pub fn fire(&self) {
        self.0.send_replace(true);
    }
}

/// A shutdown that SIGTERM or SIGINT request. Call it inside a runtime.
pub fn on_signals() -> std::io::Result<Shutdown> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    let (trigger, shutdown) = Shutdown::new();
    tokio::spawn(async move {
        let name = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        tracing::info!("{name}: draining");
        trigger.fire();
        std::future::pending::<()>().await; // the trigger lives as long as the runtime
    });
    Ok(shutdown)
}

/// Waits for `work`, but not beyond `deadline`; says what was left when it had to stop.
pub async fn within<T>(
    deadline: std::time::Duration,
    what: &str,
    work: impl Future<Output = T>,
) -> Option<T> {
    match tokio::time::timeout(deadline, work).await {
        Ok(done) => Some(done),
        Err(_) => {
            tracing::warn!("{what} did not finish within {deadline:?}");
            None
        }
    }
}
