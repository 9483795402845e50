//! What Redis shows, read as any dashboard would: by the names of the keys.

use std::collections::{BTreeMap, HashMap};

use aguacero::{config::Stream, ledger};
use bson::{Bson, Document};
use redis::aio::MultiplexedConnection;
use tokio::sync::Mutex;

use crate::eventually;

/// The figures of one stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shown {
    /// Events in all.
    pub total: i64,
    /// For each counter, what each key counts.
    pub counters: BTreeMap<String, BTreeMap<String, i64>>,
    /// For each counter that has any, what counts as overflow.
    pub overflow: BTreeMap<String, i64>,
}

/// A logical database of Redis.
pub struct Redis {
    client: redis::Client,
    /// None after it broke.
    connection: Mutex<Option<MultiplexedConnection>>,
}

impl Redis {
    /// Connects.
    pub async fn open(url: &str) -> Self {
        Self::with(&aguacero::config::Redis::at(url)).await
    }

    /// The same by TLS and with a user, if `access` says so.
    pub async fn with(access: &aguacero::config::Redis) -> Self {
        let redis = Self {
            client: ledger::client(access).expect("a client of Redis"),
            connection: Mutex::default(),
        };
        redis.ask::<String>(&redis::cmd("PING")).await;
        redis
    }

    /// A number that nobody else gets from it.
    pub(crate) async fn next(&self, counter: &str) -> u32 {
        self.ask(redis::cmd("INCR").arg(counter)).await
    }

    /// Empties this database, and no other.
    pub async fn flush(&self) {
        self.ask::<()>(&redis::cmd("FLUSHDB")).await;
    }

    /// Lets the whole server refuse every write for want of memory, or take them again.
    pub async fn set_full(&self, is_full: bool) {
        let bytes = u8::from(is_full); // 0 is no bound
        let mut command = redis::cmd("CONFIG");
        self.ask::<()>(command.arg("SET").arg("maxmemory").arg(bytes))
            .await;
    }

    /// Lets the whole server refuse every write since it has no replica, or take them again.
    pub async fn set_alone(&self, is_alone: bool) {
        let replicas = u8::from(is_alone);
        let mut command = redis::cmd("CONFIG");
        let command = command.arg("SET").arg("min-replicas-to-write");
        self.ask::<()>(command.arg(replicas)).await;
    }

    /// Makes the whole server a replica of nobody, which takes no writes, or its own again. It keeps what it has.
    pub async fn set_replica(&self, is_replica: bool) {
        let of = if is_replica {
            ["127.0.0.1", "1"]
        } else {
            ["NO", "ONE"]
        };
        self.ask::<()>(redis::cmd("REPLICAOF").arg(&of)).await;
    }

    /// Every key of a stream.
    pub async fn keys_of(&self, stream: &Stream) -> Vec<String> {
        let mut keys: Vec<String> = self
            .ask(redis::cmd("KEYS").arg(format!("{{{}}}:*", stream.name)))
            .await;
        keys.sort();
        keys
    }

    /// Deletes a key.
    pub async fn delete(&self, key: &str) {
        self.ask::<i64>(redis::cmd("DEL").arg(key)).await;
    }

    /// What has taken the server longest since it started: milliseconds, and the beginning of the command.
    pub async fn slowest(&self) -> Option<(f64, String)> {
        type Entry = (i64, i64, i64, Vec<Vec<u8>>, redis::Value, redis::Value);
        let entries: Vec<Entry> = self.ask(redis::cmd("SLOWLOG").arg("GET").arg(-1)).await;
        let (_, _, micros, command, ..) = entries.into_iter().max_by_key(|entry| entry.2)?;
        let words = command
            .iter()
            .take(6)
            .map(|word| String::from_utf8_lossy(word));
        Some((micros as f64 / 1000.0, words.collect::<Vec<_>>().join(" ")))
    }

    /// Makes what is shown of a stream wrong, as nobody of ours would.
    pub async fn spoil(&self, stream: &Stream) {
        let total = format!("{{{}}}:total", stream.name);
        self.ask::<i64>(redis::cmd("HINCRBY").arg(total).arg("events").arg(1000))
            .await;
        for counter in &stream.counters {
            let hash = format!("{{{}}}:{}", stream.name, counter.name);
            self.ask::<i64>(redis::cmd("HINCRBY").arg(hash).arg("nonsense").arg(5))
                .await;
        }
    }

    /// One figure of a hash, such as that of `Chile` in `{weather}:by_country`.
    pub async fn figure(&self, hash: &str, field: &str) -> Option<i64> {
        self.ask(redis::cmd("HGET").arg(hash).arg(field)).await
    }

    /// What is shown of a stream.
    pub async fn shown(&self, stream: &Stream) -> Shown {
        let hash = |name: &str| format!("{{{}}}:{name}", stream.name);
        let total = self.figure(&hash("total"), "events").await;
        let mut shown = Shown {
            total: total.unwrap_or(0),
            ..Shown::default()
        };
        shown.overflow = self.ask(redis::cmd("HGETALL").arg(hash("overflow"))).await;
        for counter in &stream.counters {
            let counts: BTreeMap<String, i64> = self
                .ask(redis::cmd("HGETALL").arg(hash(&counter.name)))
                .await;
            shown.counters.insert(counter.name.clone(), counts);
        }
        shown
    }

    /// Up to which offset each partition is settled: `incarnation/partition` → offset.
    pub async fn watermarks(&self, stream: &Stream) -> HashMap<String, i64> {
        self.ask(redis::cmd("HGETALL").arg(format!("{{{}}}:watermark", stream.name)))
            .await
    }

