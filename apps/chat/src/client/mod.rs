//! A client: what it keeps in its [`folder`], the [`session`] that sends and receives whatever is cut or killed in between,
//! the [`commands`] of people, and where they type them: a [`prompt`] or a [`pipe`].

pub mod commands;
pub mod folder;
pub mod patience;
pub mod pipe;
pub mod prompt;
pub mod received;
pub mod session;
pub mod talk;

use std::{io::IsTerminal as _, path::PathBuf, sync::Arc, time::Duration};

use crate::{
    grpc::client::Grpc,
    rabbitmq::{Broker, client::RabbitMq},
    transport::{Over, Transport},
};
use folder::Folder;
use session::Session;
use talk::Talk;

/// Talks to others.
///
/// The first start registers NAME, for everybody who is at the same server; the folder keeps what makes it yours, with what
/// has arrived and what is on its way. On a terminal there is a prompt (/help), else each line of the input is one that could
/// be typed there, and each line of the output is one that has arrived. The exit status is 1 if anything was refused, or
/// was not with the server within --patience when the input ended.
#[derive(clap::Args)]
pub struct Command {
    /// Who you are: letters, digits, - _ .
    #[arg(long, env = "CHAT_NAME")]
    name: String,
    /// What carries it
    #[arg(long, env = "CHAT_OVER", default_value = "grpc")]
    over: Over,
    /// Of the server, over gRPC
    #[arg(
        long,
        value_name = "URL",
        env = "CHAT_SERVER",
        default_value = "http://127.0.0.1:7070"
    )]
    server: String,
    #[command(flatten)]
    broker: Broker,
    /// What is kept of this client; [default: chat/NAME]
    #[arg(long, env = "CHAT_FOLDER")]
    folder: Option<PathBuf>,
    /// To whom, at the beginning
    #[arg(long, value_name = "NAME", env = "CHAT_TO")]
    to: Option<String>,
    /// How long a server that is away is waited for, with a question or at the end
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    patience: u32,
    /// Go on receiving when the input has ended, until SIGTERM
    #[arg(long)]
    stay: bool,
}

/// Runs the command; whether nothing was refused and all is with the server.
///
/// # Errors
/// The client could not begin, or its folder cannot be written.
pub async fn run(command: Command) -> anyhow::Result<bool> {
    let Command {
        name,
        over,
        server,
        broker,
        folder,
        to,
        patience,
        stay,
    } = command;
    let transport: Arc<dyn Transport> = match over {
        Over::Grpc => Arc::new(Grpc::new(&server)?),
        Over::Rabbitmq => Arc::new(RabbitMq::new(broker.broker, broker.prefix)),
    };
    let patience = Duration::from_secs(patience.into());
    let folder = Folder::open(
        &folder.unwrap_or_else(|| PathBuf::from("chat").join(&name)),
        &name,
    )?;
    let (session, events) = Session::start(transport.clone(), folder, patience).await?;
    let talk = Talk::new(transport, session, patience);
    match std::io::stdin().is_terminal() {
        true => prompt::run(talk, events, to).await,
        false => pipe::run(talk, events, to, stay).await,
    }
}
