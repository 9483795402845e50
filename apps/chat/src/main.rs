//! The chat: `chat server` and `chat client`.

use clap::Parser;

use chat::{client, server};

/// A chat over gRPC and over RabbitMQ.
#[derive(Parser)]
#[command(name = "chat", version)]
enum Command {
    Server(server::Command),
    Client(client::Command),
}

#[tokio::main]
async fn main() {
    let done = match Command::parse() {
        Command::Server(command) => server::run(command).await.map(|()| true),
        Command::Client(command) => client::run(command).await,
    };
    // Threads that wait for a line or for the log's next message are not waited for.
    std::process::exit(match done {
        Ok(is_well) => i32::from(!is_well),
        Err(error) => {
            eprintln!("Error: {error:#}");
            1
        }
    })
}
