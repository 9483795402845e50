//! What endangers the counters in how a Redis is set is told; one that is not supported is refused.
//!
//! Each test has a problem of its own, since they share a process, and with it what `/readyz` says.

use std::time::Duration;

use tokio::time::timeout;

use crate::fixture::{OwnRedis, PATIENCE, Writer};

async fn says(writer: &Writer, words: &str, says: bool) {
    let told = async {
        while writer.admin("/readyz").await.contains(words) != says {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let told = timeout(PATIENCE, told).await;
    told.unwrap_or_else(|_| panic!("{words}: {says} is not told"));
}

#[tokio::test]
async fn a_redis_that_evicts_keys_is_told_until_it_does_not() {
    const WORDS: &str = "maxmemory-policy is allkeys-lru";
    let redis = OwnRedis::start().await;
    redis.config_set("maxmemory", "100mb").await;
    let writer = Writer::on(&redis.url(), 1_000).await;
    while !writer.is_ready().await {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    says(&writer, WORDS, false).await;
    redis.config_set("maxmemory-policy", "allkeys-lru").await;
    says(&writer, WORDS, true).await;
    assert!(writer.is_ready().await, "it does its work");
    redis.config_set("maxmemory-policy", "noeviction").await;
    says(&writer, WORDS, false).await;
}

#[tokio::test]
async fn a_redis_that_is_a_replica_is_told() {
    // The replica keeps what it is sent in a file.
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path().to_str().expect("a path of ours");
    let master = OwnRedis::start().await;
    let replica = OwnRedis::start_with(&["--dir", folder]).await;
    let port = master.port().to_string();
    replica
        .run(redis::cmd("REPLICAOF").arg("127.0.0.1").arg(&port))
        .await;
    let writer = Writer::on(&replica.url(), 1_000).await;
    says(&writer, &format!("a replica of 127.0.0.1:{port}"), true).await;
    replica
        .run(redis::cmd("REPLICAOF").arg("NO").arg("ONE"))
        .await;
    says(&writer, "a replica of", false).await;
}

#[tokio::test]
async fn a_redis_cluster_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path().to_str().expect("a path of ours");
    let arguments = ["--cluster-enabled", "yes", "--dir", folder];
    let redis = OwnRedis::start_with(&arguments).await;
    for database in [0, 3] {
        let url = redis.url().replace("/0", &format!("/{database}"));
        let writer = Writer::on(&url, 1_000).await;
        let ended = timeout(PATIENCE, writer.ended).await.expect("it ends");
        let why = ended.expect("no panic").expect_err("refused").to_string();
        assert!(
            why.contains("Redis Cluster, which is not supported"),
            "{why}"
        );
    }
}
