//! The redis-writer sidecar: `run` or `check`.

use aguacero::{
    cli,
    config::{Config, FilesOf},
    redis_check, shutdown, telemetry,
};
use clap::Parser;
use redis_writer::App;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Whose files it reads.
const FILES: [FilesOf; 1] = [FilesOf::Redis];

/// Takes counter deltas from the gateway over WebSocket and adds them to Redis.
#[derive(Parser)]
#[command(name = "redis-writer", version)]
enum Command {
    /// Serve until SIGTERM.
    Run(cli::ConfigFile),
    /// Read the configuration, report every mistake, and tell what it declares.
    Check(cli::Check),
}

// One thread: deltas come coalesced, and Redis does the work.
#[tokio::main(flavor = "current_thread")]
async fn main() {
    cli::exit_on_error(run(Command::parse()).await)
}

async fn run(command: Command) -> anyhow::Result<()> {
    let config = match command {
        Command::Check(check) => {
            let ask = async |config: &Config| vec![redis_check::explain(&config.redis).await];
            cli::check_with_stores(&check, &FILES, ask).await
        }
        Command::Run(file) => cli::load_for(&file, &FILES),
    };
    telemetry::init("redis-writer");
    cli::warn(&config);
    let shutdown = shutdown::on_signals()?;
    App::build(config).await?.run(shutdown).await
}
