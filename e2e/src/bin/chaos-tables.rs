//! Kills of `consumer tables` and of PostgreSQL under load, judged by what the tables hold. Needs services that may be
//! killed; `make chaos-tables` starts them.

use std::{
    process::ExitCode,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use clap::Parser;
use e2e::{
    Kind, Pipeline,
    load::{Feed, Load, Plan},
    outage::Outages,
    progress::progress,
    seed::Dice,
    unless_interrupted,
};

/// Kills `consumer tables` and PostgreSQL under load of events that are sent once and events that are sent twice, and
/// checks that each is one row.
#[derive(Parser)]
#[command(name = "make chaos-tables ARGS=\"…\"")]
struct Arguments {
    /// Kills of `consumer tables`.
    #[arg(long, default_value_t = 200)]
    kills: usize,
    /// Kills of PostgreSQL, with everything that it has started.
    #[arg(long, default_value_t = 50)]
    postgres_kills: usize,
    /// Processes of `consumer tables`.
    #[arg(long, default_value_t = 2)]
    processes: usize,
    /// Nothing is killed after so many minutes.
    #[arg(long, default_value_t = 90)]
    minutes: u64,
    /// Makes the same choices again; printed at the start and in the report.
    #[arg(long)]
    seed: Option<u64>,
}

const FEED: Feed = Feed {
    stream: "lluvia",
    path: "/lluvia",
    batch: 1,
};
const TABLE: &str = "lluvia";
/// Without a primary key: it would refuse the second row of an event, which is to be seen.
const DECLARATION: &str = r#"
[topics.lluvia]
partitions = 4

[streams.lluvia]
topic  = "lluvia"
access = "open"
fields = [
  { name = "texto", type = "string",  required = true },
  { name = "país",  type = "string",  required = true },
  { name = "n",     type = "integer", required = true },
]

[[streams.lluvia.routes]]
path = "/lluvia"

[streams.lluvia.table]
columns = [
  { name = "id",    value = "id" },
  { name = "texto", field = "texto" },
  { name = "pais",  field = "país" },
  { name = "n",     field = "n" },
]
"#;
/// Of each of the two loads, which send the same events.
const CLIENTS: usize = 8;
/// Pause of a client after each event, which bounds what is read at the end.
const PACE: Duration = Duration::from_millis(20);
/// Events stored before the first kill and after the last.
const SETTLE: usize = 200;
/// Longest wait for the first rows of a process before it is killed.
const ROWS_WITHIN: Duration = Duration::from_secs(20);
/// After these, or after their absence, a process is killed at any moment within so many milliseconds.
const MOMENT_MS: u64 = 400;
const ROWS: &str = "aguacero_consumer_rows_total";

/// What is killed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Killed {
    Tables,
    Postgres,
}

/// How often what was killed.
#[derive(Default)]
struct Figures {
    /// Processes that had written rows.
    in_the_midst: usize,
    /// Processes that had not: on their way up, or waiting for PostgreSQL.
    at_the_start: usize,
    postgres: usize,
}

#[tokio::main]
async fn main() -> ExitCode {
    unless_interrupted(run(Arguments::parse())).await
}

