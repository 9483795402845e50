//! The way into the stores: redis-writer and consumer, each beside what its store takes from this process.

use std::time::Duration;

use aguacero::{
    config::{Config, Redis},
    ledger,
};
use anyhow::ensure;
use benches::{
    cpu::{self, Cpu},
    deltas::{Frame, Session, Target, apply_all},
    hincrby::{self, Hincrby, Script},
    insert, produce,
    service::Service,
};
use consumer::metric;
use e2e::{Kind, Pipeline, once};
use redis::aio::MultiplexedConnection;

use crate::{
    Effort,
    goal::{Figure, Goal, Wanted},
    sides::Events,
};

/// Its goals.
pub(crate) const GOALS: &[Goal] = &[
    Goal {
        name: "counters: frames of deltas at 10,000,000 events/s",
        measure: |_, effort| Box::pin(counters(effort, 10_000_000, Wanted::AtLeast(10.0))),
    },
    Goal {
        name: "counters: frames of deltas at 100,000 events/s",
        measure: |_, effort| Box::pin(counters(effort, 100_000, Wanted::Known)),
    },
    Goal {
        name: "archive: records that wait in Kafka",
        measure: |events, effort| Box::pin(archive(events, effort)),
    },
];

/// Pause of a gateway between two frames, in which it coalesces.
const FRAME_PAUSE_MS: u64 = 10;
/// Gateways' workers, each with a frame on its way.
const SENDERS: usize = 16;
/// How long Redis may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Documents of a turn for each of its seconds: fewer than MongoDB takes.
const DOCUMENTS_PER_SECOND: f64 = 20_000.0;

/// What takes turns with a frame, and what they have in common.
struct Counting {
    pipeline: Pipeline,
    redis: Service,
    frame: Frame,
    /// Of a turn: a third of a round.
    duration: Duration,
}

/// What a turn came to.
struct Turn {
    frames_per_second: f64,
    /// Seconds of Redis' time for a million HINCRBYs.
    redis: f64,
    /// The same of the redis-writer's.
    writer: f64,
}

impl Counting {
    async fn redis_writer(&self) -> anyhow::Result<Turn> {
        let socket = self.pipeline.redis_writer.setting("redis_writer.socket");
        let mut senders = Vec::new();
        for sender in 0..SENDERS {
            let frame = self.frame.from_sender(sender);
            senders.push(Session::open(socket.as_ref(), frame).await?);
        }
        self.turn(senders).await
    }

    async fn script(&self) -> anyhow::Result<Turn> {
        let connection = self.connect().await?;
        let script = |n| Script::new(connection.clone(), self.frame.from_sender(n));
        let scripts: anyhow::Result<_> = (0..SENDERS).map(script).collect();
        self.turn(scripts?).await
    }

    async fn hincrby(&self) -> anyhow::Result<Turn> {
        let connection = self.connect().await?;
        let pipeline = |_| Hincrby::new(connection.clone(), &self.frame);
        self.turn((0..SENDERS).map(pipeline).collect()).await
    }

    async fn connect(&self) -> anyhow::Result<MultiplexedConnection> {
        let url = self.pipeline.redis_writer.setting("redis.url");
        Ok(ledger::connect(&Redis::at(url), ANSWER_TIMEOUT).await?)
    }

    async fn turn<T: Target>(&self, targets: Vec<T>) -> anyhow::Result<Turn> {
        self.pipeline.redis.flush().await;
        let cpu = || {
            anyhow::Ok([
                self.redis.cpu()?,
                cpu::of(self.pipeline.redis_writer.pid())?,
            ])
        };
        let before = cpu()?;
        let (frames, elapsed) = apply_all(targets, self.duration).await?;
        let millions = frames as f64 * self.commands() / 1e6;
        let [redis, writer] = spent(before, cpu()?).map(|seconds| seconds / millions);
        Ok(Turn {
            frames_per_second: frames as f64 / elapsed.as_secs_f64(),
            redis,
            writer,
        })
    }

    /// HINCRBYs of a frame.
    fn commands(&self) -> f64 {
        self.frame.increments().count() as f64
    }
}

