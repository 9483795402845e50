//! How long the ledger keeps Redis from everything else: the slowest call of each kind, by Redis' own SLOWLOG, while much
//! is pending, is settled, is looked at and is forgotten. Redis does nothing else during a call.
//!
//! `scripts/services run -- cargo run --release --bin ledger-calls`

use std::time::Duration;

use aguacero::{
    config::Config,
    counts::{Counts, Deltas},
    ledger::{self, Entry, Part, Position, Settled},
};
use anyhow::Context as _;
use redis::aio::MultiplexedConnection;

/// As the redis-writer has it by default.
const PENDING_MAX: usize = 1000;
/// Entries that wait.
const ENTRIES: i64 = 1000;

/// Keys of each of the two counters in an entry, and whether each entry has others.
const SHAPES: [(usize, bool); 5] = [
    (5, false),
    (20, false),
    (50, false),
    (50, true),
    (2000, true),
];

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let toml = r#"
[topics.t]
partitions = 1
replication = 1
min_insync = 1
[streams.ledger-calls]
topic = "t"
fields = [{ name = "a", type = "string" }, { name = "b", type = "string" }]
counters = [{ name = "by_a", by = ["a"], max_distinct = 1000000 }, { name = "by_b", by = ["b"], max_distinct = 1000000 }]
[[streams.ledger-calls.routes]]
path = "/"
"#;
    let url = std::env::var("AGUACERO_REDIS_URL").context("AGUACERO_REDIS_URL")?;
    let environment = [("AGUACERO_REDIS_URL".to_owned(), url)];
    let config = Config::parse(toml, "ledger-calls", environment)?;
    let mut con = ledger::connect(&config.redis, Duration::from_secs(60)).await?;
    let set = |name: &str, value: i64| {
        let mut command = redis::cmd("CONFIG");
        command.arg("SET").arg(name).arg(value);
        command
    };
    let () = set("slowlog-log-slower-than", 0)
        .query_async(&mut con)
        .await?;
    let () = set("slowlog-max-len", 100_000)
        .query_async(&mut con)
        .await?;
    println!("{ENTRIES} pending entries of two counters; slowest call in ms (calls)");
    println!(
        "keys  others      live            settle          look            check           clear"
    );
    for (keys, others) in SHAPES {
        let mut row = format!("{keys:>4}  {others:<6}");
        for figure in history(&mut con, &config, keys, others).await? {
            row += &format!("  {figure:<14}");
        }
        println!("{row}");
    }
    Ok(())
}

async fn history(
    con: &mut MultiplexedConnection,
    config: &Config,
    keys: usize,
    others: bool,
) -> anyhow::Result<Vec<String>> {
    let stream = &config.streams[0];
    let position = Position {
        incarnation: "an-incarnation".into(),
        partition: 0,
    };
    let mut figures = Vec::new();
    ledger::clear(con, stream, None, None).await?;
    forget(con).await?;
    for n in 0..ENTRIES {
        let from = if others { n as usize * keys } else { 0 };
        let counts: Counts = (from..from + keys)
            .map(|k| (format!("key {k}"), 1))
            .collect();
        let deltas = Deltas {
            events: keys as u64,
            counters: vec![counts.clone(), counts],
        };
        let entry = Entry {
            position: position.clone(),
            first: n,
            last: n,
            deltas,
        };
        let part = Part {
            stream,
            run: [1; 16],
            sequence: 1 + n as u64,
            entries: vec![entry],
        };
        for applied in ledger::live(con, PENDING_MAX, &[part]).await? {
            applied?;
        }
    }
    figures.push(slowest(con).await?);
    let (mut from, mut to) = (None, ENTRIES - 1);
    while from != Some(ENTRIES - 1) {
        let archived = Deltas::none(stream);
        match ledger::settle(con, stream, &position, (from, to), &archived, None).await? {
            Settled::Done => (from, to) = (Some(to), ENTRIES - 1),
            Settled::Step(most) => to = most,
            other => anyhow::bail!("{other:?}"),
        }
    }
    figures.push(slowest(con).await?);
    for _ in 0..100 {
        ledger::look(con, stream, std::slice::from_ref(&position)).await?;
    }
    figures.push(slowest(con).await?);
    ledger::check(con, stream).await?;
    figures.push(slowest(con).await?);
    ledger::clear(con, stream, None, None).await?;
    figures.push(slowest(con).await?);
    Ok(figures)
}

async fn forget(con: &mut MultiplexedConnection) -> anyhow::Result<()> {
    Ok(redis::cmd("SLOWLOG").arg("RESET").query_async(con).await?)
}

/// The slowest call of a script since the last time, in milliseconds, and how many there were.
async fn slowest(con: &mut MultiplexedConnection) -> anyhow::Result<String> {
    let log: Vec<Vec<redis::Value>> = redis::cmd("SLOWLOG")
        .arg("GET")
        .arg(-1)
        .query_async(con)
        .await?;
    forget(con).await?;
    let mut calls = Vec::new();
    for entry in log {
        let micros: i64 = redis::from_redis_value(entry[2].clone())?;
        let command: Vec<Vec<u8>> = redis::from_redis_value(entry[3].clone())?;
        if command
            .first()
            .is_some_and(|name| name.starts_with(b"EVAL"))
        {
            calls.push(micros);
        }
    }
    let max = calls.iter().max().copied().unwrap_or_default();
    Ok(format!("{:.1} ({})", max as f64 / 1000.0, calls.len()))
}
