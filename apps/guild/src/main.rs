//! The guild's processors: `daily-sales`, `stock`, `locations`.

use aguacero::{cli, config::FilesOf};
use clap::Parser;
use guild::{daily_sales, locations, stock};
use processor::pool;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What the guild of street vendors makes of its events.
#[derive(Parser)]
#[command(name = "guild", version)]
enum Command {
    /// What every member has sold, each day at 23:59 in Santiago; runs until SIGTERM, or tells one day again.
    DailySales(daily_sales::Command),
    /// Deliveries for carts that run out, by groups of five sales; runs until SIGTERM.
    Stock(stock::Command),
    /// Where every cart is, live; runs until SIGTERM.
    Locations(locations::Command),
    /// Makes the tables of the others, as a user who may create them; those of one who may are made at its start.
    Migrate(cli::ConfigFile),
}

#[tokio::main]
async fn main() {
    cli::exit_on_error(run(Command::parse()).await);
    std::process::exit(0) // the runtime would wait for calls to a Kafka that does not answer
}

async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::DailySales(command) => daily_sales::run(command).await,
        Command::Stock(command) => stock::run(command).await,
        Command::Locations(command) => locations::run(command).await,
        Command::Migrate(file) => migrate(&file).await,
    }
}

async fn migrate(file: &cli::ConfigFile) -> anyhow::Result<()> {
    let config = cli::load_for(file, &[FilesOf::Postgres]);
    let pool = pool(&config.postgres, 1)?;
    for tables in [daily_sales::history::TABLES, stock::tables::TABLES] {
        tables.ensure_soon(&pool, &config.postgres).await?;
    }
    Ok(())
}
