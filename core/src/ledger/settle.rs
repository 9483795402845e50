//! What the consumer does: make what is shown for a range of offsets equal to the archive.

use redis::{FromRedisValue, ParsingError, Value, aio::ConnectionLike};

use super::{
    END, LedgerError, Position, pack,
    script::{SETTLE, fingerprint, tag},
};
use crate::{config::Stream, counts::Deltas};

/// What [`settle()`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    /// The watermark is where it was asked for.
    Done,
    /// Nothing, because the watermark is not where the caller thought, but here: compute what the archive holds
    /// again from this offset.
    Found(Option<i64>),
    /// Nothing, because too much is pending for one call: settle up to this offset first.
    Step(i64),
    /// Nothing, because this part of the ledger was lost or changed by somebody else, or because it was
    /// asked for (`recount`): the stream has to be counted anew, see [`super::clear()`].
    Damaged(String),
    /// Nothing, because what Redis shows was counted from this other origin.
    Origin(String),
}

/// Moves the watermark of `position` from `from` (none: nothing was settled yet) to `to`: what the
/// redis-writer added for entries that end at or before `to` is taken out, and `archived` is added.
///
/// `archived` is what the archive holds for the offsets in `(from, to]` of that incarnation; `origin` names
/// that archive (none: whichever it is), and the first one that is settled from stays the ledger's. Only a
/// caller who knows the watermark can settle, so two consumers that both believe they own a
/// partition cannot count a range twice. It goes through even where Redis is full, since it makes room.
pub async fn settle(
    con: &mut impl ConnectionLike,
    stream: &Stream,
    position: &Position,
    (from, to): (Option<i64>, i64),
    archived: &Deltas,
    origin: Option<&str>,
) -> Result<Settled, LedgerError> {
    if !(0..=END).contains(&to) || from.is_some_and(|from| from >= to) {
        return Err(LedgerError::Range { from, to });
    }
    let ours = fingerprint(stream);
    let answer: Answer = SETTLE
        .key(tag(stream))
        .arg(&ours)
        .arg(pack::counters(stream))
        .arg(position.to_string())
        .arg(from.map(|from| from.to_string()).unwrap_or_default())
        .arg(to)
        .arg(pack::deltas(stream, archived))
        .arg(origin.unwrap_or_default())
        .invoke_async(con)
        .await?;
    match answer {
        Answer::Fingerprint(found) => Err(LedgerError::Fingerprint {
            stream: stream.name.clone(),
            found,
            ours,
        }),
        Answer::Settled(settled) => Ok(settled),
    }
}

enum Answer {
    Settled(Settled),
    Fingerprint(String),
}

impl FromRedisValue for Answer {
    fn from_redis_value(value: Value) -> Result<Self, ParsingError> {
        let words: Vec<Option<String>> = FromRedisValue::from_redis_value(value)?;
        let words: Vec<_> = words.iter().map(Option::as_deref).collect();
        let damaged = |_| Settled::Damaged("watermark".to_owned());
        Ok(Self::Settled(match words[..] {
            [Some("done")] => Settled::Done,
            [Some("found"), None] => Settled::Found(None),
            [Some("found"), Some(at)] => at
                .parse()
                .map_or_else(damaged, |at| Settled::Found(Some(at))),
            [Some("step"), Some(at)] => at.parse().map_or_else(damaged, Settled::Step),
            [Some("damaged"), Some(part)] => Settled::Damaged(part.to_owned()),
            [Some("origin"), Some(found)] => Settled::Origin(found.to_owned()),
            [Some("fingerprint"), Some(found)] => return Ok(Self::Fingerprint(found.to_owned())),
            _ => return Err(format!("settle.lua answered {words:?}").into()),
        }))
    }
}
