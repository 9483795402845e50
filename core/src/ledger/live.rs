//! What the redis-writer does: add deltas as soon as they come.

use redis::{
    ErrorKind, FromRedisValue, ParsingError, RedisResult, ServerErrorKind, Value,
    aio::ConnectionLike,
};

use super::{
    Entry, LedgerError, pack,
    script::{LIVE, fingerprint, tag},
};
use crate::config::Stream;

/// A stream's share of one frame of a gateway. It is applied whole or not at all, and once, however
/// often it is repeated.
#[derive(Debug, Clone)]
pub struct Part<'a> {
    /// Whose counters it adds to.
    pub stream: &'a Stream,
    /// The run of the gateway's worker that sent the frame.
    pub run: [u8; 16],
    /// The frame's number, rising within the run.
    pub sequence: u64,
    /// What it adds.
    pub entries: Vec<Entry>,
}

/// What became of a [`Part`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// It is shown, except for the entries that were settled already.
    Now {
        /// Entries that became pending.
        pending: u32,
        /// Entries that joined the newest pending one, because their position had no room for more.
        merged: u32,
        /// Entries that settle has counted, or will count: they begin at or before the watermark.
        settled: u32,
    },
    /// This frame, or a later one of the run, was seen before.
    Repeated,
}

/// Applies the parts in their order, in one pipeline: one round trip, one script for each part.
/// A position has at most `pending_max` entries of its own; what comes then joins the newest.
///
/// The outer error says that the outcome of all parts is unknown: do the same again. An inner one is
/// of that part alone.
pub async fn live(
    con: &mut impl ConnectionLike,
    pending_max: usize,
    parts: &[Part<'_>],
) -> Result<Vec<Result<Applied, LedgerError>>, LedgerError> {
    if parts.is_empty() {
        return Ok(Vec::new());
    }
    let mut pipeline = redis::Pipeline::with_capacity(parts.len());
    pipeline.ignore_errors();
    for part in parts {
        add(&mut pipeline, pending_max, part);
    }
    let mut answers: Vec<RedisResult<Answer>> = pipeline.query_async(con).await?;
    if answers.iter().any(lacks_script) {
        // Those that did run are known by their sequence.
        LIVE.load_async(con).await?;
        answers = pipeline.query_async(con).await?;
    }
    Ok(answers
        .into_iter()
        .zip(parts)
        .map(|(answer, part)| outcome(answer, part.stream))
        .collect())
}

fn add(pipeline: &mut redis::Pipeline, pending_max: usize, part: &Part<'_>) {
    let call = pipeline
        .cmd("EVALSHA")
        .arg(LIVE.get_hash())
        .arg(1)
        .arg(tag(part.stream));
    call.arg(fingerprint(part.stream))
        .arg(pack::counters(part.stream));
    call.arg(hex(&part.run)).arg(part.sequence).arg(pending_max);
    for entry in &part.entries {
        call.arg(pack::entry(part.stream, entry));
    }
}

fn lacks_script(answer: &RedisResult<Answer>) -> bool {
    answer
        .as_ref()
        .is_err_and(|e| e.kind() == ErrorKind::Server(ServerErrorKind::NoScript))
}

fn outcome(answer: RedisResult<Answer>, stream: &Stream) -> Result<Applied, LedgerError> {
    match answer? {
        Answer::Applied(applied) => Ok(applied),
        Answer::Fingerprint(found) => Err(LedgerError::Fingerprint {
            stream: stream.name.clone(),
            found,
            ours: fingerprint(stream),
        }),
    }
}

fn hex(run: &[u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(*run))
}

enum Answer {
    Applied(Applied),
    Fingerprint(String),
}

impl FromRedisValue for Answer {
    fn from_redis_value(value: Value) -> Result<Self, ParsingError> {
        let words: Vec<String> = FromRedisValue::from_redis_value(value)?;
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let number = |n: &str| {
            n.parse::<u32>()
                .map_err(|_| ParsingError::from(format!("{n:?} is no number")))
        };
        match words[..] {
            ["repeated"] => Ok(Self::Applied(Applied::Repeated)),
            ["applied", pending, merged, settled] => Ok(Self::Applied(Applied::Now {
                pending: number(pending)?,
                merged: number(merged)?,
                settled: number(settled)?,
            })),
            ["fingerprint", found] => Ok(Self::Fingerprint(found.to_owned())),
            _ => Err(format!("live.lua answered {words:?}").into()),
        }
    }
}
