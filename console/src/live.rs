//! What Redis shows of each stream, and how old the newest event of its archive is.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use aguacero::{
    config::{Config, Stream},
    ledger::{self, LedgerError},
    log_limiter,
};
use redis::{Pipeline, Value as Answer, aio::MultiplexedConnection};
use serde_json::{Value, json};

use crate::{
    metric::{self, From},
    mongo::{self, Mongo},
    text::cut,
    top::Top,
};

/// What the log says.
const UNREAD: &str = "the counters cannot be read";
/// How long Redis may take; what is shown is a second old at most.
const TIMEOUT: Duration = Duration::from_millis(900);
/// Keys that Redis reads in one step of a counter.
const STEP: usize = 500;
/// Samples that are kept: five minutes.
const SAMPLES: usize = 300;
/// Characters of a counter's key that are shown.
const KEY_CHARS: usize = 120;

/// Seconds since 1970 and each stream's total.
type Sample = (u64, Vec<i64>);

/// Samples, as long as somebody has looked.
#[derive(Debug, Clone, Default)]
pub struct History(Arc<Mutex<VecDeque<Sample>>>);

impl History {
    /// For each stream its samples, oldest first: `[[seconds, total], …]`.
    #[must_use]
    pub fn of(&self, config: &Config) -> Value {
        let samples = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of = |i: usize| -> Vec<(u64, i64)> {
            samples
                .iter()
                .map(|(at, totals)| (*at, totals[i]))
                .collect()
        };
        let streams = config.streams.iter();
        streams
            .map(|stream| (stream.name.clone(), json!(of(stream.index))))
            .collect::<serde_json::Map<_, _>>()
            .into()
    }

    fn push(&self, at: u64, totals: Vec<i64>) {
        let mut samples = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while samples.len() >= SAMPLES || samples.front().is_some_and(|(first, _)| first + 300 < at)
        {
            samples.pop_front();
        }
        samples.push_back((at, totals));
    }
}

/// Reads for everybody.
pub struct Reader {
    config: Arc<Config>,
    mongo: Mongo,
    connection: Option<MultiplexedConnection>,
    /// Of each stream, of each counter.
    tops: Vec<Vec<Top>>,
    history: History,
}

/// What one stream shows.
struct Shown {
    total: i64,
    pending: i64,
    recount: Option<String>,
    overflow: HashMap<String, i64>,
    /// Of each counter.
    distinct: Vec<i64>,
}

impl Reader {
    /// Connects when it reads.
    #[must_use]
    pub fn new(config: Arc<Config>, mongo: Mongo, history: History) -> Self {
        let tops = |stream: &Stream| stream.counters.iter().map(|_| Top::default()).collect();
        Self {
            tops: config.streams.iter().map(tops).collect(),
            connection: None,
            config,
            mongo,
            history,
        }
    }

    /// All streams at this moment.
    pub async fn read(&mut self) -> Value {
        let (config, mongo) = (self.config.clone(), self.mongo.clone());
        let (shown, newest) = tokio::join!(self.shown(), newest(&config, &mongo));
        let at = mongo::now().as_secs();
        let newest_error = newest.as_ref().err().cloned();
        let newest = newest.unwrap_or_default();
        let (shown, error) = match shown {
            Ok(shown) => (shown, None),
            Err(error) => (Vec::new(), Some(error)),
        };
        if !shown.is_empty() {
            let totals = shown.iter().map(|s| s.total).collect();
            self.history.push(at, totals);
        }
        let streams: Vec<_> = config
            .streams
            .iter()
            .map(|stream| {
                let shown = shown.get(stream.index);
                json!({
                    "name": stream.name,
                    "total": shown.map(|s| s.total),
                    "pending": shown.map(|s| s.pending),
                    "recount": shown.and_then(|s| s.recount.as_ref()),
                    "newest_ms": newest.get(stream.index).copied().flatten(),
                    "counters": shown.map(|s| self.counters(stream, s)),
                })
            })
            .collect();
        json!({ "at": at, "redis": error, "mongodb": newest_error, "streams": streams })
    }

