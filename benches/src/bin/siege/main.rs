//! Slow and flooding clients of each kind beside a good one: what they cost the gateway, and what the good one
//! feels of them. `make siege` starts a pipeline for it; with `--address` it besieges any gateway, which it
//! knows nothing of but its address.

mod attack;
mod bodies;
mod good;
mod h2;
mod kind;
mod memory;
mod row;

use std::{net::SocketAddr, process::ExitCode, time::Duration};

use anyhow::{Context as _, ensure};
use clap::Parser;
use e2e::Pipeline;

use attack::Plan;
use good::Good;
use kind::Then;
use memory::Memory;
use row::Row;

/// Between two kinds, for the gateway to let go of the connections of the first.
const PAUSE: Duration = Duration::from_secs(1);

/// Besieges a gateway with slow and flooding clients, one kind after the other, beside a good client.
#[derive(Parser)]
#[command(name = "make siege ARGS=\"…\"")]
struct Arguments {
    /// A gateway that runs; one of its own on real services unless given.
    #[arg(long)]
    address: Option<SocketAddr>,
    /// Process of that gateway, whose memory is looked at.
    #[arg(long, requires = "address")]
    pid: Option<u32>,
    /// Where the good client's events go to.
    #[arg(long, default_value = "/input")]
    path: String,
    /// What the good client sends.
    #[arg(long, default_value = r#"{"texto":"Su lluvia","país":"Argentina"}"#)]
    event: String,
    /// Slow clients of a kind.
    #[arg(long, default_value_t = 500)]
    connections: usize,
    /// Flooding clients of a kind.
    #[arg(long, default_value_t = 20)]
    floods: usize,
    /// MB that the flooding clients of a kind send together at most.
    #[arg(long, default_value_t = 50)]
    megabytes: u64,
    /// How long each kind lasts.
    #[arg(long, default_value_t = 15)]
    seconds: u64,
    /// Instead of connections: bodies that are made to cost more than they are worth.
    #[arg(long)]
    bodies: bool,
    /// So many of each body at the same time.
    #[arg(long, default_value_t = 1)]
    at_once: usize,
    /// Only kinds, or bodies, with this in their names; may be given again.
    #[arg(long)]
    only: Vec<String>,
    /// A key of the own pipeline's gateway: `--set idle_timeout_ms=5000`; may be given again.
    #[arg(long, value_name = "KEY=VALUE", conflicts_with = "address")]
    set: Vec<String>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let is_wanted = |name: &str| {
        arguments.only.is_empty() || arguments.only.iter().any(|only| name.contains(&**only))
    };
    let kinds: Vec<_> = kind::all()
        .into_iter()
        .filter(|k| is_wanted(k.name))
        .collect();
    ensure!(
        arguments.bodies || !kinds.is_empty(),
        "no kind is called like that; there are: {}",
        kind::all()
            .iter()
            .map(|k| k.name)
            .collect::<Vec<_>>()
            .join(", ")
    );
    e2e::overload::raise_open_files();
    let (_pipeline, address, pid) = match arguments.address {
        Some(address) => (None, address, arguments.pid),
        None => {
            let pipeline = started(&arguments.set).await?;
            let (address, pid) = (pipeline.address(), pipeline.gateway.pid());
            (Some(pipeline), address, Some(pid))
        }
    };
    let memory = Memory::of(pid);
    if arguments.bodies {
        let is_good = bodies::run(address, &memory, arguments.at_once, is_wanted).await;
        return Ok(exit(is_good));
    }
    let mut is_served = true;
    println!("{}", Row::head());
    for kind in std::iter::once(&kind::nobody()).chain(&kinds) {
        let connections = match kind.then {
            Then::Flood(_) => arguments.floods,
            _ if kind.name == kind::NOBODY => 0,
            _ => arguments.connections,
        };
        let plan = Plan {
            address,
            connections,
            bytes: arguments.megabytes * 1_000_000,
            duration: Duration::from_secs(arguments.seconds),
        };
        let before = memory.begin();
        let good = Good::start(address, &arguments.path, &arguments.event);
        let ends = attack::run(kind, &plan).await;
        let row = Row {
            name: kind.name,
            ends,
            good: good.stop()?,
            before,
            peak: memory.peak(),
        };
        println!("{row}");
        is_served &= !row.good.times.is_empty() && row.good.failed == 0;
        tokio::time::sleep(PAUSE).await;
    }
    println!(
        "\nheld: open at the end. closed: by the gateway, so many seconds after connecting (median). told: the \
         gateway's last\nword. The good client sends one event after another, each hundredth on a new connection."
    );
    Ok(exit(is_served))
}

fn exit(is_good: bool) -> ExitCode {
    match is_good {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// A pipeline of our own, with these keys of its gateway.
async fn started(settings: &[String]) -> anyhow::Result<Pipeline> {
    let mut builder = Pipeline::weather();
    for setting in settings {
        let (key, value) = setting.split_once('=').with_context(|| {
            format!("--set {setting}: write KEY=VALUE, such as idle_timeout_ms=5000")
        })?;
        builder = builder.with(&format!("gateway.{key}"), value);
    }
    Ok(builder.start().await)
}
