//! What endangers the counters in how a Redis is set, or in what it is: asked by `INFO` at start and every ten seconds.
//!
//! Nothing of it endangers an event: counters are a view of the archive, and what Redis has lost is counted anew.

use std::{collections::HashMap, convert::Infallible, time::Duration};

use redis::aio::MultiplexedConnection;

use crate::{
    conditions::{Condition, Conditions},
    config::Redis,
    ledger::{self, LedgerError},
};

/// What the log, and `/readyz`, say of such a Redis.
const ENDANGERS: &str = "Redis is not as the counters need it";
/// How often whoever watches looks again.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// Until the first look is tried again.
const RETRY_EVERY: Duration = Duration::from_secs(1);
/// A Redis that saves to disk or settles a lot takes its time.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(5);
/// What Redis says to a client that wants another database than 0 of a cluster.
const NO_SELECT: &str = "not allowed in cluster mode";

/// Something about a Redis that endangers the counters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What kind of problem: one of few words, which is the label of the gauge.
    pub kind: &'static str,
    /// What is wrong, what comes of it, and how to mend it.
    pub words: String,
    /// Nothing can be counted there at all, whatever it is set to.
    pub is_unsupported: bool,
}

/// Why the Redis is not supported, if it is not. Waits until it answers.
pub async fn unsupported(redis: &Redis) -> Option<String> {
    loop {
        match look(redis, &mut None).await {
            Ok(problems) => {
                let unsupported = problems.into_iter().find(|p| p.is_unsupported);
                return unsupported.map(|p| p.words);
            }
            Err(_) => tokio::time::sleep(RETRY_EVERY).await, // that it is away is told elsewhere
        }
    }
}

