//! A stream on a real Redis, and short words for what happens to it.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use aguacero::{
    config::{Access, Counter, FieldNames, OnIdConflict, Partitioning, Redis, Spread, Stream},
    counts::Deltas,
    ledger::{self, Applied, Entry, LedgerError, Look, Part, Position, Settled},
};
use redis::aio::MultiplexedConnection;

/// Entries that a position may have pending in these tests.
pub(crate) const PENDING_MAX: usize = 4;

/// One stream's ledger.
#[derive(Clone)]
pub(crate) struct Ledger {
    pub(crate) con: MultiplexedConnection,
    pub(crate) stream: Stream,
}

/// Every key under the stream's tag, with its value.
pub(crate) type Dump = BTreeMap<Vec<u8>, Vec<u8>>;

/// A connection to the Redis that the tests were given.
pub(crate) async fn connect() -> MultiplexedConnection {
    let url = std::env::var("AGUACERO_REDIS_URL").expect(
        "these tests need a Redis and AGUACERO_REDIS_URL is not set: run `make test`, or `scripts/services run -- cargo test`",
    );
    ledger::connect(&Redis::at(&url), Duration::from_secs(20))
        .await
        .expect("the Redis of AGUACERO_REDIS_URL answers")
}

/// A counter of the first field.
pub(crate) fn counter(name: &str, max_distinct: usize, values: &[&str]) -> Counter {
    let values = values.iter().map(ToString::to_string).collect();
    Counter {
        name: name.to_owned(),
        by: vec![0],
        max_distinct,
        values,
    }
}

/// A stream that no other test and no earlier run has used.
pub(crate) fn stream(name: &str, counters: Vec<Counter>) -> Stream {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970")
        .as_nanos();
    Stream {
        index: 0,
        name: format!("{name}-{now:x}-{}", NEXT.fetch_add(1, Ordering::Relaxed)),
        topic: 0,
        archive: String::new(),
        spread: Spread {
            rules: Vec::new(),
            otherwise: Partitioning::Sticky,
        },
        id: None,
        fields: Vec::new(),
        names: FieldNames::default(),
        counters,
        counters_fingerprint: 7,
        routes: Vec::new(),
        access: Access::Open,
        cors: None,
        text_plain: None,
        on_id_conflict: OnIdConflict::default(),
        table: None,
    }
}

/// A position of the topic's first incarnation.
pub(crate) fn at(partition: i32) -> Position {
    Position {
        incarnation: "kf4Rz-_1Qs2uG7xJ0bT9cA".to_owned(),
        partition,
    }
}

/// Events with these keys, each counted under every counter.
pub(crate) fn deltas(stream: &Stream, keys: &[&str]) -> Deltas {
    let mut deltas = Deltas::none(stream);
    for key in keys {
        deltas.events += 1;
        for counts in &mut deltas.counters {
            *counts.entry((*key).to_owned()).or_default() += 1;
        }
    }
    deltas
}

/// What one frame of a run adds.
pub(crate) fn frame<'a>(
    ledger: &'a Ledger,
    run: u8,
    sequence: u64,
    entries: Vec<Entry>,
) -> Part<'a> {
    Part {
        stream: &ledger.stream,
        run: [run; 16],
        sequence,
        entries,
    }
}

impl Ledger {
    /// A stream with one counter, `by_key`, that has room for everything.
    pub(crate) async fn new(name: &str) -> Self {
        Self::counting(name, vec![counter("by_key", 1000, &[])]).await
    }

    /// A stream with these counters.
    pub(crate) async fn counting(name: &str, counters: Vec<Counter>) -> Self {
        Self {
            con: connect().await,
            stream: stream(name, counters),
        }
    }

    /// An entry of partition 0.
    pub(crate) fn entry(&self, first: i64, last: i64, keys: &[&str]) -> Entry {
        self.entry_at(at(0), first, last, keys)
    }

    /// An entry.
    pub(crate) fn entry_at(
        &self,
        position: Position,
        first: i64,
        last: i64,
        keys: &[&str],
    ) -> Entry {
        Entry {
            position,
            first,
            last,
            deltas: deltas(&self.stream, keys),
        }
    }

    /// The redis-writer applies a frame.
    pub(crate) async fn live(&self, run: u8, sequence: u64, entries: Vec<Entry>) -> Applied {
        self.try_live(run, sequence, entries)
            .await
            .expect("applied")
    }

    /// The same, where it may be refused.
    pub(crate) async fn try_live(
        &self,
        run: u8,
        sequence: u64,
        entries: Vec<Entry>,
    ) -> Result<Applied, LedgerError> {
        let frame = frame(self, run, sequence, entries);
        let mut outcomes = ledger::live(&mut self.con.clone(), PENDING_MAX, &[frame])
            .await
            .expect("Redis answers");
        assert_eq!(outcomes.len(), 1);
        outcomes.remove(0)
    }

