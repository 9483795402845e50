//! The server's process: one hub, served by one transport.

use std::{net::SocketAddr, path::PathBuf};

use anyhow::Context as _;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::oneshot,
};

use crate::{
    grpc,
    hub::Hub,
    log::file,
    rabbitmq::{self, Broker},
    text::say,
    transport::Over,
};

/// Takes messages, writes them to log.txt and delivers them.
///
/// It starts from log.txt, however it has ended. SIGTERM and Ctrl-C end it.
#[derive(clap::Args)]
pub struct Command {
    /// What carries the messages
    #[arg(long, env = "CHAT_OVER", default_value = "grpc")]
    over: Over,
    /// Where to listen, over gRPC; port 0 is any that is free
    #[arg(
        long,
        value_name = "ADDRESS",
        env = "CHAT_LISTEN",
        default_value = "127.0.0.1:7070"
    )]
    listen: SocketAddr,
    #[command(flatten)]
    broker: Broker,
    /// Where log.txt is
    #[arg(long, env = "CHAT_FOLDER", default_value = "chat")]
    folder: PathBuf,
    /// How many clients may register; who is registered stays
    #[arg(
        long,
        value_name = "CLIENTS",
        env = "CHAT_CLIENTS_MAX",
        default_value_t = 10_000
    )]
    clients_max: u32,
}

/// Runs the command until it is told to end.
///
/// # Errors
/// It cannot begin, or its log cannot be written any more.
pub async fn run(command: Command) -> anyhow::Result<()> {
    let Command {
        over,
        listen,
        broker,
        folder,
        clients_max,
    } = command;
    let (mut terminate, mut interrupt) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    let log = folder.join(file::NAME);
    let (hub, writer) = Hub::open(&folder, clients_max)?;
    let (ended, writer_ended) = oneshot::channel();
    let thread = std::thread::Builder::new().name("log".into());
    thread
        .spawn(move || ended.send(writer.run()))
        .context("a thread for the log")?;
    let served = async {
        match over {
            Over::Grpc => {
                let bound = grpc::server::bind(listen).await?;
                say(&format!(
                    "chat over gRPC on {}, log in {}",
                    bound.address(),
                    log.display()
                ));
                bound.serve(hub).await
            }
            Over::Rabbitmq => {
                let ready = || say(&format!("chat over RabbitMQ, log in {}", log.display()));
                rabbitmq::server::RabbitMq::new(broker.broker, broker.prefix)
                    .serve(hub, ready)
                    .await
            }
        }
    };
    tokio::select! {
        biased;
        // Whoever is served is told that it ends, but this is why.
        ended = writer_ended => ended.context("the log's thread has ended unexpectedly")?,
        served = served => served,
        // What was answered is on the disk: there is nothing to be done.
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    }
}
