//! The limits of Redis: what frames of deltas add, from this process, by plain commands and by the ledger's
//! script; and the commands that `redis-benchmark` sends.

use aguacero::{
    config::Config,
    ledger::{self, Entry, Part},
};
use anyhow::Context as _;
use redis::{Pipeline, aio::MultiplexedConnection};

use crate::{
    deltas::{Frame, Target},
    service::Service,
    stages,
};

/// Commands that `redis-benchmark` sends in a round: a fraction of a second's.
const COMMANDS: u32 = 200_000;
/// Commands that each of its connections has on the way.
const PIPELINED: u32 = 64;
/// Fields of the hash that it adds to.
const FIELDS: u32 = 100;

/// A frame as one pipeline of HINCRBYs, which nothing keeps from counting twice.
pub struct Hincrby {
    connection: MultiplexedConnection,
    pipeline: Pipeline,
}

impl Hincrby {
    /// What `frame` adds, over `connection`.
    #[must_use]
    pub fn new(connection: MultiplexedConnection, frame: &Frame) -> Self {
        let mut pipeline = redis::pipe();
        for (hash, field, n) in frame.increments() {
            let command = pipeline.cmd("HINCRBY").arg(format!("{{weather}}:{hash}"));
            command.arg(field).arg(n).ignore();
        }
        Self {
            connection,
            pipeline,
        }
    }
}

impl Target for Hincrby {
    async fn apply(&mut self) -> anyhow::Result<()> {
        Ok(self.pipeline.query_async(&mut self.connection).await?)
    }
}

/// A frame by the script that the redis-writer calls.
pub struct Script {
    connection: MultiplexedConnection,
    config: Config,
    frame: Frame,
    entries: Vec<Entry>,
}

impl Script {
    /// What `frame` adds, over `connection`.
    pub fn new(connection: MultiplexedConnection, mut frame: Frame) -> anyhow::Result<Self> {
        let config = stages::config()?;
        let mut parts = redis_writer::stages::decode(&config, frame.message().into());
        let (_, entries) = parts.pop().context("the frame counts nothing")?;
        Ok(Self {
            connection,
            config,
            frame,
            entries,
        })
    }
}

impl Target for Script {
    async fn apply(&mut self) -> anyhow::Result<()> {
        let (sequence, incarnation) = self.frame.renumber();
        for entry in &mut self.entries {
            entry.position.incarnation.clone_from(&incarnation);
        }
        let mut parts = [Part {
            stream: &self.config.streams[0],
            run: self.frame.run(),
            sequence,
            entries: std::mem::take(&mut self.entries),
        }];
        let pending_max = self.config.redis_writer.pending_max;
        let applied = ledger::live(&mut self.connection, pending_max, &parts).await?;
        applied.into_iter().collect::<Result<Vec<_>, _>>()?;
        self.entries = std::mem::take(&mut parts[0].entries);
        Ok(())
    }
}

/// HINCRBYs/s that `redis-benchmark` has answered, pipelined by fifty connections; none if it is not there.
pub fn redis_benchmark(redis: &Service) -> anyhow::Result<Option<f64>> {
    let Some(mut program) = redis.tool("redis-benchmark") else {
        return Ok(None);
    };
    program.args(["-p", &redis.port.to_string(), "--csv"]);
    program.args(["-n", &COMMANDS.to_string(), "-P", &PIPELINED.to_string()]);
    program.args(["-r", &FIELDS.to_string()]);
    program.args(["hincrby", "redis-benchmark", "__rand_int__", "1"]);
    let done = program.output().context("redis-benchmark")?;
    let said = String::from_utf8_lossy(&done.stdout);
    // "hincrby redis-benchmark __rand_int__ 1","1234567.89",… under a line of titles
    let rate = said.lines().last().and_then(|line| line.split(',').nth(1));
    let rate = rate.and_then(|rate| rate.trim_matches('"').parse().ok());
    let rate = rate.with_context(|| {
        let error = String::from_utf8_lossy(&done.stderr);
        format!("redis-benchmark ended with {}: {said}{error}", done.status)
    })?;
    Ok(Some(rate))
}