    /// The consumer settles partition 0.
    pub(crate) async fn settle(&self, from: Option<i64>, to: i64, archived: &[&str]) -> Settled {
        self.settle_at(&at(0), from, to, archived)
            .await
            .expect("settled")
    }

    /// The consumer settles a position.
    pub(crate) async fn settle_at(
        &self,
        position: &Position,
        from: Option<i64>,
        to: i64,
        archived: &[&str],
    ) -> Result<Settled, LedgerError> {
        let archived = deltas(&self.stream, archived);
        ledger::settle(
            &mut self.con.clone(),
            &self.stream,
            position,
            (from, to),
            &archived,
            None,
        )
        .await
    }

    /// The watermark of partition 0.
    pub(crate) async fn watermark(&self) -> Option<i64> {
        self.look(&[at(0)]).await.of[0].watermark
    }

    /// How the ledger stands.
    pub(crate) async fn look(&self, positions: &[Position]) -> Look {
        let look = ledger::look(&mut self.con.clone(), &self.stream, positions).await;
        look.expect("readable")
    }

    /// Begins the count again.
    pub(crate) async fn clear(&self) {
        let cleared = ledger::clear(&mut self.con.clone(), &self.stream, None, None).await;
        assert!(cleared.expect("cleared"));
    }

    /// The figures.
    pub(crate) async fn shown(&self) -> ledger::Shown {
        ledger::shown(&mut self.con.clone(), &self.stream)
            .await
            .expect("readable")
    }

    /// Asserts the total, and the first counter's keys: these and no other, not even at zero.
    pub(crate) async fn assert_shows(&self, events: i64, keys: &[(&str, i64)]) {
        let shown = self.shown().await;
        let expected = keys
            .iter()
            .map(|(key, n)| ((*key).to_owned(), *n))
            .collect();
        assert_eq!((shown.events, &shown.counters[0]), (events, &expected));
    }

    /// Entries of partition 0 that are not settled.
    pub(crate) async fn pending(&self) -> usize {
        let key = format!("{{{}}}:pending:{}", self.stream.name, at(0));
        redis::cmd("ZCARD")
            .arg(key)
            .query_async(&mut self.con.clone())
            .await
            .expect("a sorted set or nothing")
    }

    /// Positions that Redis believes to have pending entries.
    pub(crate) async fn pending_positions(&self) -> usize {
        let key = format!("{{{}}}:pending", self.stream.name);
        redis::cmd("HLEN")
            .arg(key)
            .query_async(&mut self.con.clone())
            .await
            .expect("a hash or nothing")
    }

    /// Fields at zero of all that is shown, which there should not be, as `hash field`.
    pub(crate) async fn zeros(&self) -> Vec<String> {
        let counters = self.stream.counters.iter().map(|c| c.name.as_str());
        let mut zeros = Vec::new();
        for hash in counters.chain(["total", "overflow"]) {
            let fields: BTreeMap<String, i64> = redis::cmd("HGETALL")
                .arg(format!("{{{}}}:{hash}", self.stream.name))
                .query_async(&mut self.con.clone())
                .await
                .expect("a hash or nothing");
            let at_zero = fields.into_iter().filter(|(_, n)| *n == 0);
            zeros.extend(at_zero.map(|(field, _)| format!("{hash} {field}")));
        }
        zeros
    }

    /// Everything that Redis holds for the stream.
    pub(crate) async fn dump(&self) -> Dump {
        let mut dump = Dump::new();
        for key in self.keys().await {
            let value = redis::cmd("DUMP")
                .arg(&key)
                .query_async(&mut self.con.clone())
                .await
                .expect("there");
            dump.insert(key, value);
        }
        dump
    }

    /// Redis has lost everything.
    pub(crate) async fn empty_redis(&self) {
        for key in self.keys().await {
            self.delete(&key).await;
        }
    }

    /// Redis has lost a key.
    pub(crate) async fn delete(&self, key: &[u8]) {
        self.command("DEL", &[key]).await;
    }

    /// Somebody does this to a key of ours.
    pub(crate) async fn command(&self, name: &str, args: &[&[u8]]) {
        let mut command = redis::cmd(name);
        let done = command.arg(args).query_async(&mut self.con.clone()).await;
        let _: redis::Value = done.expect("done");
    }

    /// The name of a key of the ledger.
    pub(crate) fn key(&self, part: &str) -> Vec<u8> {
        format!("{{{}}}:{part}", self.stream.name).into_bytes()
    }

    pub(crate) async fn keys(&self) -> Vec<Vec<u8>> {
        let pattern = format!("{{{}}}*", self.stream.name);
        redis::cmd("KEYS")
            .arg(pattern)
            .query_async(&mut self.con.clone())
            .await
            .expect("keys")
    }
}
