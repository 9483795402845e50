//! How a ledger stands, read in one call.

use redis::{FromRedisValue, ParsingError, Value, aio::ConnectionLike};

use super::{
    LedgerError, Position,
    clear::ANY,
    pack,
    script::{LOOK, fingerprint, tag},
};
use crate::config::Stream;

/// How a stream's ledger stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Look {
    /// Told apart from the count before; empty before the first, and `*` where it cannot be read.
    pub generation: String,
    /// The part that is not as it was left: Redis has lost it, or somebody else has changed it.
    pub damage: Option<String>,
    /// Why somebody has asked to count the stream anew, see [`want_recount()`].
    pub recount: Option<String>,
    /// The archive that it was counted from, as [`super::settle()`] was told.
    pub origin: Option<String>,
    /// Every ledger that Redis holds for the stream, with a watermark or with pending entries: also those
    /// of topics that are gone, which somebody should close at [`super::END`].
    pub positions: Vec<Position>,
    /// Of each position that was asked for, in their order.
    pub of: Vec<Standing>,
    /// Pending entries of all positions.
    pub pending: u64,
}

/// How one position stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Standing {
    /// The last settled offset: none where nothing is settled, or where Redis was emptied.
    pub watermark: Option<i64>,
    /// Where the first pending entry ends.
    pub pending: Option<i64>,
    /// Events that are settled.
    pub events: Option<u64>,
}

/// Looks at the stream's ledger, and at `positions` of it. One round trip.
pub async fn look(
    con: &mut impl ConnectionLike,
    stream: &Stream,
    positions: &[Position],
) -> Result<Look, LedgerError> {
    let ours = fingerprint(stream);
    let mut call = LOOK.key(tag(stream));
    call.arg(&ours).arg(pack::counters(stream));
    for position in positions {
        call.arg(position.to_string());
    }
    let answer = match call.invoke_async(con).await {
        Err(error) if is_wrong_type(&error) => {
            return Ok(Look {
                generation: ANY.into(),
                damage: Some("the type of a key".into()),
                ..Look::default()
            });
        }
        answer => answer?,
    };
    match answer {
        Answer::Look(look) => Ok(look),
        Answer::Fingerprint(found) if found.len() != ours.len() => Ok(Look {
            generation: ANY.into(),
            damage: Some("meta".into()),
            ..Look::default()
        }),
        Answer::Fingerprint(found) => Err(LedgerError::Fingerprint {
            stream: stream.name.clone(),
            found,
            ours,
        }),
    }
}

/// Whether a key holds something else than what the scripts have put there.
fn is_wrong_type(error: &redis::RedisError) -> bool {
    error.code() == Some("WRONGTYPE") || error.detail().is_some_and(|d| d.contains("WRONGTYPE"))
}

/// Asks whoever keeps the ledger to count the stream anew: nothing is settled any more until that was done.
/// It is written into Redis, so that it is not forgotten with this process.
pub async fn want_recount(
    con: &mut impl ConnectionLike,
    stream: &Stream,
    why: &str,
) -> Result<(), LedgerError> {
    Ok(redis::cmd("HSETNX")
        .arg(format!("{}:meta", tag(stream)))
        .arg("recount")
        .arg(why)
        .query_async(con)
        .await?)
}

enum Answer {
    Look(Look),
    Fingerprint(String),
}

impl FromRedisValue for Answer {
    fn from_redis_value(value: Value) -> Result<Self, ParsingError> {
        let answer: Vec<Value> = FromRedisValue::from_redis_value(value)?;
        let mut answer = answer.into_iter();
        let mut text = || -> Result<String, ParsingError> {
            FromRedisValue::from_redis_value(answer.next().unwrap_or(Value::Nil))
        };
        if text()? == "fingerprint" {
            return Ok(Self::Fingerprint(text()?));
        }
        let some = |text: String| Some(text).filter(|text| !text.is_empty());
        let (generation, damage) = (text()?, some(text()?));
        let (recount, origin) = (some(text()?), some(text()?));
        let lists = [answer.next(), answer.next()].map(|list| list.unwrap_or(Value::Nil));
        let pending = String::from_redis_value(answer.next().unwrap_or(Value::Nil))?;
        let [positions, each] = lists.map(Vec::<String>::from_redis_value);
        let mut positions: Vec<_> = positions?
            .iter()
            .filter_map(|text| Position::parse(text))
            .collect();
        positions.sort();
        positions.dedup();
        let each = each?;
        let unreadable = |text: &&String| !text.is_empty() && text.parse::<i64>().is_err();
        let damage = damage.or_else(|| each.iter().find(unreadable).cloned());
        let standing = |of: &[String]| Standing {
            watermark: of[0].parse().ok(),
            pending: of[1].parse().ok(),
            events: of[2].parse().ok(),
        };
        Ok(Self::Look(Look {
            generation,
            damage,
            recount,
            origin,
            positions,
            of: each.chunks_exact(3).map(standing).collect(),
            pending: pending.parse().unwrap_or(0), // somebody else's doing: `damage` tells of it
        }))
    }
}
