//! `make chat-compare`: the two chats beside each other, into docs/chat/.
//!
//! Server and broker are processes, whose time and memory the kernel counts; all clients are in this process, each with a
//! connection and a folder of its own. For each turn there is a new server, with new queues.

mod crew;
mod kills;
mod lines;
mod side;
mod slow;
mod speed;

use std::path::PathBuf;

use clap::Parser;

/// The chat over gRPC beside the chat over RabbitMQ: tables and plots.
#[derive(Parser)]
#[command(name = "chat-compare")]
struct Args {
    /// Turns of each side
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Of what is measured in a turn
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// How many clients there are
    #[arg(long, value_delimiter = ',', default_value = "2,10,100")]
    clients: Vec<u64>,
    /// One chapter alone
    #[arg(long, value_parser = ["speed", "kills", "slow", "lines"])]
    only: Option<String>,
    /// Where the pages go
    #[arg(long, default_value = "docs/chat")]
    out: PathBuf,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let is_wanted = |chapter: &str| args.only.as_deref().is_none_or(|only| only == chapter);
    if is_wanted("lines") {
        lines::measure(&args.out)?;
    }
    if is_wanted("speed") {
        speed::measure(&args).await?;
    }
    if is_wanted("slow") {
        slow::measure(&args).await?;
    }
    if is_wanted("kills") {
        kills::measure(&args).await?;
    }
    Ok(())
}
