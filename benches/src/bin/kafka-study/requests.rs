//! The requests that brokers have answered, as they count them themselves: by Kafka's JmxTool.

use anyhow::{Context as _, ensure};
use tokio::process::Command;

use crate::brokers::Brokers;

const COUNTS: &str = "kafka.network:type=RequestMetrics,name=RequestsPerSec,*";

/// Of all brokers together.
pub(crate) struct Requests {
    /// Of producers.
    pub(crate) produce: u64,
    /// For events, of the brokers that follow.
    pub(crate) follower: u64,
}

impl Requests {
    /// Since the brokers were started.
    pub(crate) async fn so_far(brokers: &Brokers) -> anyhow::Result<Self> {
        let mut all = Self {
            produce: 0,
            follower: 0,
        };
        for (program, url) in brokers.management()? {
            let mut tool = Command::new(&program[0]);
            tool.args(["-XX:TieredStopAtLevel=1", "-Xmx64m"])
                .args(&program[1..])
                .args(["org.apache.kafka.tools.JmxTool", "--one-time"])
                .args(["--report-format", "properties", "--attributes", "Count"])
                .args(["--object-name", COUNTS, "--jmx-url", &url])
                .env_remove("JDK_JAVA_OPTIONS");
            let output = tool.output().await.context("JmxTool")?;
            ensure!(
                output.status.success(),
                "JmxTool: {}",
                String::from_utf8_lossy(&output.stderr)
            );
            let told = String::from_utf8_lossy(&output.stdout);
            all.produce += counted(&told, "Produce");
            all.follower += counted(&told, "FetchFollower");
        }
        Ok(all)
    }

    pub(crate) fn since(&self, before: &Self) -> Self {
        Self {
            produce: self.produce - before.produce,
            follower: self.follower - before.follower,
        }
    }
}

/// How many requests of a kind, of all its versions.
fn counted(told: &str, kind: &str) -> u64 {
    let of_kind = format!("request={kind},");
    let lines = told.lines().filter(|line| line.contains(&of_kind));
    lines
        .filter_map(|line| line.rsplit_once("Count=")?.1.parse::<u64>().ok())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_of_all_versions_of_a_kind_count() {
        let told = "time=1795920589636\n\
            kafka.network:type=RequestMetrics,name=RequestsPerSec,request=Fetch,version=18:Count=4\n\
            kafka.network:type=RequestMetrics,name=RequestsPerSec,request=FetchFollower,version=18:Count=3\n\
            kafka.network:type=RequestMetrics,name=RequestsPerSec,request=FetchFollower,version=17:Count=2\n";
        assert_eq!(counted(told, "FetchFollower"), 5);
        assert_eq!(counted(told, "Fetch"), 4);
        assert_eq!(counted(told, "Produce"), 0);
    }
}
