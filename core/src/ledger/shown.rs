//! What any reader of Redis sees.

use std::collections::HashMap;

use redis::aio::ConnectionLike;

use super::{LedgerError, script::tag};
use crate::config::Stream;

/// What Redis shows of a stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shown {
    /// Events in all.
    pub events: i64,
    /// For each counter, in the order of the declaration, its keys that have a field.
    pub counters: Vec<HashMap<String, i64>>,
    /// For each counter, what its other keys count.
    pub overflow: Vec<i64>,
}

/// Reads the figures as any other reader of Redis would, in one round trip. While frames come in, the
/// parts may be a frame apart (a transaction would not be, but a Redis that is full refuses those).
pub async fn shown(con: &mut impl ConnectionLike, stream: &Stream) -> Result<Shown, LedgerError> {
    let tag = tag(stream);
    let mut pipeline = redis::pipe();
    pipeline
        .hget(format!("{tag}:total"), "events")
        .hgetall(format!("{tag}:overflow"));
    for counter in &stream.counters {
        pipeline.hgetall(format!("{tag}:{}", counter.name));
    }
    let mut answers: std::vec::IntoIter<redis::Value> =
        pipeline.query_async::<Vec<_>>(con).await?.into_iter();
    let mut next = || answers.next().unwrap_or(redis::Value::Nil);
    let events: Option<i64> = redis::from_redis_value(next()).map_err(redis::RedisError::from)?;
    let overflow: HashMap<String, i64> =
        redis::from_redis_value(next()).map_err(redis::RedisError::from)?;
    let mut shown = Shown {
        events: events.unwrap_or(0),
        ..Shown::default()
    };
    for counter in &stream.counters {
        shown
            .counters
            .push(redis::from_redis_value(next()).map_err(redis::RedisError::from)?);
        shown
            .overflow
            .push(overflow.get(&counter.name).copied().unwrap_or(0));
    }
    Ok(shown)
}