async fn run(arguments: Arguments) -> ExitCode {
    let now = || {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
    };
    let seed = arguments.seed.unwrap_or_else(|| now().as_secs());
    let mut dice = Dice::new(seed);
    let outages = Outages::prepare().await;
    let processes = arguments.processes.max(1);
    eprintln!(
        "chaos-tables: {} kills of consumer tables, {} of PostgreSQL, --seed {seed}",
        arguments.kills, arguments.postgres_kills
    );
    let pipeline = Pipeline::builder(DECLARATION)
        .without(Kind::Consumer)
        .tables(processes)
        .with("tables.session_timeout_ms", 6000)
        .with("tables.batch_records_max", 200);
    let mut pipeline = pipeline.start().await;
    let plan = Plan {
        feed: FEED,
        clients: CLIENTS,
        pause: PACE,
        ..Plan::default()
    };
    let loads = [plan.clone(), plan].map(|plan| Load::follow(plan, &pipeline.addresses()));
    settle(&loads).await;

    let (began, bound) = (Instant::now(), Duration::from_secs(60 * arguments.minutes));
    let all = arguments.kills + arguments.postgres_kills;
    let mut left = [
        (Killed::Tables, arguments.kills),
        (Killed::Postgres, arguments.postgres_kills),
    ];
    let mut figures = Figures::default();
    for number in 1..=all {
        if began.elapsed() > bound {
            break;
        }
        let killed = any(&mut left, &mut dice);
        let what = match killed {
            Killed::Tables => "consumer tables",
            Killed::Postgres => "PostgreSQL",
        };
        let (seconds, stored) = (began.elapsed().as_secs(), loads[0].stored());
        progress(&format!(
            "{number} of {all}  {seconds:>5} s  {stored} events  {what}"
        ));
        match killed {
            Killed::Tables => kill_tables(&mut pipeline, &mut dice, &mut figures).await,
            Killed::Postgres => {
                tokio::time::sleep(Duration::from_millis(dice.below(MOMENT_MS))).await;
                outages.begin("postgres").await;
                figures.postgres += 1;
                tokio::time::sleep(Duration::from_millis(dice.below(MOMENT_MS))).await;
                outages.end_only(&["postgres"]).await;
            }
        }
    }
    progress("judging");
    settle(&loads).await;
    let mut reports = Vec::new();
    for load in loads {
        reports.push(load.finish().await);
    }
    let verdict = pipeline.judge_rows(TABLE, &reports).await;
    progress("");
    let minutes = began.elapsed().as_secs_f64() / 60.0;
    println!("\nchaos-tables: seed {seed}, {minutes:.1} minutes\n");
    for (what, count) in [
        ("consumer tables killed with rows", figures.in_the_midst),
        ("consumer tables killed before any", figures.at_the_start),
        ("PostgreSQL killed", figures.postgres),
    ] {
        println!("  {what:<40}{count:>12}");
    }
    println!("{verdict}");
    if !verdict.violations.is_empty() {
        for process in &pipeline.tables {
            eprintln!("{}", process.log_tail());
        }
        return ExitCode::FAILURE;
    }
    let done = figures.in_the_midst + figures.at_the_start + figures.postgres;
    if done < all {
        println!("  {done} of {all} kills in {} minutes.", arguments.minutes);
        return ExitCode::FAILURE;
    }
    println!("  Each event is one row: none is missing, none there twice, none changed.");
    ExitCode::SUCCESS
}

async fn settle(loads: &[Load]) {
    for load in loads {
        load.progress(SETTLE).await;
    }
}

/// One of those that are left, by chance.
fn any(left: &mut [(Killed, usize); 2], dice: &mut Dice) -> Killed {
    let sum = left[0].1 + left[1].1;
    let is_first = dice.below(sum.max(1) as u64) < left[0].1 as u64;
    let (killed, count) = &mut left[usize::from(!is_first)];
    *count = count.saturating_sub(1);
    *killed
}

/// Kills one of them, and starts it again: in three of four cases once it has written rows, and else at any moment.
async fn kill_tables(pipeline: &mut Pipeline, dice: &mut Dice, figures: &mut Figures) {
    let number = dice.below(pipeline.tables.len() as u64) as usize;
    let process = &mut pipeline.tables[number];
    let (began, waits) = (Instant::now(), dice.below(4) > 0);
    while waits && began.elapsed() < ROWS_WITHIN && process.metric(ROWS).await == 0.0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tokio::time::sleep(Duration::from_millis(dice.below(MOMENT_MS))).await;
    assert!(
        process.is_running(),
        "it has ended by itself: {}",
        process.log_tail()
    );
    match process.metric(ROWS).await {
        0.0 => figures.at_the_start += 1,
        _ => figures.in_the_midst += 1,
    }
    process.kill();
    process.start();
}
