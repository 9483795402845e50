//! Rows into PostgreSQL: `consumer tables` out of Kafka beside `COPY` of the same rows by psql and, if asked for, Kafka
//! Connect's JDBC sink, in turns. `make tables-throughput` starts the services that it needs.

mod connect;
mod sales;
mod turn;

use std::{
    path::Path,
    process::ExitCode,
    time::{Duration, Instant},
};

use aguacero::kafka::Topics;
use anyhow::{Context as _, ensure};
use benches::cpu;
use clap::Parser;
use connect::Connect;
use e2e::{
    Kind, Pipeline, Services, postgres::Postgres, progress::progress, repository,
    unless_interrupted,
};
use turn::{Turn, ratio, show, show_heads, show_median};

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
    /// Also Kafka Connect with Debezium's JDBC sink, inserting and upserting, which is fetched from Maven.
    #[arg(long)]
    connect: bool,
}

const STREAM: &str = "ventas";
/// Between two looks at what `consumer tables` has done.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Of COPY, what is hoped for.
const GOAL: f64 = 0.5;

/// Who writes rows.
#[derive(Clone, Copy)]
enum Side {
    Tables,
    Copy,
    /// With `insert.mode`.
    Connect(&'static str),
}

impl Side {
    fn name(self) -> String {
        match self {
            Self::Tables => "consumer tables".into(),
            Self::Copy => "COPY by psql".into(),
            Self::Connect(mode) => format!("Connect, {mode}"),
        }
    }
}

/// What the sides share.
struct Bench {
    pipeline: Pipeline,
    postgres: Postgres,
    connect: Option<Connect>,
    rows: u64,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    unless_interrupted(async {
        match run(&arguments).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("tables-throughput: {error:#}");
                ExitCode::FAILURE
            }
        }
    })
    .await
}

async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let mut bench = Bench::prepare(arguments).await?;
    let mut sides = vec![Side::Tables, Side::Copy];
    if arguments.connect {
        sides.extend(["insert", "upsert"].map(Side::Connect));
    }

    // What is not measured: the rows that COPY is given, and the table that it fills.
    bench.tables().await?;
    let file = folder.path().join("ventas.copy");
    let copy = format!("\\copy (SELECT * FROM {STREAM}) TO '{}'", file.display());
    bench.postgres.rows(&copy).await;

    show_heads();
    let mut turns = vec![Vec::new(); sides.len()];
    for _ in 0..arguments.rounds {
        for (side, turns) in sides.iter().zip(&mut turns) {
            progress(&side.name());
            bench.empty().await;
            let turn = match side {
                Side::Tables => bench.tables().await?,
                Side::Copy => bench.copy(&file).await?,
                Side::Connect(mode) => bench.connect(mode, folder.path()).await?,
            };
            progress("");
            show(&side.name(), &turn);
            turns.push(turn);
        }
    }

    println!();
    for (side, turns) in sides.iter().zip(&turns) {
        show_median(&side.name(), turns);
    }
    println!("\nconsumer tables by round, median (lowest-highest):");
    let ours = &turns[0];
    let of_copy = ratio(ours, &turns[1], |t| t.rate);
    println!("  {of_copy} of COPY (goal: {GOAL})");
    for (side, theirs) in sides.iter().zip(&turns).skip(2) {
        println!(
            "  {} times the rows/s of {}, {} of its client's processor time, {} of its server's",
            ratio(ours, theirs, |t| t.rate),
            side.name(),
            ratio(ours, theirs, |t| t.client),
            ratio(ours, theirs, |t| t.server)
        );
    }
    Ok(())
}

impl Bench {
    /// The sales in Kafka, and empty tables.
    async fn prepare(arguments: &Arguments) -> anyhow::Result<Self> {
        let toml = repository("examples/guild.toml");
        let others = [
            Kind::Gateway,
            Kind::producer(),
            Kind::RedisWriter,
            Kind::Consumer,
        ];
        let pipeline = Pipeline::builder(&toml).as_declared().tables(1);
        let pipeline = others.into_iter().fold(pipeline, e2e::Builder::without);
        let pipeline = pipeline.prepare().await;
        pipeline.apply_tables().await;
        let postgres = pipeline.postgres.clone().context("PostgreSQL")?;
        let like = format!("CREATE TABLE copied (LIKE {STREAM} INCLUDING ALL)");
        postgres.rows(&like).await;
        let connect = match arguments.connect {
            true => Some(Connect::new(&pipeline, &postgres).await?),
            false => None,
        };
        let topics = Topics::new(&pipeline.config.kafka, "bench")?;
        topics.ensure(&pipeline.config.topics).await?;
        progress(&format!("{} sales into Kafka", arguments.rows));
        sales::fill(&pipeline, arguments.rows)?;
        Ok(Self {
            pipeline,
            postgres,
            connect,
            rows: arguments.rows,
        })
    }

    /// The tables of all sides.
    async fn empty(&self) {
        let of_connect = self.connect.as_ref().map(|_| connect::TABLE);
        let others = of_connect.into_iter().chain(["copied", STREAM]);
        let others = others.collect::<Vec<_>>().join(", ");
        let empty = format!("TRUNCATE {others}, aguacero.events, aguacero.offsets");
        self.postgres.rows(&empty).await;
    }

    /// All of the topic by `consumer tables`.
    async fn tables(&mut self) -> anyhow::Result<Turn> {
        let process = &mut self.pipeline.tables[0];
        process.start_ready().await;
        let look = async || Ok(process.metric("aguacero_consumer_rows_total").await as u64);
        let turn = Turn::of_process(process.pid(), self.rows, LOOK_EVERY, look).await;
        let turn = turn.with_context(|| process.log_tail())?;
        process.shut_down().await;
        self.are_all_in(STREAM).await?;
        Ok(turn)
    }

    /// The same rows by COPY into a table with the same key.
    async fn copy(&self, file: &Path) -> anyhow::Result<Turn> {
        let server = Services::pid("postgres")?;
        let before = (cpu::of_children()?, cpu::of_family(server)?);
        let began = Instant::now();
        let copy = format!("\\copy copied FROM '{}'", file.display());
        self.postgres.rows(&copy).await;
        let took = began.elapsed();
        let client = cpu::of_children()?.saturating_sub(before.0);
        let server = cpu::of_family(server)?.saturating_sub(before.1);
        self.are_all_in("copied").await?;
        Ok(Turn::new(self.rows, took, client, server))
    }

    /// All of the topic by Kafka Connect.
    async fn connect(&mut self, mode: &str, folder: &Path) -> anyhow::Result<Turn> {
        let connect = self.connect.as_mut().context("Kafka Connect")?;
        let turn = connect.through(mode, self.rows, folder).await?;
        self.are_all_in(connect::TABLE).await?;
        Ok(turn)
    }

    async fn are_all_in(&self, table: &str) -> anyhow::Result<()> {
        let (there, rows) = (self.postgres.count(table).await, self.rows);
        ensure!(there == rows, "{there} rows in {table} instead of {rows}");
        Ok(())
    }
}
