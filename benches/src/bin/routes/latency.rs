//! Time, requests for a second, processor time and memory of each side: single events over connections, batches, Locust.

use benches::{
    locust::{requests_of, run},
    page::Page,
    plot::Axes,
    sides::{Server, Turn},
    turns::Turns,
};

use crate::{
    Chapter, Study,
    events::BATCH,
    side::{GATEWAY, KAFKA, PATH, PRODUCER, Side, Sides, ratios},
};

pub(crate) const LATENCY: Chapter = Chapter {
    name: "latency",
    title: "Routes: single events",
    is_load: true,
    write: |study, page| Box::pin(latency(study, page)),
};
pub(crate) const BATCHES: Chapter = Chapter {
    name: "batches",
    title: "Routes: batches",
    is_load: true,
    write: |study, page| Box::pin(batches(study, page)),
};
pub(crate) const LOCUST: Chapter = Chapter {
    name: "locust",
    title: "Routes: Locust",
    is_load: true,
    write: |study, page| Box::pin(locust(study, page)),
};

const CONNECTIONS: [u64; 3] = [1, 10, 100];
const CONNECTIONS_OF_BATCHES: u64 = 16;
const USERS: u64 = 10;

/// What a turn is told in.
const COLUMNS: usize = 10;
const TIMES: [&str; 4] = ["p50, µs", "p99, µs", "p99.9, µs", "requests/s"];
const SECONDS: [&str; 3] = ["gateway + producer", "producer", "Kafka"];
const HELD: [&str; 3] = [
    "events of a slab",
    "bytes of their values",
    "MiB of the producer",
];
/// Where a table's columns begin.
const OF_SECONDS: usize = TIMES.len();
const OF_HELD: usize = OF_SECONDS + SECONDS.len();

const RATE: usize = 3;
const MEMORY: &str = "aguacero_wasm_memory_bytes";
const CPU: &str = "CPU seconds for a million events";
const RATIO: &str = "Beside the native engine, in the same round";

async fn latency(study: &Study, page: &mut Page) -> anyhow::Result<()> {
    let sides = Sides::start().await?;
    let turns = sides.beside(study.effort, &CONNECTIONS, async |server, connections| {
        turn(study, server, &study.events.singles, connections, 1).await
    });
    let turns = turns.await?;
    let over = ["route", "connections"];
    tables(page, over, &turns);
    for (column, title, unit) in [
        (0, "p50 of the routes", TIMES[0]),
        (1, "p99 of the routes", TIMES[1]),
        (2, "p99.9 of the routes", TIMES[2]),
        (RATE, "rate of the routes", TIMES[RATE]),
    ] {
        page.plot(Axes::Factors, [title, over[1], unit], &turns, column)?;
    }
    for (column, title) in [
        (OF_SECONDS, "CPU of gateway and producer"),
        (OF_SECONDS + 1, "CPU of the producer"),
    ] {
        let unit = "s for a million events";
        page.plot(Axes::Factors, [title, over[1], unit], &turns, column)?;
    }
    Ok(())
}

async fn batches(study: &Study, page: &mut Page) -> anyhow::Result<()> {
    let sides = Sides::start().await?;
    let over = [CONNECTIONS_OF_BATCHES];
    let turns = sides.beside(study.effort, &over, async |server, connections| {
        turn(study, server, &study.events.batches, connections, BATCH).await
    });
    page.paragraph(&format!(
        "NDJSON of {BATCH} events in each request, {CONNECTIONS_OF_BATCHES} connections."
    ));
    tables(page, ["route", ""], &turns.await?);
    let module = sides.of(Side::Wasm).pipeline()?.producer.metric(MEMORY);
    page.paragraph(&format!(
        "The memory of the module's instance after that: {:.1} MiB.",
        mebibytes(module.await as u64)
    ));
    Ok(())
}

/// What came of `duration` of such requests.
async fn turn(
    study: &Study,
    server: &Server,
    requests: &[Vec<u8>],
    connections: u64,
    events: usize,
) -> anyhow::Result<[f64; COLUMNS]> {
    let before = server.slabs().await?;
    let turn = server.turn(requests, connections as usize, study.effort)?;
    anyhow::ensure!(
        !turn.outcome.times.is_empty(),
        "not one answer in a turn: give it more --seconds"
    );
    // Of the warm-up too.
    let slabs = server.slabs().await?.since(before);
    let time = |quantile| turn.outcome.quantile_us(quantile);
    let [both, producer, kafka] = seconds(&turn, events);
    Ok([
        time(0.5),
        time(0.99),
        time(0.999),
        turn.outcome.rate(),
        both,
        producer,
        kafka,
        slabs.events / slabs.count,
        slabs.bytes / slabs.count,
        mebibytes(server.pipeline()?.producer.memory()),
    ])
}

fn seconds(turn: &Turn, events: usize) -> [f64; 3] {
    let [gateway, producer, kafka] =
        [GATEWAY, PRODUCER, KAFKA].map(|process| turn.seconds_of(process, events));
    [gateway + producer, producer, kafka]
}

pub(crate) fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn tables(page: &mut Page, over: [&str; 2], turns: &Turns<COLUMNS>) {
    page.table("Time", over, TIMES, &turns.part::<{ TIMES.len() }>(0));
    let seconds = turns.part::<{ SECONDS.len() }>(OF_SECONDS);
    page.table(CPU, over, SECONDS, &seconds);
    let held = turns.part::<{ HELD.len() }>(OF_HELD);
    page.table("Slabs and memory", over, HELD, &held);
    let ratios = ratios(turns).part::<OF_HELD>(0);
    let columns = [
        "p50",
        "p99",
        "p99.9",
        "requests/s",
        "CPU of gateway + producer",
        "CPU of the producer",
        "CPU of Kafka",
    ];
    page.table(RATIO, over, columns, &ratios);
}

async fn locust(study: &Study, page: &mut Page) -> anyhow::Result<()> {
    let sides = Sides::start().await?;
    let requests = requests_of(study.effort);
    let records = concat!(env!("CARGO_MANIFEST_DIR"), "/../locust/data/votes.json");
    let also = ["--routes", PATH, "--records", records];
    let turns = sides.beside(study.effort, &[USERS], async |server, users| {
        let run = run(server, users as usize, requests, &also)?;
        anyhow::ensure!(run.failures == 0, "failures: {}", run.kinds);
        let millions = requests as f64 / 1e6;
        let of = |process: usize| run.cpu[process].all().as_secs_f64() / millions;
        Ok([
            run.p50_ms,
            run.p99_ms,
            run.p999_ms,
            run.rate,
            of(GATEWAY) + of(PRODUCER),
            of(PRODUCER),
        ])
    });
    let turns = turns.await?;
    page.paragraph(&format!(
        "{USERS} users, {requests} requests in each round, one event each. Locust's own time is most of what there is to see."
    ));
    let columns = ["p50, ms", "p99, ms", "p99.9, ms", "requests/s"];
    page.table("Time", ["route", ""], columns, &turns.part::<4>(0));
    let columns = ["gateway + producer", "producer"];
    page.table(CPU, ["route", ""], columns, &turns.part::<2>(4));
    let columns = [
        "p50",
        "p99",
        "p99.9",
        "requests/s",
        "CPU of gateway + producer",
        "CPU of the producer",
    ];
    page.table(RATIO, ["route", ""], columns, &ratios(&turns));
    Ok(())
}
