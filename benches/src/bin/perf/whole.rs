//! Everything on: the four processes, Kafka, MongoDB and Redis share the machine with the load.

use std::{
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use aguacero::{config::Stream, id::EventId};
use anyhow::{Context as _, ensure};
use benches::{
    cpu::JOULES_OF_A_SECOND,
    events,
    load::{Load, Outcome, Pace, Plan},
    stats::Times,
};
use bytes::Bytes;
use e2e::{Client, Pipeline, Request, archive::Archive, shown::Redis};
use tokio::{
    task::{JoinSet, LocalSet, spawn_blocking},
    time::{MissedTickBehavior, interval, sleep},
};

use crate::{
    Effort,
    goal::{Figure, Goal, Wanted},
    sides::{Events, Server},
};

/// Its goals.
pub(crate) const GOALS: &[Goal] = &[
    Goal {
        name: "whole: everything on, single events, 100 connections",
        measure: |events, effort| Box::pin(singles(events, effort)),
    },
    Goal {
        name: "million: NDJSON batches of 500 through everything",
        measure: |_, effort| Box::pin(million(effort)),
    },
    Goal {
        name: "fresh: after the receipt, at 50 % load",
        measure: |events, effort| Box::pin(fresh(events, effort)),
    },
];

/// Of [`Server::everything`], in its order: what each has had of the processors.
const PROCESSES: [&str; 7] = [
    "CPU s for a million events: gateway",
    "CPU s for a million events: kafka-producer",
    "CPU s for a million events: redis-writer",
    "CPU s for a million events: consumer",
    "CPU s for a million events: mongod",
    "CPU s for a million events: Redis",
    "CPU s for a million events: Kafka's JVM",
];
/// Of the first of them, which are our own, and of all; by the model, not by a meter.
const ENERGY: [(&str, usize); 2] = [
    ("J for a million events, model: our four processes", 4),
    ("J for a million events, model: with the stores", 7),
];
/// Of our own.
const PEAKS: [&str; 4] = [
    "MiB at most: gateway",
    "MiB at most: kafka-producer",
    "MiB at most: redis-writer",
    "MiB at most: consumer",
];

/// The stream of all of them.
const STREAM: &str = "weather";
/// Events of a batch, and clients that send them.
const BATCH: u64 = 500;
const CLIENTS: u64 = 16;
/// How long stores may stay behind Kafka.
const CATCH_UP: Duration = Duration::from_secs(120);
/// How often the stores are asked whether they have caught up.
const LOOK: Duration = Duration::from_millis(10);
/// From one event whose age is measured to the next.
const PROBE: Duration = Duration::from_millis(100);
/// How often Redis and MongoDB are asked for it until they have it: fifty times within its goal. So at their
/// goals each answers 500 times a second, and at a tenth of them 50 times.
const ASK_REDIS: Duration = Duration::from_millis(1);
const ASK_MONGODB: Duration = Duration::from_millis(20);

/// What everything costs for each event. A turn ends with all its events archived, and so does what is
/// counted of the processors.
async fn singles(events: &Events, effort: Effort) -> anyhow::Result<Vec<Figure>> {
    let (bare, ours) = (Server::bare()?, Server::everything().await?);
    let pipeline = ours.pipeline()?;
    let mut rate = Figure::new("requests/s / bare hyper", Wanted::Known);
    let mut behind = Figure::new("s from the last answer to its document", Wanted::Known);
    let mut cpu = PROCESSES.map(|name| Figure::new(name, Wanted::Known));
    let mut energy = ENERGY.map(|(name, _)| Figure::new(name, Wanted::Known));
    let mut before = 0;
    for _ in 0..effort.rounds {
        let limit = bare.turn(&events.singles, 100, effort)?;
        let began = ours.cpu()?;
        let turn = ours.turn(&events.singles, 100, effort)?;
        let answered = Instant::now();
        let stored = pipeline.kafka.count(pipeline.topic(STREAM)).await;
        archived(pipeline, stored).await?;
        behind.values.push(answered.elapsed().as_secs_f64());
        rate.values.push(turn.outcome.rate() / limit.outcome.rate());
        rate.note = format!(
            "{:.0} against {:.0}/s; p50 {:.0}, p99 {:.0} µs",
            turn.outcome.rate(),
            limit.outcome.rate(),
            turn.outcome.quantile_us(0.5),
            turn.outcome.quantile_us(0.99)
        );
        let millions = (stored - before) as f64 / 1e6;
        before = stored;
        let mut joules = Vec::new();
        for ((figure, began), ended) in cpu.iter_mut().zip(began).zip(ours.cpu()?) {
            let spent = ended.since(began);
            joules.push(spent.all().as_secs_f64() / millions * JOULES_OF_A_SECOND);
            figure.values.push(spent.all().as_secs_f64() / millions);
            figure.note = format!("{:.2} user", spent.user.as_secs_f64() / millions);
        }
        for (figure, (_, processes)) in energy.iter_mut().zip(ENERGY) {
            figure.values.push(joules.iter().take(processes).sum());
        }
    }
    Ok([rate, behind]
        .into_iter()
        .chain(cpu)
        .chain(energy)
        .collect())
}

/// As many as are sent must be everywhere, each once. 100,000 for each three seconds of effort, a million
/// at most.
async fn million(effort: Effort) -> anyhow::Result<Vec<Figure>> {
    let seconds = effort.duration.as_secs_f64() * effort.rounds as f64;
    let sent = (seconds / 3.0).clamp(1.0, 10.0) as u64 * 100_000;
    let ours = Server::everything().await?;
    let pipeline = ours.pipeline()?;

    let began = Instant::now();
    let accepted = send(&ours, sent / BATCH).await?;
    let to_receipt = began.elapsed().as_secs_f64();
    archived(pipeline, sent).await?;
    let to_document = began.elapsed().as_secs_f64();

    let stream = pipeline.stream(STREAM);
    let is_settled = || async {
        let total = pipeline.redis.shown(stream).await.total;
        total >= sent as i64 && pipeline.redis.pending(stream).await.is_empty()
    };
    until(&format!("{sent} events settled in Redis"), LOOK, is_settled).await?;
    let in_kafka = pipeline.kafka.count(pipeline.topic(STREAM)).await;
    let documents = pipeline.archive.count(&stream.archive).await;
    let shown = pipeline.redis.shown(stream).await;
    let by_country: i64 = shown.counters.values().flat_map(|c| c.values()).sum();
    ensure!(
        [accepted, in_kafka, documents] == [sent; 3]
            && [shown.total, by_country] == [sent as i64; 2],
        "{sent} events sent, {accepted} accepted, {in_kafka} in Kafka, {documents} in MongoDB, {} in all \
         and {by_country} over the countries in Redis",
        shown.total
    );

    let once = |name, value, note: String| {
        let mut figure = Figure::new(name, Wanted::Known);
        figure.values.push(value);
        figure.note = note;
        figure
    };
    let rate = |seconds: f64| format!("{sent} events, {:.0}/s", sent as f64 / seconds);
    let mut figures = vec![
        once("s to the last 200", to_receipt, rate(to_receipt)),
        once("s to the last document", to_document, rate(to_document)),
    ];
    let millions = sent as f64 / 1e6;
    let all = pipeline.processes().zip(ours.cpu()?);
    for (name, (process, cpu)) in PEAKS.into_iter().zip(all) {
        let peak = process.memory_peak() as f64 / f64::from(1 << 20);
        let cpu = cpu.all().as_secs_f64() / millions;
        figures.push(once(name, peak, format!("{cpu:.2} CPU s/M")));
    }
    Ok(figures)
}

/// How long after its 200 an event is counted and archived.
async fn fresh(events: &Events, effort: Effort) -> anyhow::Result<Vec<Figure>> {
    let ours = Server::everything().await?;
    let pipeline = ours.pipeline()?;
    let greatest = ours.turn(&events.singles, 100, effort)?.outcome.rate();
    let stored = pipeline.kafka.count(pipeline.topic(STREAM)).await;
    archived(pipeline, stored).await?;

    let probing = effort.duration * effort.rounds as u32;
    let load = load(&ours, events, greatest / 2.0, effort.warm_up, probing);
    sleep(effort.warm_up).await;
    let probes = probe(&ours, probing.div_duration_f64(PROBE) as u64);
    let ages = LocalSet::new().run_until(probes).await?;
    let outcome = load.await??;
    ensure!(outcome.others.is_empty(), "{:?}", outcome.others);

    let goals = [
        ("Redis, p99, ms", 50.0, ASK_REDIS),
        ("MongoDB, p99, ms", 1000.0, ASK_MONGODB),
    ];
    let figures = goals
        .into_iter()
        .zip(ages)
        .map(|((name, goal, ask), ages)| {
            let mut figure = Figure::new(name, Wanted::AtMost(goal));
            let note = format!("{} events, asked for every {ask:?}", ages.len());
            let ages = Times::new(ages);
            figure.values.push(ages.quantile_us(0.99) / 1e3);
            figure.note = format!(
                "p50 {:.1} ms at {:.0}/s; {note}",
                ages.quantile_us(0.5) / 1e3,
                outcome.rate()
            );
            figure
        });
    Ok(figures.collect())
}

/// Sends batches until there were so many; returns how many events were accepted.
async fn send(ours: &Server, batches: u64) -> anyhow::Result<u64> {
    let bodies = (0..10).map(|n| Bytes::from(events::ndjson(n * BATCH, BATCH)));
    let bodies: Arc<[Bytes]> = bodies.collect();
    let next = Arc::new(AtomicU64::new(0));
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let (bodies, next) = (bodies.clone(), next.clone());
        let mut client = Client::new(ours.address);
        clients.spawn(async move {
            let mut accepted = 0;
            loop {
                let batch = next.fetch_add(1, Relaxed);
                if batch >= batches {
                    return anyhow::Ok(accepted);
                }
                let body = bodies[batch as usize % bodies.len()].clone();
                let answer = client.send(&Request::ndjson("/input", body)).await?;
                ensure!(answer.status == 200, "{}: {}", answer.status, answer.text());
                let count = answer.document()["accepted"].as_u64();
                accepted += count.with_context(|| answer.text())?;
            }
        });
    }
    let accepted: anyhow::Result<Vec<u64>> = clients.join_all().await.into_iter().collect();
    Ok(accepted?.into_iter().sum())
}