    fn counters(&self, stream: &Stream, shown: &Shown) -> Vec<Value> {
        let tops = self.tops[stream.index].iter();
        let counters = stream.counters.iter().zip(tops).zip(&shown.distinct);
        counters
            .map(|((counter, top), distinct)| {
                let keys: Vec<_> = top
                    .shown()
                    .into_iter()
                    .map(|(key, figure)| (cut(key, KEY_CHARS), figure))
                    .collect();
                json!({
                    "name": counter.name,
                    "top": keys,
                    "distinct": distinct,
                    "overflow": shown.overflow.get(&counter.name).copied().unwrap_or(0),
                })
            })
            .collect()
    }

    /// Of each stream; an error in words.
    async fn shown(&mut self) -> Result<Vec<Shown>, String> {
        metric::read(From::Redis);
        let read = tokio::time::timeout(TIMEOUT, self.try_shown()).await;
        let error = match read {
            Ok(Ok(shown)) => {
                log_limiter::ended(UNREAD, "");
                return Ok(shown);
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("Redis: no answer within {TIMEOUT:?}"),
        };
        metric::read_failed(From::Redis);
        log_limiter::repeated(UNREAD, "", &error);
        self.connection = None;
        self.tops.iter_mut().flatten().for_each(Top::forget);
        Err(error)
    }

    async fn try_shown(&mut self) -> Result<Vec<Shown>, LedgerError> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            None => {
                let new = ledger::connect(&self.config.redis, TIMEOUT).await?;
                self.connection.insert(new)
            }
        };
        let mut pipeline = redis::pipe();
        let mut again = Vec::new();
        for (stream, tops) in self.config.streams.iter().zip(&self.tops) {
            again.push(ask(&mut pipeline, stream, tops));
        }
        let answers: Vec<Answer> = pipeline.query_async(connection).await?;
        let mut answers = answers.into_iter();
        let each = self.config.streams.iter().zip(&mut self.tops).zip(again);
        let shown = each.map(|((stream, tops), again)| take(&mut answers, stream, tops, again));
        Ok(shown.collect::<Result<_, redis::RedisError>>()?)
    }
}

/// Asks for a stream; returns the keys of each counter whose figures are asked for by name.
fn ask(pipeline: &mut Pipeline, stream: &Stream, tops: &[Top]) -> Vec<Vec<String>> {
    let key = |name: &str| format!("{{{}}}:{name}", stream.name);
    pipeline
        .hget(key("total"), "events")
        .hgetall(key("overflow"))
        .cmd("HMGET")
        .arg(key("meta"))
        .arg(&["pending", "recount"]);
    let mut asked = Vec::new();
    for (counter, top) in stream.counters.iter().zip(tops) {
        let key = key(&counter.name);
        pipeline.hlen(&key);
        pipeline
            .cmd("HSCAN")
            .arg(&key)
            .arg(top.cursor())
            .arg("COUNT")
            .arg(STEP);
        let again = top.again();
        if !again.is_empty() {
            pipeline.cmd("HMGET").arg(&key).arg(&again);
        }
        asked.push(again);
    }
    asked
}

/// The reverse of [`ask`].
fn take(
    answers: &mut impl Iterator<Item = Answer>,
    stream: &Stream,
    tops: &mut [Top],
    again: Vec<Vec<String>>,
) -> Result<Shown, redis::RedisError> {
    let mut next = || answers.next().unwrap_or(Answer::Nil);
    let total: Option<i64> = redis::from_redis_value(next())?;
    let overflow = redis::from_redis_value(next())?;
    let (pending, recount): (Option<i64>, Option<String>) = redis::from_redis_value(next())?;
    let mut distinct = Vec::new();
    for ((_, top), keys) in stream.counters.iter().zip(tops).zip(again) {
        distinct.push(redis::from_redis_value(next())?);
        let (cursor, read): (u64, Vec<(String, i64)>) = redis::from_redis_value(next())?;
        let figures: Vec<Option<i64>> = match keys.is_empty() {
            true => Vec::new(),
            false => redis::from_redis_value(next())?,
        };
        top.step(cursor, read, keys.into_iter().zip(figures).collect());
    }
    Ok(Shown {
        total: total.unwrap_or(0),
        pending: pending.unwrap_or(0),
        recount,
        overflow,
        distinct,
    })
}

/// When the newest event of each stream's archive arrived, in milliseconds since 1970.
async fn newest(config: &Config, mongo: &Mongo) -> Result<Vec<Option<i64>>, String> {
    let each = config.streams.iter().map(|stream| mongo.newest(stream));
    mongo::counted(futures_util::future::try_join_all(each)).await
}
