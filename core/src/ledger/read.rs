//! What is read without a script.

use std::collections::HashMap;

use redis::aio::ConnectionLike;

use super::{
    LedgerError, Position,
    script::{fingerprint, tag},
};
use crate::config::Stream;

/// The watermark of each position, in their order: none where nothing is settled, or where Redis was
/// emptied. One round trip.
pub async fn watermarks(
    con: &mut impl ConnectionLike,
    stream: &Stream,
    positions: &[Position],
) -> Result<Vec<Option<i64>>, LedgerError> {
    if positions.is_empty() {
        return Ok(Vec::new());
    }
    let tag = tag(stream);
    let mut pipeline = redis::pipe();
    pipeline
        .hget(format!("{tag}:meta"), "counters")
        .cmd("HMGET")
        .arg(format!("{tag}:watermark"));
    for position in positions {
        pipeline.arg(position.to_string());
    }
    let (found, watermarks): (Option<String>, _) = pipeline.query_async(con).await?;
    ours(stream, found)?;
    Ok(watermarks)
}

/// Every ledger that Redis holds for the stream, with a watermark or with pending entries: also those
/// of topics that are gone, which somebody should close at [`super::END`]. One round trip.
pub async fn positions(
    con: &mut impl ConnectionLike,
    stream: &Stream,
) -> Result<Vec<Position>, LedgerError> {
    let tag = tag(stream);
    let (settled, pending): (Vec<String>, Vec<String>) = redis::pipe()
        .hkeys(format!("{tag}:watermark"))
        .smembers(format!("{tag}:pending"))
        .query_async(con)
        .await?;
    let mut positions: Vec<_> = settled
        .iter()
        .chain(&pending)
        .filter_map(|text| Position::parse(text))
        .collect();
    positions.sort();
    positions.dedup();
    Ok(positions)
}

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

fn ours(stream: &Stream, found: Option<String>) -> Result<(), LedgerError> {
    let ours = fingerprint(stream);
    match found {
        Some(found) if found != ours => Err(LedgerError::Fingerprint {
            stream: stream.name.clone(),
            found,
            ours,
        }),
        _ => Ok(()),
    }
}
