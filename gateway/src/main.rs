//! The gateway: `run` or `check`.

use aguacero::{cli, shutdown, telemetry};
use clap::Parser;
use gateway::App;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Takes events over HTTP and answers 2xx only when they are in Kafka.
#[derive(Parser)]
#[command(name = "gateway", version)]
enum Command {
    /// Serve until SIGTERM.
    Run(cli::ConfigFile),
    /// Read the configuration, report every mistake, and tell what it declares.
    Check(cli::ConfigFile),
}

// This runtime waits for signals and serves the admin port; events flow in the workers' own.
#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let config = match Command::parse() {
        Command::Check(file) => cli::check(&file),
        Command::Run(file) => cli::load_or_exit(&file),
    };
    telemetry::init("gateway");
    let shutdown = shutdown::on_signals()?;
    App::build(config).await?.run(shutdown).await
}