/// Looks until it is dropped, and tells what it finds. `gauge` is the name of the metric.
pub async fn watch(redis: &Redis, gauge: &'static str) -> Infallible {
    let mut conditions = Conditions::new(ENDANGERS, gauge);
    let mut connection = None;
    loop {
        match look(redis, &mut connection).await {
            Ok(problems) => conditions.hold(problems.into_iter().map(condition).collect()),
            Err(error) => {
                tracing::debug!(%error, "asking Redis what it is set to");
                connection = None;
                conditions.hold_still(); // Redis that is away is told elsewhere
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// What a Redis is, for somebody who reads it, and whether it is supported.
pub async fn explain(redis: &Redis) -> (String, bool) {
    let mut text = format!("Redis at {}\n", redis.address());
    match look(redis, &mut None).await {
        Ok(problems) => {
            for Problem {
                words,
                is_unsupported,
                ..
            } in &problems
            {
                let word = if *is_unsupported {
                    "REFUSED"
                } else {
                    "warning"
                };
                text += &format!("  {word} {words}\n");
            }
            if problems.is_empty() {
                text += "  ok      it keeps what it is given while it runs, and takes writes\n";
            }
            (text, !problems.iter().any(|p| p.is_unsupported))
        }
        Err(error) => (text + &format!("  {error}\n"), false),
    }
}

fn condition(problem: Problem) -> Condition {
    Condition {
        labels: vec![("problem", problem.kind.to_owned())],
        words: problem.words,
        value: 1.0,
    }
}

async fn look(
    redis: &Redis,
    connection: &mut Option<MultiplexedConnection>,
) -> Result<Vec<Problem>, LedgerError> {
    let connection = match connection {
        Some(connection) => connection,
        None => match ledger::connect(redis, RESPONSE_TIMEOUT).await {
            Ok(new) => connection.insert(new),
            Err(error) if error.to_string().contains(NO_SELECT) => return Ok(vec![cluster()]),
            Err(error) => return Err(error),
        },
    };
    // Without a section: Redis 6 takes one at most, and the default ones have all that is asked for.
    let info = redis::cmd("INFO").query_async::<String>(connection).await;
    match info {
        Ok(info) => Ok(judge(&info)),
        Err(error) if error.code() == Some("NOPERM") => Ok(vec![Problem {
            kind: "info",
            words: "its user may not ask for INFO, so that nobody notices whether it evicts keys, is a replica or cannot save. Grant it: ACL SETUSER … +info (scripts/rights)".into(),
            is_unsupported: false,
        }]),
        Err(error) => Err(error.into()),
    }
}

fn cluster() -> Problem {
    Problem {
        kind: "cluster",
        words: "it is a node of Redis Cluster, which is not supported: nodes answer MOVED, and nobody here follows. Name a Redis that is not a cluster in redis.url".into(),
        is_unsupported: true,
    }
}

/// What `INFO` tells of, in the words of Redis 6 and 7 and of Valkey.
fn judge(info: &str) -> Vec<Problem> {
    let fields = info.lines().filter_map(|line| line.trim().split_once(':'));
    let fields: HashMap<&str, &str> = fields.collect();
    let text = |name: &str| fields.get(name).copied().unwrap_or_default();
    let number = |name: &str| text(name).parse::<u64>().unwrap_or(0);
    let mut problems = Vec::new();
    let mut add = |kind, words: String| {
        problems.push(Problem {
            kind,
            words,
            is_unsupported: false,
        });
    };
    if matches!(text("role"), "slave" | "replica") {
        let (host, port) = (text("master_host"), text("master_port"));
        add(
            "replica",
            format!(
                "it is a replica of {host}:{port}: it takes no writes, or loses those that it takes when it is synchronised. Name the master in redis.url"
            ),
        );
    }
    let (policy, max) = (text("maxmemory_policy"), number("maxmemory"));
    if max > 0 && policy.starts_with("allkeys-") {
        add(
            "evicts",
            format!(
                "maxmemory-policy is {policy}: when {max} bytes are full it deletes keys, counters among them, which are wrong until they are counted anew. Set noeviction"
            ),
        );
    } else if max > 0 && policy.starts_with("volatile-") {
        add(
            "evicts-runs",
            format!(
                "maxmemory-policy is {policy}: when {max} bytes are full it deletes the keys by which a repeated frame of deltas is known, and that is shown twice until it is settled. Set noeviction"
            ),
        );
    } else if max > 0 && number("used_memory") >= max {
        add(
            "full",
            format!(
                "its {max} bytes of maxmemory are full: it takes no writes, and counters stand still. Give it more"
            ),
        );
    }
    if text("rdb_last_bgsave_status") == "err" {
        add(
            "save-failed",
            "its last save to disk failed: it takes no writes unless stop-writes-on-bgsave-error is no. Look at its log, and at its disk".into(),
        );
    }
    if text("aof_last_write_status") == "err" {
        add(
            "append-failed",
            "it cannot write to its append-only file, and takes no writes. Look at its log, and at its disk".into(),
        );
    }
    if text("cluster_enabled") == "1" {
        problems.push(cluster());
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(info: &str) -> Vec<&'static str> {
        judge(info).iter().map(|p| p.kind).collect()
    }

    #[test]
    fn each_answer_is_judged_by_what_it_does_to_the_counters() {
        let well = "# Server\r\nredis_version:7.0.15\r\n# Memory\r\nused_memory:1000\r\nmaxmemory:0\r\nmaxmemory_policy:noeviction\r\n# Replication\r\nrole:master\r\n# Persistence\r\nrdb_last_bgsave_status:ok\r\naof_last_write_status:ok\r\n# Cluster\r\ncluster_enabled:0\r\n";
        assert_eq!(kinds(well), [""; 0]);
        let but = |changes: &[(&str, &str)]| {
            let changed = |text: String, (from, to): &(&str, &str)| {
                assert!(text.contains(from), "{from}");
                text.replace(from, to)
            };
            kinds(&changes.iter().fold(well.to_owned(), changed))
        };
        let bounded = ("maxmemory:0", "maxmemory:2000");
        let policy = |policy| ("policy:noeviction", policy);
        assert_eq!(but(&[bounded]), [""; 0]);
        assert_eq!(but(&[policy("policy:allkeys-lru")]), [""; 0], "unbounded");
        assert_eq!(but(&[bounded, policy("policy:allkeys-lfu")]), ["evicts"]);
        assert_eq!(
            but(&[bounded, policy("policy:volatile-ttl")]),
            ["evicts-runs"]
        );
        assert_eq!(but(&[("maxmemory:0", "maxmemory:1000")]), ["full"]);
        assert_eq!(but(&[("role:master", "role:slave")]), ["replica"]);
        assert_eq!(
            but(&[("status:ok\r\naof", "status:err\r\naof")]),
            ["save-failed"]
        );
        assert_eq!(
            but(&[("write_status:ok", "write_status:err")]),
            ["append-failed"]
        );
        assert_eq!(but(&[("enabled:0", "enabled:1")]), ["cluster"]);
    }
}
