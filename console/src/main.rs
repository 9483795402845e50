//! The console: `run` or `check`.

use aguacero::{
    cli,
    config::{Config, FilesOf},
    redis_check, shutdown, telemetry,
};
use clap::Parser;
use console::App;
use consumer::archive;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Whose files it reads. Those of Kafka only where dead letters may be replayed.
const FILES: [FilesOf; 4] = [
    FilesOf::Console,
    FilesOf::Redis,
    FilesOf::Mongodb,
    FilesOf::Kafka,
];

/// Pages for people: counters, the log, the pipeline, dead letters. Reads, and writes only with an operator's token.
#[derive(Parser)]
#[command(name = "console", version)]
enum Command {
    /// Serve until SIGTERM.
    Run(cli::ConfigFile),
    /// Read the configuration, report every mistake, and tell what it declares.
    Check(cli::Check),
}

// One thread: whatever is read is read once for everybody, and the stores do the work.
#[tokio::main(flavor = "current_thread")]
async fn main() {
    cli::exit_on_error(run(Command::parse()).await)
}

async fn run(command: Command) -> anyhow::Result<()> {
    let config = match command {
        Command::Check(check) => {
            let ask = async |config: &Config| {
                let (redis, _) = redis_check::explain(&config.redis).await;
                vec![archive::explain(config).await, (redis, true)]
            };
            cli::check_with_stores(&check, &FILES[..3], ask).await
        }
        Command::Run(file) => {
            let config = cli::load_for(&file, &FILES[..3]);
            match config.console.token_file {
                Some(_) => cli::load_for(&file, &FILES),
                None => config,
            }
        }
    };
    telemetry::init("console");
    cli::warn(&config);
    let shutdown = shutdown::on_signals()?;
    let app = App::build(config, std::env::var("PORT").ok().as_deref()).await?;
    app.run(shutdown).await?;
    std::process::exit(0) // the runtime would wait for calls to stores that do not answer
}
