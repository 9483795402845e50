//! Rolling restarts of gateways under load: whether one connection is closed with a request on its way.
//! Needs services; `make rolling-restarts` starts them.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::Parser;
use e2e::{
    Pipeline, eventually,
    progress::progress,
    rolling::{Clients, Plan, restart},
    unless_interrupted,
};

/// Ends the gateways by SIGTERM and starts them again, one after the other, while clients that keep their
/// connections go on sending. Status 0 only if every request that was on its way got an answer, `/readyz`
/// told of each end, and the archive has each event once.
#[derive(Parser)]
#[command(name = "make rolling-restarts ARGS=\"…\"")]
struct Arguments {
    /// Restarts in all, of one gateway after the other.
    #[arg(long, default_value_t = 100)]
    restarts: usize,
    /// Gateways, each with sidecars of its own.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=8))]
    gateways: u8,
    /// Connections of each kind, HTTP/1.1 and HTTP/2.
    #[arg(long, default_value_t = 8)]
    connections: usize,
    /// Requests at the same time on a connection of HTTP/2.
    #[arg(long, default_value_t = 4)]
    streams: usize,
    /// Pause of a connection after each request, or each set of streams, in milliseconds.
    #[arg(long, default_value_t = 40)]
    pause: u64,
    /// Events that are stored between two restarts, at least.
    #[arg(long, default_value_t = 60)]
    between: usize,
    /// `gateway.drain_delay_ms`; what it is by default, unless given.
    #[arg(long, value_name = "MILLISECONDS")]
    drain_delay: Option<u64>,
}

#[tokio::main]
async fn main() -> ExitCode {
    unless_interrupted(run(Arguments::parse())).await
}

async fn run(arguments: Arguments) -> ExitCode {
    let gateways = usize::from(arguments.gateways);
    let mut builder = Pipeline::weather().pods(gateways);
    if let Some(delay) = arguments.drain_delay {
        builder = builder.with("gateway.drain_delay_ms", delay);
    }
    let mut pipeline = builder.start().await;
    let plan = Plan {
        connections: arguments.connections,
        streams: arguments.streams,
        pause: Duration::from_millis(arguments.pause),
    };
    let began = Instant::now();
    let clients = Clients::start(plan, &pipeline.addresses());
    let tally = clients.tally();
    for number in 0..arguments.restarts {
        clients.progress(arguments.between).await;
        let gateway = pipeline.gateway_mut(number % gateways);
        let took = restart(gateway).await;
        let line = tally.with(|tally| {
            tally.restarts.push(took);
            let (restarts, stored, lost) = (tally.restarts.len(), tally.stored, tally.lost);
            format!("{restarts} restarts, {stored} events stored, {lost} requests lost")
        });
        progress(&format!("{:>5} s  {line}", began.elapsed().as_secs()));
    }
    clients.progress(arguments.between).await;
    clients.finish().await;
    let tally = tally.with(|tally| tally.clone());
    progress("waiting for the archive");
    let collection = pipeline.stream("weather").archive.clone();
    eventually("each event archived", async || {
        let archived = pipeline.archive.count(&collection).await;
        match archived == tally.stored as u64 {
            true => Ok(()),
            false => Err(format!("{archived} of {}", tally.stored)),
        }
    })
    .await;
    progress("");
    let minutes = began.elapsed().as_secs_f64() / 60.0;
    println!(
        "{gateways} gateways; {} connections of HTTP/1.1 and {} of HTTP/2 with {} streams each; {minutes:.1} minutes\n\n{tally}",
        plan.connections, plan.connections, plan.streams
    );
    if tally.is_clean() {
        println!(
            "\n  Every request that was on its way was answered, and each event is archived once."
        );
        return ExitCode::SUCCESS;
    }
    ExitCode::FAILURE
}