/// A load of single events at `rate` that lasts for `warm_up` and `duration`.
fn load(
    ours: &Server,
    events: &Events,
    rate: f64,
    warm_up: Duration,
    duration: Duration,
) -> tokio::task::JoinHandle<anyhow::Result<Outcome>> {
    let (address, requests) = (ours.address, events.singles.clone());
    spawn_blocking(move || {
        let plan = Plan {
            requests: &requests,
            connections: 100,
            pace: Pace::Rate(rate),
            warm_up,
            duration,
        };
        Load::connect(address, plan)?.run(|| {})
    })
}

/// Posts so many events, each of a country of its own; returns how long Redis and MongoDB took to have them.
async fn probe(ours: &Server, count: u64) -> anyhow::Result<[Vec<Duration>; 2]> {
    let pipeline = ours.pipeline()?;
    let stream = pipeline.stream(STREAM);
    let redis = Rc::new(Redis::open(pipeline.gateway.setting("redis.url")).await);
    let mut client = pipeline.client();
    let mut due = interval(PROBE);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut probes = JoinSet::new();
    for n in 0..count {
        due.tick().await;
        let name = format!("probe-{n}");
        let event = format!(r#"{{"texto":"llueve","país":"{name}"}}"#);
        let request = Request::json("/input", event).key(&name);
        let answer = client.send(&request).await?;
        ensure!(answer.status == 200, "{}: {}", answer.status, answer.text());
        let (archive, stream) = (pipeline.archive.clone(), stream.clone());
        probes.spawn_local(ages(redis.clone(), archive, stream, name));
    }
    let ages: anyhow::Result<Vec<_>> = probes.join_all().await.into_iter().collect();
    let (redis, mongodb) = ages?.into_iter().unzip();
    Ok([redis, mongodb])
}

/// How long after now Redis counts the country `name`, and MongoDB has the event under that key.
async fn ages(
    redis: Rc<Redis>,
    archive: Archive,
    stream: Stream,
    name: String,
) -> anyhow::Result<(Duration, Duration)> {
    let received = Instant::now();
    let hash = format!("{{{}}}:{}", stream.name, stream.counters[0].name);
    let id = EventId::of_client_key(&stream.name, "", name.as_bytes(), 0);
    let counted = async {
        let is_there = || async { redis.figure(&hash, &name).await.is_some() };
        until(&format!("{name} in Redis"), ASK_REDIS, is_there).await?;
        anyhow::Ok(received.elapsed())
    };
    let archived = async {
        let is_there = || archive.holds(&stream.archive, id);
        until(&format!("{name} in MongoDB"), ASK_MONGODB, is_there).await?;
        anyhow::Ok(received.elapsed())
    };
    tokio::try_join!(counted, archived)
}

/// Waits until the archive holds so many documents.
async fn archived(pipeline: &Pipeline, documents: u64) -> anyhow::Result<()> {
    let collection = &pipeline.stream(STREAM).archive;
    let holds_them = || async { pipeline.archive.size(collection).await >= documents };
    until(
        &format!("{documents} documents in MongoDB"),
        LOOK,
        holds_them,
    )
    .await
}

/// Asks every so often until it is so.
async fn until<F>(what: &str, every: Duration, is_so: impl Fn() -> F) -> anyhow::Result<()>
where
    F: Future<Output = bool>,
{
    let deadline = Instant::now() + CATCH_UP;
    while !is_so().await {
        ensure!(Instant::now() < deadline, "not within {CATCH_UP:?}: {what}");
        sleep(every).await;
    }
    Ok(())
}
