//! Every second: has every archive its indices? Whoever drops one, or a collection or the database, takes them away
//! from under the queries that count what is archived.

use std::{sync::Arc, time::Duration};

use aguacero::shutdown::Shutdown;

use crate::archive::Archive;

const INTERVAL: Duration = Duration::from_secs(1);

/// Makes what is gone again, until the shutdown.
pub async fn watch(archive: Arc<Archive>, shutdown: Shutdown) {
    loop {
        let round = async {
            tokio::time::sleep(INTERVAL).await;
            archive.mend_indices().await;
        };
        tokio::select! {
            () = round => {}
            () = shutdown.requested() => return,
        }
    }
}
