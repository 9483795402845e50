//! What the consumer does: make what is shown for a range of offsets equal to the archive.

use redis::{FromRedisValue, ParsingError, Value, aio::ConnectionLike};

use super::{
    END, LedgerError, Position, pack,
    script::{CLEAR, SETTLE, fingerprint, tag},
};
use crate::{config::Stream, counts::Deltas};

/// What [`settle()`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// The watermark is where it was asked for.
    Done,
    /// Nothing, because the watermark is not where the caller thought, but here: compute what the archive holds
    /// again from this offset.
    Found(Option<i64>),
}

/// Moves the watermark of `position` from `from` (none: nothing was settled yet) to `to`: what the
/// redis-writer added for entries that end at or before `to` is taken out, and `archived` is added.
///
/// `archived` is what the archive holds for the offsets in `(from, to]` of that incarnation. Only a
/// caller who knows the watermark can settle, so two consumers that both believe they own a
/// partition cannot count a range twice. It goes through even where Redis is full, since it makes room.
pub async fn settle(
    con: &mut impl ConnectionLike,
    stream: &Stream,
    position: &Position,
    from: Option<i64>,
    to: i64,
    archived: &Deltas,
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

/// Removes everything that Redis holds under the stream's tag (figures, pending entries, watermarks,
/// runs) and claims what comes for the caller's counters: the beginning of a rebuild, which then
/// settles every position from none. Deltas that arrive meanwhile are settled like any others.
pub async fn clear(con: &mut impl ConnectionLike, stream: &Stream) -> Result<(), LedgerError> {
    Ok(CLEAR
        .key(tag(stream))
        .arg(fingerprint(stream))
        .invoke_async(con)
        .await?)
}

enum Answer {
    Settled(Settled),
    Fingerprint(String),
}

impl FromRedisValue for Answer {
    fn from_redis_value(value: Value) -> Result<Self, ParsingError> {
        let words: Vec<Option<String>> = FromRedisValue::from_redis_value(value)?;
        let words: Vec<_> = words.iter().map(Option::as_deref).collect();
        match words[..] {
            [Some("done")] => Ok(Self::Settled(Settled::Done)),
            [Some("found"), None] => Ok(Self::Settled(Settled::Found(None))),
            [Some("found"), Some(at)] => match at.parse() {
                Ok(at) => Ok(Self::Settled(Settled::Found(Some(at)))),
                Err(_) => Err(format!("the watermark is no offset: {at:?}").into()),
            },
            [Some("fingerprint"), Some(found)] => Ok(Self::Fingerprint(found.to_owned())),
            _ => Err(format!("settle.lua answered {words:?}").into()),
        }
    }
}