    /// The positions that have entries which are not settled, with the last offset of each entry.
    pub async fn pending(&self, stream: &Stream) -> BTreeMap<String, Vec<i64>> {
        let set = format!("{{{}}}:pending", stream.name);
        let positions: Vec<String> = self.ask(redis::cmd("HKEYS").arg(&set)).await;
        let mut pending = BTreeMap::new();
        for position in positions {
            let mut command = redis::cmd("ZRANGE");
            command
                .arg(format!("{set}:{position}"))
                .arg(0)
                .arg(-1)
                .arg("WITHSCORES");
            let entries: Vec<(Vec<u8>, i64)> = self.ask(&command).await;
            pending.insert(
                position,
                entries.into_iter().map(|(_, last)| last).collect(),
            );
        }
        pending
    }

    /// Asks until it answers: it may have been killed since.
    async fn ask<T: redis::FromRedisValue>(&self, command: &redis::Cmd) -> T {
        eventually("Redis answers", async || {
            let mut open = self.connection.lock().await;
            let answer = match open.take() {
                Some(connection) => Ok(connection),
                None => self.connect().await,
            };
            let mut connection = answer.map_err(|e| e.to_string())?;
            let answer = command.query_async(&mut connection).await;
            let answer = answer.map_err(|e| e.to_string())?;
            *open = Some(connection);
            Ok(answer)
        })
        .await
    }

    async fn connect(&self) -> redis::RedisResult<MultiplexedConnection> {
        let config =
            redis::AsyncConnectionConfig::new().set_response_timeout(Some(crate::DEADLINE));
        let connecting = self
            .client
            .get_multiplexed_async_connection_with_config(&config);
        connecting.await
    }
}

impl Shown {
    /// What should be shown of these documents, if every counter has room for every key.
    #[must_use]
    pub fn of(stream: &Stream, documents: &[Document]) -> Self {
        let mut shown = Self {
            total: documents.len() as i64,
            ..Self::default()
        };
        for counter in &stream.counters {
            let counts = shown.counters.entry(counter.name.clone()).or_default();
            for document in documents {
                let values: Option<Vec<String>> = counter
                    .by
                    .iter()
                    .map(|&by| text(stream, by, document))
                    .collect();
                match values.as_deref() {
                    None => {}
                    Some([only]) => *counts.entry(only.clone()).or_default() += 1,
                    Some(several) => {
                        let escaped = several
                            .iter()
                            .map(|v| v.replace('\\', "\\\\").replace('|', "\\|"));
                        *counts
                            .entry(escaped.collect::<Vec<_>>().join("|"))
                            .or_default() += 1;
                    }
                }
            }
        }
        shown
    }

    /// What is wrong with this, if the archive holds what `truth` counts: the total must be equal, and so
    /// must each key shown by name; the overflow has the rest. A field at zero is wrong too: it takes the
    /// room of a key that counts.
    pub fn compare(&self, truth: &Self) -> Result<(), String> {
        if self.total != truth.total {
            return Err(format!(
                "total is {}, the archive holds {}",
                self.total, truth.total
            ));
        }
        if let Some((name, _)) = self.overflow.iter().find(|(_, count)| **count == 0) {
            return Err(format!("{name}: the overflow is shown, and is 0"));
        }
        for (name, counts) in &self.counters {
            let all = &truth.counters[name];
            for (key, count) in counts {
                if *count == 0 {
                    return Err(format!("{name}: {key:?} is shown, and is 0"));
                }
                let archived = all.get(key).copied().unwrap_or(0);
                if *count != archived {
                    return Err(format!(
                        "{name}: {key:?} is {count}, the archive holds {archived}"
                    ));
                }
            }
            let shown: i64 = counts.values().sum::<i64>() + self.overflow.get(name).unwrap_or(&0);
            let archived: i64 = all.values().sum();
            if shown != archived {
                return Err(format!(
                    "{name}: the sum over all keys is {shown}, the archive holds {archived}"
                ));
            }
        }
        Ok(())
    }
}

/// The text of declared field `field`, whichever of its names the document uses.
fn text(stream: &Stream, field: usize, document: &Document) -> Option<String> {
    let value = stream.fields[field]
        .names
        .iter()
        .find_map(|name| document.get(name))?;
    match value {
        Bson::String(text) => Some(text.clone()),
        Bson::Boolean(b) => Some(b.to_string()),
        Bson::Int32(n) => Some(n.to_string()),
        Bson::Int64(n) => Some(n.to_string()),
        Bson::Decimal128(n) => Some(n.to_string()),
        Bson::Double(n) => Some(n.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(total: i64, counts: &[(&str, i64)], overflow: &[(&str, i64)]) -> Shown {
        let of = |counts: &[(&str, i64)]| {
            let counts = counts.iter().map(|(key, n)| ((*key).to_owned(), *n));
            counts.collect::<BTreeMap<_, _>>()
        };
        Shown {
            total,
            counters: BTreeMap::from([("by_key".to_owned(), of(counts))]),
            overflow: of(overflow),
        }
    }

    #[test]
    fn a_field_at_zero_is_wrong() {
        let truth = shown(3, &[("a", 1), ("b", 2)], &[]);
        assert_eq!(truth.compare(&truth), Ok(()));
        let overflowed = shown(3, &[("b", 2)], &[("by_key", 1)]);
        assert_eq!(overflowed.compare(&truth), Ok(()));
        for ghostly in [
            shown(3, &[("a", 1), ("b", 2), ("c", 0)], &[]),
            shown(3, &[("a", 1), ("b", 2)], &[("by_key", 0)]),
        ] {
            assert!(ghostly.compare(&truth).is_err(), "{ghostly:?}");
        }
    }
}
