//! What a client asks of its server and is told by it, whatever carries it.

use tokio::sync::mpsc;
use uuid::Uuid;

use crate::message::{Client, ClientId, Delivery, Last, Message, Receipt, Refused, Registered};

/// Of what goes to the server or comes from it, so many wait in between.
pub const QUEUED_MAX: usize = 256;

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Over {
    /// Calls and streams, from client to server
    Grpc,
    /// Queues of a broker between them
    Rabbitmq,
}

/// The client's side.
#[tonic::async_trait]
pub trait Transport: Send + Sync {
    /// Where the server is, for people.
    fn place(&self) -> &str;

    /// The client of that name; for the same registration always the same. Who was registered before says in which log, and
    /// the last message that it has.
    async fn register(
        &self,
        name: &str,
        registration: Uuid,
        log: Option<Uuid>,
        last: Last,
    ) -> Result<Registered, Trouble>;

    /// Clients of a log with ids above `after`; none if there are no more.
    async fn clients(&self, log: Uuid, after: ClientId) -> Result<Vec<Client>, Trouble>;

    /// What a client has sent, without the first `skip`; none if there are no more.
    async fn sent_by(&self, who: Registered, skip: u64) -> Result<Vec<Message>, Trouble>;

    /// The client's channel: from now on it gets what has come for it behind the last message that it has.
    async fn open(&self, who: Registered, last: Last) -> Result<Channel, Trouble>;
}

/// Of one client, until it is cut: then `from_server` ends, with why.
pub struct Channel {
    /// In the order in which it is to be taken.
    pub to_server: mpsc::Sender<ToServer>,
    /// In the order in which it was told.
    pub from_server: mpsc::Receiver<Result<FromServer, Trouble>>,
}

/// What a client tells.
#[derive(Debug)]
pub enum ToServer {
    /// This is to be delivered.
    Send(Message),
    /// The delivery with this mark, and all before it on this channel, are kept here.
    Seen(Mark),
}

/// A transport's own name for a delivery of one channel; later ones are greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark(pub u64);

/// What a client is told.
#[derive(Debug)]
pub enum FromServer {
    /// This has come. What was there already may come again, with its position but another mark.
    Delivery(Delivery, Mark),
    /// So it was with what was sent.
    Receipt(Receipt),
}

/// Why something was not done.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Trouble {
    /// It makes no sense to ask again.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The server cannot be reached, or is in trouble itself: what and why.
    #[error("{0}")]
    Away(String),
}
