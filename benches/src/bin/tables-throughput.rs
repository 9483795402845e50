//! Rows into PostgreSQL: `consumer tables` out of Kafka beside `COPY` of the same rows by psql, in turns. `make
//! tables-throughput` starts the services that it needs.

use std::time::{Duration, Instant};

use aguacero::{
    id::EventId,
    kafka::Topics,
    record::{HEADER, Header},
};
use anyhow::{Context as _, ensure};
use benches::{cpu, produce, stats::spread};
use clap::Parser;
use e2e::{Kind, Pipeline, Services, postgres::Postgres, progress::progress, repository};
use rdkafka::{
    error::{KafkaError, RDKafkaErrorCode},
    message::{Header as KafkaHeader, OwnedHeaders},
    producer::{BaseProducer, BaseRecord, Producer as _},
};

/// Rows a second and processor time of `consumer tables` and of PostgreSQL, beside COPY of the same rows.
#[derive(Parser)]
#[command(name = "make tables-throughput ARGS=\"…\"")]
struct Arguments {
    /// Sales of the guild.
    #[arg(long, default_value_t = 1_000_000)]
    rows: u64,
    /// How often each side has its turn.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
}

const STREAM: &str = "ventas";
/// Events of one request, whose ids follow each other.
const REQUEST: u64 = 10;
const FLUSH: Duration = Duration::from_secs(60);
/// Between two looks, and the longest time without a row.
const LOOK_EVERY: Duration = Duration::from_millis(20);
const STALLED_AFTER: Duration = Duration::from_secs(60);
/// Of COPY, what is hoped for.
const GOAL: f64 = 0.5;

/// A turn.
#[derive(Clone, Copy)]
struct Turn {
    /// Rows a second.
    rate: f64,
    /// Processor seconds for a million rows: of the client, and of PostgreSQL.
    client: f64,
    server: f64,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let toml = repository("examples/guild.toml");
    let others = [
        Kind::Gateway,
        Kind::producer(),
        Kind::RedisWriter,
        Kind::Consumer,
    ];
    let pipeline = Pipeline::builder(&toml).as_declared().tables(1);
    let pipeline = others.into_iter().fold(pipeline, e2e::Builder::without);
    let mut pipeline = pipeline.prepare().await;
    pipeline.apply_tables().await;
    let topics = Topics::new(&pipeline.config.kafka, "bench")?;
    topics.ensure(&pipeline.config.topics).await?;
    progress(&format!("{} sales into Kafka", arguments.rows));
    fill(&pipeline, arguments.rows)?;
    let postgres = pipeline.postgres.clone().context("PostgreSQL")?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("ventas.copy").display().to_string();

    // What is not measured: the rows that COPY is given, and the table that it fills.
    through(&mut pipeline, &postgres, arguments.rows).await?;
    let copy = format!("\\copy (SELECT * FROM {STREAM}) TO '{file}'");
    postgres.rows(&copy).await;
    let like = format!("CREATE TABLE copied (LIKE {STREAM} INCLUDING ALL)");
    postgres.rows(&like).await;

    println!(
        "{:>24}{:>12}{:>16}{:>16}",
        "", "rows/s", "client, CPU s", "server, CPU s"
    );
    println!("{:>24}{:>12}{:>16}{:>16}", "", "", "a million", "a million");
    let mut sides = [
        ("consumer tables", Vec::new()),
        ("COPY by psql", Vec::new()),
    ];
    for _ in 0..arguments.rounds {
        for (number, (name, turns)) in sides.iter_mut().enumerate() {
            progress(name);
            postgres.rows("TRUNCATE copied").await;
            let turn = match number {
                0 => through(&mut pipeline, &postgres, arguments.rows).await?,
                _ => copied(&postgres, &file, arguments.rows).await?,
            };
            progress("");
            show(name, &turn);
            turns.push(turn);
        }
    }
    let median = |number: usize, of: fn(&Turn) -> f64| {
        let values: Vec<_> = sides[number].1.iter().map(of).collect();
        spread(&values)[1]
    };
    println!();
    for (number, (name, _)) in sides.iter().enumerate() {
        let turn = Turn {
            rate: median(number, |t| t.rate),
            client: median(number, |t| t.client),
            server: median(number, |t| t.server),
        };
        show(&format!("{name}, median"), &turn);
    }
    let share = median(0, |t| t.rate) / median(1, |t| t.rate);
    println!("\n{share:.2} of COPY (goal: {GOAL})");
    Ok(())
}

fn show(name: &str, turn: &Turn) {
    println!(
        "{name:>24}{:>12.0}{:>16.2}{:>16.2}",
        turn.rate, turn.client, turn.server
    );
}