/// Seconds of each process between two looks.
fn spent<const N: usize>(before: [Cpu; N], mut after: [Cpu; N]) -> [f64; N] {
    for (after, before) in after.iter_mut().zip(before) {
        *after = after.since(before);
    }
    after.map(|cpu| cpu.all().as_secs_f64())
}

/// Frames that hold what comes between two of them at `rate` events/s.
async fn counters(effort: Effort, rate: u64, wanted: Wanted) -> anyhow::Result<Vec<Figure>> {
    let counting = Counting {
        pipeline: Pipeline::weather()
            .without(Kind::Gateway)
            .without(Kind::KafkaProducer)
            .without(Kind::Consumer)
            .start()
            .await,
        redis: Service::called("redis")?,
        frame: Frame::of(rate * FRAME_PAUSE_MS / 1000)?,
        duration: effort.duration / 3,
    };
    let (commands, events) = (counting.commands(), counting.frame.events());
    let millions = events as f64 / 1e6;

    let name = "events/s / pipelined HINCRBY";
    let mut ratio = Figure::new(name, Wanted::AtLeast(0.5));
    let mut rates = Figure::new("million events/s", wanted);
    let mut script = Figure::new("events/s / the script alone", Wanted::Known);
    let name = "HINCRBYs/s / redis-benchmark -P 64";
    let mut benchmark = Figure::new(name, Wanted::Known);
    for _ in 0..effort.rounds {
        let limit = counting.hincrby().await?;
        let alone = counting.script().await?;
        let turn = counting.redis_writer().await?;
        let commands_only = hincrby::redis_benchmark(&counting.redis)?;
        ratio
            .values
            .push(turn.frames_per_second / limit.frames_per_second);
        ratio.note = format!(
            "{:.1} against {:.1} million events/s; Redis {:.2} against {:.2} CPU s for a million HINCRBYs",
            turn.frames_per_second * millions,
            limit.frames_per_second * millions,
            turn.redis,
            limit.redis
        );
        rates.values.push(turn.frames_per_second * millions);
        rates.note = format!(
            "{:.0} frames/s from {SENDERS} senders, each of {events} events (what comes in {FRAME_PAUSE_MS} ms) in \
             {commands} HINCRBYs; redis-writer {:.2} CPU s for a million HINCRBYs",
            turn.frames_per_second, turn.writer
        );
        script
            .values
            .push(turn.frames_per_second / alone.frames_per_second);
        script.note = format!(
            "of {:.1} million events/s",
            alone.frames_per_second * millions
        );
        if let Some(limit) = commands_only {
            let ours = turn.frames_per_second * commands;
            benchmark.values.push(ours / limit);
            benchmark.note = format!("{ours:.0} against {limit:.0}/s");
        }
    }
    let mut figures = vec![ratio, rates, script];
    if benchmark.values.is_empty() {
        figures[0].note += "; no redis-benchmark beside redis-server";
    } else {
        figures.push(benchmark);
    }
    Ok(figures)
}

/// The consumer with a topic full of records, and the same documents by `insert_many`.
async fn archive(events: &Events, effort: Effort) -> anyhow::Result<Vec<Figure>> {
    let n = (DOCUMENTS_PER_SECOND * effort.duration.as_secs_f64()) as u64;
    let mongod = Service::called("mongodb")?;
    let mut ratio = Figure::new("documents/s / insert_many", Wanted::AtLeast(0.8));
    let name = "CPU s of the consumer for a million documents";
    let mut cpu = Figure::new(name, Wanted::AtMost(3.0));
    for _ in 0..effort.rounds {
        let pipeline = Pipeline::weather()
            .without(Kind::Gateway)
            .without(Kind::KafkaProducer)
            .without(Kind::RedisWriter)
            .start()
            .await;
        let turn = consume(&pipeline, &mongod, events, n).await?;
        let limit = insert(&pipeline, &mongod, events, n).await?;
        ratio.values.push(turn.rate / limit.rate);
        ratio.note = format!(
            "{:.0} against {:.0}/s; {n} documents in batches of {:.0} against {}; mongod {:.1} against {:.1} CPU s/M",
            turn.rate,
            limit.rate,
            turn.batch_records,
            limit.batch_records,
            turn.mongod,
            limit.mongod
        );
        cpu.values.push(turn.client);
        cpu.note = format!("insert_many's client {:.2}", limit.client);
    }
    Ok(vec![ratio, cpu])
}

