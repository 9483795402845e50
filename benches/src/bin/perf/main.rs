//! Aguacero beside its limits: each goal of `perf-reports/README.md` as the ratio of two sides that take
//! turns in one run. `make perf-quick` and `make perf` start the services for it.

mod clients;
mod curves;
mod goal;
mod ingest;
mod locust;
mod peer;
mod report;
mod stores;
mod whole;

use std::path::PathBuf;

use anyhow::Context as _;
use benches::{
    bare,
    sides::{self, Effort, Events, Server},
};
use clap::Parser;

use goal::Goal;
use report::Report;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures Aguacero beside its limits.
#[derive(Parser)]
#[command(name = "make perf ARGS=\"…\"")]
struct Arguments {
    /// Turns of each pair.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Seconds of each turn, beside a warm-up of a third of it.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Only goals with this in their names.
    #[arg(long)]
    only: Option<String>,
    /// Folder for the report; none is written unless given.
    #[arg(long)]
    out: Option<PathBuf>,
    /// The broker has been under load for half a minute already.
    #[arg(long, hide = true)]
    warm: bool,
    /// Be the bare server: what the comparisons start by themselves.
    #[arg(long, hide = true)]
    serve_bare: bool,
}

/// Every goal, by subject.
const GOALS: &[&[Goal]] = &[
    ingest::GOALS,
    clients::GOALS,
    stores::GOALS,
    whole::GOALS,
    locust::GOALS,
];

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if arguments.serve_bare {
        return bare::serve();
    }
    let effort = Effort::of(arguments.rounds, arguments.seconds);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let mut report = Report::default();
    let events = Events::generated();
    if !arguments.warm {
        eprintln!("the broker warms up …");
        let ours = runtime.block_on(Server::durable());
        sides::warm_up_broker(&ours, &events.singles)?;
    }
    for goal in GOALS.iter().copied().flatten() {
        let is_wanted = |only: &String| goal.name.contains(only.as_str());
        if arguments.only.as_ref().is_none_or(is_wanted) {
            eprintln!("{} …", goal.name);
            let figures = runtime.block_on((goal.measure)(&events, effort));
            report.add(goal, figures.with_context(|| goal.name)?);
        }
    }
    print!("{}", report.table());
    if let Some(folder) = arguments.out {
        eprintln!("curves …");
        report.curves = runtime.block_on(curves::all(&events, effort))?;
        report.write(&folder)?;
        eprintln!("written to {}", folder.display());
    }
    Ok(())
}
