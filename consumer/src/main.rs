//! The consumer: `run`, `check`, `rebuild`, `dead-letters` or `tables`.

use aguacero::{
    cli,
    config::{Config, FilesOf},
    kafka, redis_check, shutdown, telemetry,
};
use clap::Parser;
use consumer::{
    App, archive,
    commands::{dead_letters, rebuild, tables},
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Whose files it reads.
const FILES: [FilesOf; 3] = [FilesOf::Kafka, FilesOf::Redis, FilesOf::Mongodb];

/// Archives Kafka's records in MongoDB and settles the counters in Redis.
#[derive(Parser)]
#[command(name = "consumer", version)]
enum Command {
    /// Archive until SIGTERM.
    Run(cli::ConfigFile),
    /// Read the configuration, report every mistake, and tell what it declares.
    Check(cli::Check),
    /// Forget what Redis shows of a stream, and count the archive again.
    Rebuild {
        /// Name of the stream.
        stream: String,
        /// The archive that the configuration names, and the Kafka cluster, are the stream's from now on
        #[arg(long)]
        adopt: bool,
        #[command(flatten)]
        file: cli::ConfigFile,
    },
    /// Look at what could not be archived, put it into its topic again, or discard it.
    #[command(subcommand)]
    DeadLetters(dead_letters::Verb),
    /// Write events as rows of PostgreSQL, each once.
    #[command(subcommand)]
    Tables(tables::Verb),
}

#[tokio::main]
async fn main() {
    cli::exit_on_error(run(Command::parse()).await)
}

async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Check(check) => {
            // A Redis that is not supported is no reason not to archive.
            let ask = async |config: &Config| {
                let (redis, _) = redis_check::explain(&config.redis).await;
                let kafka = kafka::explain(config, "consumer").await;
                vec![kafka, archive::explain(config).await, (redis, true)]
            };
            cli::check_with_stores(&check, &FILES, ask).await
        }
        Command::Run(file) => {
            let config = cli::load_for(&file, &FILES);
            telemetry::init("consumer");
            cli::warn(&config);
            let shutdown = shutdown::on_signals()?;
            App::build(config).await?.run(shutdown).await?;
            std::process::exit(0) // the runtime would wait for calls to a Kafka that does not answer
        }
        Command::Rebuild {
            stream,
            adopt,
            file,
        } => {
            let config = cli::load_for(&file, &FILES);
            rebuild::find(&config, &stream)?;
            telemetry::init("consumer");
            cli::warn(&config);
            rebuild::rebuild(config, &stream, adopt).await
        }
        Command::Tables(verb) => tables::tables(&verb).await,
        Command::DeadLetters(verb) => {
            let config = cli::load_for(verb.file(), &FILES);
            dead_letters::dead_letters(config, &verb).await
        }
    }
}
