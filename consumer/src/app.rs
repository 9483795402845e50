//! Build, then run: the admin port is bound before anything is asked of anybody.

use std::{net::SocketAddr, sync::Arc};

use aguacero::{
    admin::Admin,
    config::Config,
    essential::essential,
    log_limiter,
    shutdown::{Shutdown, within},
};
use anyhow::Context as _;
use tokio::{
    sync::{oneshot, watch},
    task::JoinSet,
};

use crate::{
    archiver::Archiver,
    metric,
    periodic::{
        audit::Auditor, indices, lag, missed_partitions, reconcile::Reconciler, redis_problems,
        topic_settings, undeclared_topics,
    },
    poll::{Assigned, Incarnations, Poller},
    retry::RetryLimit,
    stores::{Claim, Stores},
};

/// How long the last counters may take to be settled after the archive has everything; what is left is
/// settled by whoever has the partitions next.
const SETTLE_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(2);

/// How long the goodbye may take after what was in flight is finished: the last commit, and giving partitions back. It takes some
/// 0.2 s, also while Kafka is away; but librdkafka itself sets no end to it.
const LEAVE_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(10);

/// Pause before the group is joined again after a fatal error.
const REJOIN_AFTER: std::time::Duration = std::time::Duration::from_secs(1);

/// A consumer whose admin port is bound.
pub struct App {
    config: Arc<Config>,
    admin: Admin,
}

impl App {
    /// Binds the admin port.
    pub async fn build(config: Config) -> anyhow::Result<Self> {
        let admin = Admin::bind(config.consumer.admin).await?;
        Ok(Self {
            config: Arc::new(config),
            admin,
        })
    }

    /// Where the admin port listens.
    #[must_use]
    pub fn admin_addr(&self) -> SocketAddr {
        self.admin.local_addr()
    }

    /// Waits for Kafka and MongoDB, then archives until `shutdown`, and finishes what is in
    /// flight within the deadline.
    pub async fn run(self, shutdown: Shutdown) -> anyhow::Result<()> {
        metric::describe(&self.config);
        let (ready_sender, ready) = watch::channel(false);
        let mut admin = JoinSet::new(); // ends with this function
        let serving = self.admin.serve(ready, shutdown.clone());
        admin.spawn(essential("the admin port", serving));

        let stores = tokio::select! {
            stores = Stores::connect(&self.config, RetryLimit::endless(), Claim::All) => stores?,
            () = shutdown.requested() => return Ok(()),
        };
        ready_sender.send_replace(true);
        tracing::info!(group = self.config.consumer.group, "archiving");
        consume(self.config, stores, shutdown).await
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

/// Starts every part, and returns when the poll loop has ended.
async fn consume(config: Arc<Config>, stores: Stores, shutdown: Shutdown) -> anyhow::Result<()> {
    let Stores {
        topics,
        cluster,
        described,
        archive,
        settler,
    } = stores;
    let names = config.topics.iter().map(|t| t.name.clone()).collect();
    let incarnations = Arc::new(Incarnations::new(topics.clone(), names, described));
    let (assigned_sender, assigned) = watch::channel(Assigned::default());

    // These end when the poll loop has, and not before: it still asks while it drains.
    let (drained, until_drained) = Shutdown::new();
    let watching = incarnations.clone().watch(until_drained.clone());
    tokio::spawn(essential("looking at the topics", watching));
    let (asking, ours, until) = (topics.clone(), assigned.clone(), until_drained.clone());
    let lagging = lag::watch(config.clone(), asking, ours, until);
    tokio::spawn(essential("looking at the lag", lagging));
    let (asking, until) = (topics.clone(), until_drained.clone());
    let undeclared = undeclared_topics::watch(config.clone(), asking, until);
    tokio::spawn(essential("looking at undeclared topics", undeclared));
    let until = until_drained.clone();
    let asking = redis_problems::watch(config.clone(), until.clone());
    tokio::spawn(essential("looking at Redis", asking));
    let (asking, known) = (topics.clone(), incarnations.clone());
    let judging = topic_settings::watch(config.clone(), asking, known, until.clone());
    tokio::spawn(essential("looking at the settings of topics", judging));
    let missed = missed_partitions::watch(config.clone(), topics, incarnations.clone(), until);
    tokio::spawn(essential("looking for missed partitions", missed));
    settler.owns(assigned.clone());
    let auditor = Auditor::new(archive.clone(), settler.clone(), assigned.clone());
    let auditing = auditor.run(until_drained.clone());
    tokio::spawn(essential("auditing the counters", auditing));
    let looking = indices::watch(archive.clone(), until_drained.clone());
    tokio::spawn(essential("looking at the indices", looking));
    let reconciler = Reconciler::new(
        cluster,
        archive.clone(),
        settler.clone(),
        incarnations.clone(),
        assigned,
    );
    let reconciling = reconciler.run(until_drained);
    tokio::spawn(essential(
        "comparing the counters with the archive",
        reconciling,
    ));

    let sink = Arc::new(Archiver::new(
        config.clone(),
        archive,
        settler.clone(),
        incarnations.clone(),
    ));
    let result = loop {
        let poller = Poller::new(
            config.clone(),
            sink.clone(),
            incarnations.clone(),
            assigned_sender.clone(),
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
            break Ok(());
        };
        match polled.map_err(|_| anyhow::anyhow!("the poll loop panicked: this is a bug"))? {
            // A broker that comes back can fence a member by its own repeated request to join.
            Err(error) if !shutdown.is_requested() => {
                let detail = format!("{error:#}");
                log_limiter::repeated("out of the group: joining again", "", &detail);
                tokio::time::sleep(REJOIN_AFTER).await;
            }
            result => break result,
        }
    };
    settler.idle(SETTLE_TIMEOUT).await;
    drained.fire();
    result
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