/// A sale as a cart sends it, always the same.
fn sale(n: u64) -> String {
    let mut dice = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut below = |sides: u64| {
        // xorshift64 (Marsaglia 2003)
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        dice % sides
    };
    let (client, amount, stock, cart) = (below(5000), 1 + below(10), below(500), below(200));
    let (hour, minute) = (8 + below(14), below(60));
    let (south, west) = (below(100_000), below(100_000));
    format!(
        r#"{{"Cliente":"Cliente número {client}","Cantidad de Sopaipillas":{amount},"Hora":"{hour:02}:{minute:02}","Stock restante":{stock},"Ubicación del carrito":"-33.{south:05},-70.{west:05}","Patente carrito":"CR-{cart:04}"}}"#
    )
}

/// So many sales into all partitions, as a gateway writes them.
fn fill(pipeline: &Pipeline, rows: u64) -> anyhow::Result<()> {
    let topic = pipeline.config.topic_of(pipeline.stream(STREAM));
    let settings = produce::settings(&pipeline.config.kafka.brokers);
    let producer: BaseProducer = settings.create()?;
    let (mut base, mut header) = (EventId::new_base(), Vec::new());
    for n in 0..rows {
        if n % REQUEST == 0 {
            base = EventId::new_base();
        }
        header.clear();
        Header {
            id: base.plus(n % REQUEST),
            stream: STREAM,
            client_key: b"",
        }
        .write(&mut header);
        let headers = OwnedHeaders::new_with_capacity(1).insert(KafkaHeader {
            key: HEADER,
            value: Some(&header),
        });
        let sale = sale(n);
        let mut record = BaseRecord::<(), _>::to(&topic.name)
            .partition((n / REQUEST) as i32 % topic.partitions)
            .payload(&sale)
            .headers(headers);
        while let Err((error, again)) = producer.send(record) {
            let is_full = error == KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull);
            ensure!(is_full, "{error}");
            producer.poll(LOOK_EVERY);
            record = again;
        }
        if n % 1000 == 0 {
            producer.poll(Duration::ZERO);
        }
    }
    Ok(producer.flush(FLUSH)?)
}

/// All of the topic by `consumer tables` into empty tables. Time counts from the first rows that are seen.
async fn through(pipeline: &mut Pipeline, postgres: &Postgres, rows: u64) -> anyhow::Result<Turn> {
    let empty = format!("TRUNCATE {STREAM}, aguacero.events, aguacero.offsets");
    postgres.rows(&empty).await;
    let server = Services::pid("postgres")?;
    let process = &mut pipeline.tables[0];
    process.start_ready().await;
    let (mut first, mut last) = (None, (0, Instant::now()));
    let turn = loop {
        let seen = process.metric("aguacero_consumer_rows_total").await as u64;
        let now = Instant::now();
        if seen > last.0 {
            last = (seen, now);
            if first.is_none() {
                first = Some((seen, now, cpu::of(process.pid())?, cpu::of_family(server)?));
            }
        }
        if let Some((at, began, client, postgres)) = first.filter(|_| seen >= rows) {
            let (of_client, of_server) = (cpu::of(process.pid())?, cpu::of_family(server)?);
            break turn(
                rows - at,
                now - began,
                of_client.since(client).all(),
                of_server.saturating_sub(postgres),
            );
        }
        let silent = now - last.1;
        ensure!(
            silent < STALLED_AFTER,
            "{seen} of {rows} rows after {silent:?}\n{}",
            process.log_tail()
        );
        tokio::time::sleep(LOOK_EVERY).await;
    };
    process.shut_down().await;
    let there = postgres.count(STREAM).await;
    ensure!(there == rows, "{there} rows instead of {rows}");
    Ok(turn)
}

/// The same rows by COPY into an empty table with the same key.
async fn copied(postgres: &Postgres, file: &str, rows: u64) -> anyhow::Result<Turn> {
    let server = Services::pid("postgres")?;
    let (began, before) = (
        Instant::now(),
        (cpu::of_children()?, cpu::of_family(server)?),
    );
    postgres.rows(&format!("\\copy copied FROM '{file}'")).await;
    let took = began.elapsed();
    let client = cpu::of_children()?.saturating_sub(before.0);
    let server = cpu::of_family(server)?.saturating_sub(before.1);
    let there = postgres.count("copied").await;
    ensure!(there == rows, "{there} rows instead of {rows}");
    Ok(turn(rows, took, client, server))
}

fn turn(rows: u64, took: Duration, client: Duration, server: Duration) -> Turn {
    let for_a_million = |time: Duration| time.as_secs_f64() * 1e6 / rows as f64;
    Turn {
        rate: rows as f64 / took.as_secs_f64(),
        client: for_a_million(client),
        server: for_a_million(server),
    }
}
