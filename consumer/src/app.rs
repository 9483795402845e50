//! Build, then run: the admin port is bound before anything is asked of anybody.

use std::{net::SocketAddr, sync::Arc};

use aguacero::{admin::Admin, config::Config, essential::essential, shutdown::Shutdown};
use tokio::{sync::watch, task::JoinSet};

use crate::{
    archiver::Archiver,
    metric,
    periodic::{
        audit::Auditor, indices, kafka::Kafka, reconcile::Reconciler, redis_problems,
        undeclared_topics,
    },
    poll::{Assigned, Incarnations, poll},
    retry::RetryLimit,
    stores::{Claim, Stores},
};

/// How long the last counters may take to be settled after the archive has everything; what is left is
/// settled by whoever has the partitions next.
const SETTLE_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(2);

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
    let kafka = Kafka {
        config: config.clone(),
        topics: topics.clone(),
        incarnations: incarnations.clone(),
        assigned: assigned.clone(),
    };
    kafka.watch(&until_drained);
    let until = until_drained.clone();
    let undeclared = undeclared_topics::watch(config.clone(), topics, until.clone());
    tokio::spawn(essential("looking at undeclared topics", undeclared));
    let asking = redis_problems::watch(config.clone(), until);
    tokio::spawn(essential("looking at Redis", asking));
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
    let polled = poll(config, sink, incarnations, assigned_sender, shutdown).await;
    settler.idle(SETTLE_TIMEOUT).await;
    drained.fire();
    polled
}
