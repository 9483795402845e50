//! The gateway: `run`, `check` or `keys`.

use aguacero::{cli, shutdown, telemetry};
use clap::Parser;
use gateway::{App, keys_command};

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
    /// Make, list, replace and revoke the keys with which others may write.
    #[command(subcommand)]
    Keys(keys_command::KeysCommand),
}

// This runtime waits for signals and serves the admin port; events flow in the workers' own.
#[tokio::main(flavor = "current_thread")]
async fn main() {
    cli::exit_on_error(run(Command::parse()).await)
}

async fn run(command: Command) -> anyhow::Result<()> {
    let (config, keys) = match command {
        Command::Check(file) => cli::check_with_keys(&file),
        Command::Run(file) => cli::load_with_keys_or_exit(&file),
        Command::Keys(command) => keys_command::run(command),
    };
    telemetry::init("gateway");
    cli::warn(&config);
    let shutdown = shutdown::on_signals()?;
    App::build(config, keys).await?.run(shutdown).await
}
