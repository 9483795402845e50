//! The kafka-producer sidecar: `run` or `check`.

use aguacero::{
    cli,
    config::{Config, FilesOf},
    kafka, shutdown, telemetry,
};
use clap::Parser;
use kafka_producer::{App, Process, client};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Whose files it reads.
const FILES: [FilesOf; 1] = [FilesOf::Kafka];

/// Takes slabs of events from the gateway over gRPC and puts them into Kafka.
#[derive(Parser)]
#[command(name = "kafka-producer", version)]
enum Command {
    /// Serve until SIGTERM.
    Run(cli::ConfigFile),
    /// Read the configuration, report every mistake, and tell what it declares.
    Check(cli::Check),
}

// One thread serves the streams and drains the delivery reports, beside librdkafka's own: a slab
// costs the same work whatever its size, and more threads would only make slabs smaller.
#[tokio::main(flavor = "current_thread")]
async fn main() {
    cli::exit_on_error(run(Command::parse()).await)
}

async fn run(command: Command) -> anyhow::Result<()> {
    let config = match command {
        Command::Check(check) => {
            let ask = async |config: &Config| vec![kafka::explain(config, "kafka-producer").await];
            cli::check_with_stores(&check, &FILES, ask).await
        }
        Command::Run(file) => cli::load_for(&file, &FILES),
    };
    telemetry::init("kafka-producer");
    cli::warn(&config);
    let shutdown = shutdown::on_signals()?;
    let process = Process::kafka_producer(&config);
    let app = App::build(config, process).await?;
    app.run(shutdown, client::of_config).await
}
