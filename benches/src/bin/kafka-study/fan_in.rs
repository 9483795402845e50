//! Fan-in: the same events by way of one gateway, of ten and of fifty. Each gateway has a kafka-producer of its own, which
//! has connections of its own to all brokers.

use std::{
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use benches::{
    cpu, events,
    load::{self, Load, Outcome, Pace, Plan},
    plot::Axes,
};
use e2e::{
    ON_THREE_BROKERS, Pipeline, edited, eventually, once,
    process::{Kind, Process},
    repository,
};

use crate::{
    Chapter, Study,
    brokers::Topic,
    page::Page,
    requests::Requests,
    turns::{Turns, in_turns},
};

pub(crate) const CHAPTER: Chapter = Chapter {
    name: "fan-in",
    title: "Events by way of one gateway, of ten and of fifty",
    brokers: 3,
    write: |study, page| Box::pin(write(study, page)),
};

const GATEWAYS: [u64; 3] = [1, 10, 50];
/// Connections of clients, to all gateways together.
const CLIENTS: usize = 200;
/// As `aguacero.toml` has them.
const PARTITIONS: i32 = 6;
const STREAM: &str = "weather";
/// How many times as long as the others these turns last: a gateway of fifty sends few events in a second.
const LONGER: u32 = 12;
/// Different requests of an offer.
const REQUESTS: u64 = 100;

/// What clients send.
#[derive(Clone, Copy)]
struct Offer {
    pace: Pace,
    /// Events of a request.
    batch: u64,
}

const OFFERS: [(&str, Offer); 3] = [
    (
        "single events, 300/s",
        Offer {
            pace: Pace::Rate(300.0),
            batch: 1,
        },
    ),
    (
        "batches of 100, 10,000 events/s",
        Offer {
            pace: Pace::Rate(100.0),
            batch: 100,
        },
    ),
    (
        "single events, 200 clients that await each",
        Offer {
            pace: Pace::Closed,
            batch: 1,
        },
    ),
];

/// Of what a turn measures, where the second table begins, and the third.
const BROKERS: usize = 3;
const COSTS: usize = BROKERS + 7;
const ALL: usize = COSTS + 4;

async fn write(study: &Study, page: &mut Page) -> anyhow::Result<()> {
    let turns = in_turns(study.rounds, &OFFERS, &GATEWAYS, async |offer, gateways| {
        study.fan_in(offer, gateways as usize).await
    });
    let turns: Turns<ALL> = turns.await?;
    let sides = ["offer", "gateways"];
    page.table(
        "Answers",
        sides,
        ["events/s", "p50, ms", "p99, ms"],
        &turns.part::<BROKERS>(0),
    );
    page.table(
        "At the three brokers",
        sides,
        [
            "connections",
            "slabs/s of each partition",
            "events of a slab",
            "events of a batch in the log",
            "produce requests/s",
            "fetches of followers/s",
            "CPU s/M",
        ],
        &turns.part::<{ COSTS - BROKERS }>(BROKERS),
    );
    page.table(
        "Gateways and kafka-producers",
        sides,
        [
            "s until all are ready",
            "gateways, CPU s/M",
            "kafka-producers, CPU s/M",
            "MiB of one of each",
        ],
        &turns.part::<{ ALL - COSTS }>(COSTS),
    );
    let plots = [
        (["answers over gateways, p99", "gateways", "ms"], 2),
        (
            ["connections over gateways", "gateways", "connections"],
            BROKERS,
        ),
        (
            ["events of a slab over gateways", "gateways", "events"],
            BROKERS + 2,
        ),
        (
            ["CPU of the brokers over gateways", "gateways", "CPU s/M"],
            COSTS - 1,
        ),
    ];
    for (plot, column) in plots {
        page.plot(Axes::Factors, plot, &turns, column)?;
    }
    Ok(())
}

impl Study {
    /// Sends what is offered by way of so many gateways that have just been started, has it archived, and counts it.
    async fn fan_in(&self, offer: Offer, gateways: usize) -> anyhow::Result<[f64; ALL]> {
        let others = self.brokers.connections()?;
        let toml = edited(&repository("aguacero.toml"), &ON_THREE_BROKERS);
        let builder = Pipeline::builder(&toml)
            .with("gateway.workers", 1)
            .into_kafka_only()
            .pods(gateways);
        let began = Instant::now();
        let mut pipeline = builder.start().await;
        let ready = began.elapsed();
        pipeline.kafka.in_sync().await;

        let before = Requests::so_far(&self.brokers).await?;
        let addresses = pipeline.addresses();
        let warm_up = send(&addresses, offer, self.warm_up * LONGER)?;
        let (cpu, brokers) = (spent(&pipeline)?, self.brokers.cpu()?);
        let outcome = send(&addresses, offer, self.duration * LONGER)?;
        let [gateway_cpu, producer_cpu] = spent(&pipeline)?
            .into_iter()
            .zip(cpu)
            .map(|(after, before)| after - before)
            .collect::<Vec<_>>()
            .try_into()
            .unwrap_or_default();
        let broker_cpu = self.brokers.cpu()? - brokers;
        let connections = self.brokers.connections()?.saturating_sub(others);
        let requests = Requests::so_far(&self.brokers).await?.since(&before);

        let stored = stored(&mut pipeline, offer, &[&warm_up, &outcome]).await?;
        let log = self.brokers.log(&Topic {
            name: pipeline.topic(STREAM).to_owned(),
            partitions: PARTITIONS,
        })?;
        let slabs = sum(&pipeline, Kind::KafkaProducer, "slab_records_count").await;
        let seconds = (warm_up.elapsed + outcome.elapsed).as_secs_f64();
        let events = (outcome.times.len() * offer.batch) as f64;
        let for_a_million = |cpu: Duration| cpu.as_secs_f64() / events * 1e6;
        let memory = of(&pipeline, Kind::Gateway).chain(of(&pipeline, Kind::KafkaProducer));
        let memory: u64 = memory.map(Process::memory).sum();
        Ok([
            outcome.rate() * offer.batch as f64,
            outcome.quantile_us(0.5) / 1e3,
            outcome.quantile_us(0.99) / 1e3,
            connections as f64,
            slabs / seconds / f64::from(PARTITIONS),
            stored as f64 / slabs,
            log.records as f64 / log.batches as f64,
            requests.produce as f64 / seconds,
            requests.follower as f64 / seconds,
            for_a_million(broker_cpu),
            ready.as_secs_f64(),
            for_a_million(gateway_cpu),
            for_a_million(producer_cpu),
            memory as f64 / gateways as f64 / f64::from(1 << 20),
        ])
    }
}

/// Has a load of its own for each gateway. At a rate, their requests are due at even times, one gateway after the other.
fn send(addresses: &[SocketAddr], offer: Offer, duration: Duration) -> anyhow::Result<Outcome> {
    let gateways = addresses.len();
    let (kind, requests) = match offer.batch {
        1 => ("application/json", 0..REQUESTS),
        _ => ("application/x-ndjson", 0..REQUESTS / 10),
    };
    let requests: Vec<_> = requests
        .map(|n| {
            load::post(
                "/input",
                kind,
                &events::ndjson(n * offer.batch, offer.batch),
            )
        })
        .collect();
    let (pace, apart) = match offer.pace {
        Pace::Closed => (Pace::Closed, Duration::ZERO),
        Pace::Rate(rate) => {
            let pace = Pace::Rate(rate / gateways as f64);
            (pace, Duration::from_secs_f64(1.0 / rate))
        }
    };
    let plan = Plan {
        requests: &requests,
        connections: CLIENTS / gateways,
        pace,
        warm_up: Duration::ZERO,
        duration,
    };
    thread::scope(|scope| {
        let loads: Vec<_> = (0..)
            .zip(addresses)
            .map(|(number, address)| {
                scope.spawn(move || {
                    let load = Load::connect(*address, plan)?;
                    thread::sleep(apart * number);
                    load.run(|| {})
                })
            })
            .collect();
        let outcomes = loads
            .into_iter()
            .map(|load| load.join().ok().context("a load panicked")?);
        let outcomes: Vec<_> = outcomes.collect::<anyhow::Result<_>>()?;
        let mut outcomes = outcomes.into_iter();
        let mut all = outcomes.next().context("no gateway")?;
        for one in outcomes {
            all.times.add(&one.times)?;
            all.elapsed = all.elapsed.max(one.elapsed);
            for (status, count) in one.others {
                *all.others.entry(status).or_default() += count;
            }
        }
        Ok(all)
    })
}

/// Waits until all is archived; checks that Kafka and the archive have each event once, and returns how many there are.
async fn stored(
    pipeline: &mut Pipeline,
    offer: Offer,
    outcomes: &[&Outcome],
) -> anyhow::Result<u64> {
    for outcome in outcomes {
        let others = &outcome.others;
        ensure!(others.is_empty(), "answers other than 200: {others:?}");
    }
    let answered: u64 = outcomes.iter().map(|o| o.times.len() * offer.batch).sum();
    // Who sends as fast as answers come does not wait for the last ones.
    let unanswered = match offer.pace {
        Pace::Closed => (CLIENTS * outcomes.len()) as u64 * offer.batch,
        Pace::Rate(_) => 0,
    };
    once("no event on its way", async || {
        sum(pipeline, Kind::Gateway, "bytes_in_flight").await == 0.0
    })
    .await;
    let in_kafka = pipeline.kafka.count(pipeline.topic(STREAM)).await;
    ensure!(
        (answered..=answered + unanswered).contains(&in_kafka),
        "{answered} events were answered 200, {in_kafka} are in Kafka"
    );
    let collection = pipeline.stream(STREAM).archive.clone();
    pipeline.consumer().start_ready().await;
    eventually("all is archived", async || {
        match pipeline.archive.count(&collection).await {
            archived if archived >= in_kafka => Ok(()),
            archived => Err(format!("{archived} of {in_kafka}")),
        }
    })
    .await;
    let archived = pipeline.archive.count(&collection).await;
    ensure!(
        archived == in_kafka,
        "{in_kafka} events are in Kafka, {archived} in the archive"
    );
    Ok(in_kafka)
}

/// Processor time of the gateways, and of the kafka-producers, so far.
fn spent(pipeline: &Pipeline) -> anyhow::Result<[Duration; 2]> {
    let all = |kind| {
        let each = of(pipeline, kind).map(|process| Ok(cpu::of(process.pid())?.all()));
        each.sum::<anyhow::Result<Duration>>()
    };
    Ok([all(Kind::Gateway)?, all(Kind::KafkaProducer)?])
}

/// Of all processes of a kind together, a metric without the beginning of its name.
async fn sum(pipeline: &Pipeline, kind: Kind, metric: &str) -> f64 {
    let process = match kind {
        Kind::KafkaProducer => "producer",
        _ => kind.program(),
    };
    let mut all = 0.0;
    for process_of_kind in of(pipeline, kind) {
        all += process_of_kind
            .metric(&format!("aguacero_{process}_{metric}"))
            .await;
    }
    all
}

fn of(pipeline: &Pipeline, kind: Kind) -> impl Iterator<Item = &Process> {
    pipeline
        .processes()
        .filter(move |process| process.kind() == kind)
}
