//! What the settings of topics do to what is promised: whatever deletes events before they are archived is told.

use std::sync::Arc;

use aguacero::{
    conditions::Conditions,
    config::Config,
    kafka::{self, Topics},
    shutdown::Shutdown,
};

use crate::{metric, poll::Incarnations};

/// Looks every ten seconds until the shutdown.
pub async fn watch(
    config: Arc<Config>,
    topics: Arc<Topics>,
    incarnations: Arc<Incarnations>,
    shutdown: Shutdown,
) {
    let mut conditions = Conditions::new(kafka::ENDANGERS, metric::TOPIC_SETTING);
    let views = incarnations.subscribe();
    while !shutdown.is_requested() {
        let mut found = views.borrow().topics.clone();
        match topics.settings(&config, &mut found).await {
            Ok(settings) => conditions.hold(kafka::conditions(&settings)),
            Err(_) => conditions.hold_still(), // Kafka that is away is told elsewhere
        }
        tokio::select! {
            () = tokio::time::sleep(kafka::LOOK_EVERY) => {}
            () = shutdown.requested() => {}
        }
    }
}
