//! Whether Redis is such that it keeps the counters. The consumer goes on whatever it is: they are a view of the archive.

use std::sync::Arc;

use aguacero::{config::Config, redis_check, shutdown::Shutdown};

use crate::metric;

/// Looks every ten seconds until the shutdown.
pub async fn watch(config: Arc<Config>, shutdown: Shutdown) {
    tokio::select! {
        never = redis_check::watch(&config.redis, metric::REDIS_PROBLEM) => match never {},
        () = shutdown.requested() => {}
    }
}
