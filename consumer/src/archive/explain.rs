//! What MongoDB has, for somebody who reads it: `consumer check --connect`.

use std::sync::Arc;

use aguacero::{config::Config, kafka::Topics};

use super::Archive;
use crate::retry::hosts;

/// Whether MongoDB answers, and whether the archives are this configuration's; the second part is false if a start
/// would be refused or would have to wait.
pub async fn explain(config: &Config) -> (String, bool) {
    let text = format!("MongoDB at {}\n", hosts(&config.mongodb.uri));
    match foreign(config).await {
        Ok(foreign) if foreign.is_empty() => {
            let ok = "  ok      it answers, and the archives are this configuration's\n";
            (text + ok, true)
        }
        Ok(foreign) => {
            let lines = foreign.iter().map(|words| format!("  REFUSED {words}\n"));
            (text + &lines.collect::<String>(), false)
        }
        Err(error) => (text + &format!("  {error:#}\n"), false),
    }
}

async fn foreign(config: &Config) -> anyhow::Result<Vec<String>> {
    let archive = Archive::new(Arc::new(config.clone())).await?;
    archive.ping().await?;
    // Kafka that does not answer is told beside this.
    match Topics::new(&config.kafka, "check")?.cluster().await {
        Ok(cluster) => Ok(archive.foreign(&cluster).await?),
        Err(_) => Ok(Vec::new()),
    }
}
