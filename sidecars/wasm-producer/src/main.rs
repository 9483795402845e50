//! The wasm-producer sidecar: `run` or `check`.

use aguacero::{
    cli,
    config::{Config, FilesOf},
    kafka, shutdown, telemetry,
};
use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Whose files it reads.
const FILES: [FilesOf; 1] = [FilesOf::Kafka];

/// Takes slabs of events from the gateway over gRPC and puts them into Kafka, by a producer in WebAssembly.
#[derive(Parser)]
#[command(name = "wasm-producer", version)]
enum Command {
    /// Serve until SIGTERM.
    Run(cli::ConfigFile),
    /// Read the configuration and the module, report every mistake, and tell what it declares.
    Check(cli::Check),
}

// One thread, as the kafka-producer has it.
#[tokio::main(flavor = "current_thread")]
async fn main() {
    cli::exit_on_error(command(Command::parse()).await)
}

async fn command(command: Command) -> anyhow::Result<()> {
    let config = match command {
        Command::Check(check) => {
            let ask = async |config: &Config| {
                let module = wasm_producer::check(config);
                vec![module, kafka::explain(config, "wasm-producer").await]
            };
            cli::check_with_stores(&check, &FILES, ask).await
        }
        Command::Run(file) => cli::load_for(&file, &FILES),
    };
    telemetry::init("wasm-producer");
    cli::warn(&config);
    wasm_producer::run(config, shutdown::on_signals()?).await?;
    std::process::exit(0) // the runtime would wait for a module that is being read or compiled
}
