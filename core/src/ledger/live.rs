//! What the redis-writer does: add deltas as soon as they come.

use std::borrow::Cow;

use redis::{
    ErrorKind, FromRedisValue, ParsingError, RedisResult, ServerErrorKind, Value,
    aio::ConnectionLike,
};

use super::{
    Entry, LedgerError, pack,
    script::{LIVE, fingerprint, tag},
};
use crate::{
    config::Stream,
    counts::{Counts, Deltas},
};

/// Keys that one call adds, in some milliseconds.
const KEYS_MAX: usize = 1000;
/// Calls that a part can take, so that each has a number of its own in the run: more than 1,000 keys in each
/// would be more than a frame has.
const CALLS_MAX: u64 = 4096;

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
/// A position has at most `pending_max` entries of its own; what comes then joins the newest, where a counter
/// names at most 1,000 keys. A part with many keys is several calls, each of which is applied once.
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
    let calls: Vec<usize> = parts
        .iter()
        .map(|part| add(&mut pipeline, pending_max, part))
        .collect();
    let mut answers: Vec<RedisResult<Answer>> = pipeline.query_async(con).await?;
    if answers.iter().any(lacks_script) {
        // Those that did run are known by their sequence.
        LIVE.load_async(con).await?;
        answers = pipeline.query_async(con).await?;
    }
    let mut answers = answers.into_iter();
    let one = |(part, calls): (&Part<'_>, usize)| {
        let of_part: Vec<_> = answers.by_ref().take(calls).collect();
        let outcomes = of_part.into_iter().map(|a| outcome(a, part.stream));
        outcomes
            .reduce(|a, b| Ok(a?.and(b?)))
            .unwrap_or(Ok(Applied::Repeated))
    };
    Ok(parts.iter().zip(calls).map(one).collect())
}

/// Adds the calls of a part, and says how many.
fn add(pipeline: &mut redis::Pipeline, pending_max: usize, part: &Part<'_>) -> usize {
    let mut calls: Vec<Vec<Vec<u8>>> = Vec::new();
    let mut room = 0;
    for entry in &part.entries {
        for piece in pieces(entry) {
            let keys = piece.deltas.keys() + 1;
            if keys > room || calls.is_empty() {
                calls.push(Vec::new());
                room = KEYS_MAX;
            }
            room = room.saturating_sub(keys);
            if let Some(call) = calls.last_mut() {
                call.push(pack::entry(part.stream, &piece));
            }
        }
    }
    for (i, entries) in calls.iter().enumerate() {
        let call = pipeline
            .cmd("EVALSHA")
            .arg(LIVE.get_hash())
            .arg(1)
            .arg(tag(part.stream));
        call.arg(fingerprint(part.stream))
            .arg(pack::counters(part.stream))
            .arg(hex(&part.run))
            .arg(part.sequence * CALLS_MAX + (i as u64).min(CALLS_MAX - 1))
            .arg(pending_max)
            .arg(entries);
    }
    calls.len()
}

/// An entry as it is, or in pieces that one call can add: the same ones each time, whatever the order of the
/// keys in the maps is. The first has the events.
fn pieces(entry: &Entry) -> Vec<Cow<'_, Entry>> {
    if entry.deltas.keys() < KEYS_MAX {
        return vec![Cow::Borrowed(entry)];
    }
    let none = vec![Counts::default(); entry.deltas.counters.len()];
    let counters = entry.deltas.counters.iter().enumerate();
    let mut all: Vec<_> = counters
        .flat_map(|(i, counts)| counts.iter().map(move |(key, n)| (i, key, *n)))
        .collect();
    all.sort_unstable();
    let piece = |(nth, keys): (usize, &[(usize, &String, u64)])| {
        let mut counters = none.clone();
        for (i, key, n) in keys {
            counters[*i].insert((*key).clone(), *n);
        }
        Cow::Owned(Entry {
            deltas: Deltas {
                events: if nth == 0 { entry.deltas.events } else { 0 },
                counters,
            },
            ..entry.clone()
        })
    };
    all.chunks(KEYS_MAX - 1).enumerate().map(piece).collect()
}

impl Applied {
    /// What became of both.
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Repeated, other) | (other, Self::Repeated) => other,
            (
                Self::Now {
                    pending,
                    merged,
                    settled,
                },
                Self::Now {
                    pending: p,
                    merged: m,
                    settled: s,
                },
            ) => Self::Now {
                pending: pending + p,
                merged: merged + m,
                settled: settled + s,
            },
        }
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
