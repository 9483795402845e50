//! The poll loop on a thread of its own, begun again where the group has put it out.

use std::{sync::Arc, time::Duration};

use aguacero::{
    config::Config,
    log_limiter,
    shutdown::{Shutdown, within},
};
use anyhow::Context as _;
use tokio::sync::{oneshot, watch};

use super::{Assigned, Incarnations, Poller};
use crate::sink::Sink;

/// How long the goodbye may take after what was in flight is finished: the last commit, and giving partitions back. It takes some
/// 0.2 s, also while Kafka is away; but librdkafka itself sets no end to it.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(10);

/// Pause before the group is joined again after a fatal error.
const REJOIN_AFTER: Duration = Duration::from_secs(1);

/// Reads from Kafka into `sink` until `shutdown`, and finishes what is in flight within `consumer.drain_timeout`.
/// Which partitions this process has is told by `assigned`.
pub async fn poll<S: Sink>(
    config: Arc<Config>,
    sink: Arc<S>,
    incarnations: Arc<Incarnations>,
    assigned: watch::Sender<Assigned>,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    loop {
        let poller = Poller::new(
            config.clone(),
            sink.clone(),
            incarnations.clone(),
            assigned.clone(),
            shutdown.clone(),
        )?;
        let (ended_sender, ended) = oneshot::channel();
        std::thread::Builder::new()
            .name("poll".into())
            .spawn(move || _ = ended_sender.send(poller.run()))?;
        // A process whose poll loop is gone looks alive and archives nothing: it ends, loudly, and
        // whoever looks after it starts another.
        let leaving = config.consumer.drain_timeout + LEAVE_TIMEOUT;
        let Some(polled) = ended_or_overdue(ended, &shutdown, leaving).await? else {
            return Ok(());
        };
        match polled.map_err(|_| anyhow::anyhow!("the poll loop panicked: this is a bug"))? {
            // A broker that comes back can fence a member by its own repeated request to join.
            Err(error) if !shutdown.is_requested() => {
                let detail = format!("{error:#}");
                log_limiter::repeated("out of the group: joining again", "", &detail);
                tokio::time::sleep(REJOIN_AFTER).await;
            }
            result => return result,
        }
    }
}

/// What the poll thread has ended with; none if it has not, so long after the shutdown. It is left to end with the process.
async fn ended_or_overdue<T>(
    mut ended: oneshot::Receiver<T>,
    shutdown: &Shutdown,
    leaving: std::time::Duration,
) -> anyhow::Result<Option<T>> {
    let ended = tokio::select! {
        biased;
        ended = &mut ended => Some(ended),
        // What is not committed is read again, and archived once all the same.
        () = shutdown.requested() => within(leaving, "taking leave of the group", ended).await,
    };
    ended.transpose().context("the poll thread is gone")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_goodbye_without_an_end_is_left_after_its_time_and_not_before_the_shutdown() {
        let leaving = std::time::Duration::from_millis(20);
        let (trigger, shutdown) = Shutdown::new();
        let (_hangs, ended) = oneshot::channel::<()>();
        let mut waiting = std::pin::pin!(ended_or_overdue(ended, &shutdown, leaving));
        let before = tokio::time::timeout(5 * leaving, &mut waiting).await;
        assert!(before.is_err(), "nobody has asked it to end");
        let began = std::time::Instant::now();
        trigger.fire();
        assert_eq!(waiting.await.expect("not gone"), None);
        assert!(began.elapsed() >= leaving);
    }

    #[tokio::test]
    async fn what_the_poll_thread_ends_with_is_told_and_that_it_is_gone_is_an_error() {
        let (_trigger, shutdown) = Shutdown::new();
        let (sender, ended) = oneshot::channel();
        sender.send(7).expect("somebody listens");
        let leaving = std::time::Duration::ZERO;
        let told = ended_or_overdue(ended, &shutdown, leaving).await;
        assert_eq!(told.expect("it has ended"), Some(7));
        let (sender, ended) = oneshot::channel::<()>();
        drop(sender);
        assert!(ended_or_overdue(ended, &shutdown, leaving).await.is_err());
    }
}