/// What became of a turn's documents.
struct Archived {
    /// Documents/s, from the first that were seen to the last.
    rate: f64,
    /// Documents of a batch.
    batch_records: f64,
    /// Seconds of MongoDB's time for a million documents.
    mongod: f64,
    /// The same of whoever inserts them.
    client: f64,
}

/// Documents that are not counted: a process's first use of its memory costs as much as their archiving.
fn warm_up(n: u64) -> u64 {
    n / 2
}

/// The consumer has its partitions, and stands still while the records come.
async fn consume(
    pipeline: &Pipeline,
    mongod: &Service,
    events: &Events,
    n: u64,
) -> anyhow::Result<Archived> {
    let consumer = &pipeline.consumers[0];
    let topic = pipeline.config.topic_of(pipeline.stream("weather"));
    let (partitions, batch) = (topic.partitions, pipeline.config.consumer.batch_records_max);
    once("every partition given", async || {
        consumer.metric(metric::ASSIGNED).await == f64::from(partitions)
    })
    .await;
    let produce = |n: u64| {
        let (brokers, batch) = (consumer.setting("kafka.brokers"), batch as u64);
        let (topic, events) = (&topic.name, &events.plain);
        let produced = produce::raw(brokers, topic, events, n, batch, partitions)?;
        let events = produced.events;
        ensure!(events == n, "{events} of {n} acknowledged");
        Ok(())
    };
    let settled = async |n: u64| {
        once("every document settled", async || {
            consumer.metric(metric::ARCHIVED).await == n as f64
        })
        .await;
    };
    produce(warm_up(n))?;
    settled(warm_up(n)).await;
    let batches = async || consumer.metric(&format!("{}_count", metric::BATCH)).await;
    let batches_before = batches().await;
    consumer.freeze().await;
    produce(n)?;

    let collection = insert::collection(&config(pipeline, "")).await?;
    let seen = || anyhow::Ok([mongod.cpu()?, cpu::of(consumer.pid())?]);
    let before = seen()?;
    consumer.thaw();
    let (documents, elapsed) = insert::arrived(&collection, warm_up(n), n).await?;
    settled(warm_up(n) + n).await;
    let [mongod, client] = spent(before, seen()?).map(|seconds| seconds / n as f64 * 1e6);
    Ok(Archived {
        rate: documents as f64 / elapsed.as_secs_f64(),
        batch_records: n as f64 / (batches().await - batches_before),
        mongod,
        client,
    })
}

/// The limit, in a database of its own.
async fn insert(
    pipeline: &Pipeline,
    mongod: &Service,
    events: &Events,
    n: u64,
) -> anyhow::Result<Archived> {
    let config = config(pipeline, "-raw");
    let batch = config.consumer.batch_records_max;
    let partitions = config.topic_of(pipeline.stream("weather")).partitions;
    let documents = |numbers| {
        let events = &events.plain;
        insert::documents(&config, events, numbers, batch as u64, partitions)
    };
    insert::create_indices(&config).await?;
    let collection = insert::collection(&config).await?;
    let first = warm_up(n);
    insert::raw(&config, &collection, documents(0..first)?).await?;
    let batches = documents(first..first + n)?;
    let seen = || anyhow::Ok([mongod.cpu()?, cpu::of(std::process::id())?]);
    let before = seen()?;
    let writing = insert::raw(&config, &collection, batches);
    let arriving = insert::arrived(&collection, first, n);
    let ((documents, elapsed), ()) = tokio::try_join!(arriving, writing)?;
    let [mongod, client] = spent(before, seen()?).map(|seconds| seconds / n as f64 * 1e6);
    insert::forget(&collection).await?;
    Ok(Archived {
        rate: documents as f64 / elapsed.as_secs_f64(),
        batch_records: batch as f64,
        mongod,
        client,
    })
}

/// As the consumer of `pipeline` has it, with `suffix` to the name of its database.
fn config(pipeline: &Pipeline, suffix: &str) -> Config {
    let consumer = &pipeline.consumers[0];
    let mut config = pipeline.config.clone();
    config.mongodb.uri = consumer.setting("mongodb.uri").to_owned();
    config.mongodb.database = consumer.setting("mongodb.database").to_owned() + suffix;
    config
}
