//! The server without its transports: who there is, which message is new, what is in whose inbox.
//!
//! One thread ([`writer`]) takes what is asked of it in turn, judges it by the [`ledger`], appends a line for each new thing,
//! makes sure once for all that wait that it is on the disk, and only then answers, and lays messages on the [`shelf`],
//! from which transports take them. So whoever reads the shelf sees nothing that a kill could undo.

pub mod ledger;
pub mod shelf;
pub mod writer;

use std::{path::Path, sync::Arc};

use anyhow::Context as _;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use crate::{
    log::{file, line::Entry},
    message::{Client, ClientId, Last, Message, Receipt, Refused, Registered},
};
use ledger::Ledger;
use shelf::{Inbox, Shelf};
use writer::{Request, Writer};

/// So many wait for the writer; who comes then waits before the door.
const WAITING_MAX: usize = 4096;

/// Asks the writer, and reads the shelf.
#[derive(Clone)]
pub struct Hub {
    log: Uuid,
    requests: mpsc::Sender<Request>,
    shelf: Arc<Shelf>,
}

/// The writer has ended, as it could not write.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the server could not write its log, and ends")]
pub struct Ended;

impl Hub {
    /// The hub of what the log in `folder` tells, and what writes it: somebody has to run that. So many clients may register.
    ///
    /// # Errors
    /// The log cannot be opened or read.
    pub fn open(folder: &Path, clients_max: u32) -> anyhow::Result<(Self, Writer)> {
        let (mut ledger, mut state) = (Ledger::new(clients_max), shelf::State::default());
        let (appender, reader) = file::open(folder, |entry, offset| {
            match entry {
                Entry::Client(client, registration) => {
                    ledger
                        .restore(&client, registration)
                        .context("this client was there already")?;
                    state.join(client);
                }
                Entry::Message(message) => {
                    ledger
                        .restore_message(&message)
                        .context("this message was there already, or one of its clients was not")?;
                    state.put(&message, offset);
                }
                Entry::Delivered(client, position) => state.delivered(client, position),
                Entry::Log(_) => {}
            }
            Ok(())
        })?;
        let shelf = Arc::new(Shelf::new(state, reader));
        let (requests, waiting) = mpsc::channel(WAITING_MAX);
        let log = appender.id();
        let writer = Writer::new(ledger, appender, waiting, shelf.clone());
        Ok((
            Self {
                log,
                requests,
                shelf,
            },
            writer,
        ))
    }

    /// Which log this is.
    #[must_use]
    pub fn log(&self) -> Uuid {
        self.log
    }

    /// Whether it is the log that a client means.
    ///
    /// # Errors
    /// It is not.
    pub fn check_log(&self, log: Uuid) -> Result<(), Refused> {
        match log == self.log {
            true => Ok(()),
            false => Err(Refused::other_log(log, self.log)),
        }
    }

    /// Whether a client is there, with the last message that it has.
    ///
    /// # Errors
    /// It is not: the log is an older copy.
    pub async fn check_last(
        &self,
        client: ClientId,
        last: Last,
    ) -> anyhow::Result<Result<(), Refused>> {
        let shelf = self.shelf.clone();
        tokio::task::spawn_blocking(move || shelf.check_last(client, last)).await?
    }

    /// The client of that name: a new one, or the one that was made for the same registration. A client that was there before
    /// says in which log, or at least which message it has.
    ///
    /// # Errors
    /// The name is somebody else's, or none; there are as many as may be; or the log is another one.
    pub async fn register(
        &self,
        name: String,
        registration: Uuid,
        log: Option<Uuid>,
        last: Last,
    ) -> Result<Result<Registered, Refused>, Ended> {
        if let Some(Err(refused)) = log.map(|log| self.check_log(log)) {
            return Ok(Err(refused));
        }
        let (reply, answer) = oneshot::channel();
        self.ask(Request::Register {
            name,
            registration,
            is_member: log.is_some() || last.position > 0,
            reply,
        })
        .await?;
        let registered = answer.await.map_err(|_| Ended)?;
        Ok(registered.map(|client| Registered {
            log: self.log,
            client,
        }))
    }

    /// Gives the writer a message, in the order of calls; the receipt comes when it is on the disk, or refused.
    ///
    /// # Errors
    /// The writer has ended. So it has if the receipt does not come.
    pub async fn submit(&self, message: Message) -> Result<oneshot::Receiver<Receipt>, Ended> {
        let (reply, answer) = oneshot::channel();
        self.ask(Request::Message { message, reply }).await?;
        Ok(answer)
    }

    /// Notes that the messages of a client have come to it, up to this position.
    ///
    /// # Errors
    /// The writer has ended.
    pub async fn delivered(&self, client: ClientId, position: u64) -> Result<(), Ended> {
        self.ask(Request::Delivered { client, position }).await
    }

    async fn ask(&self, request: Request) -> Result<(), Ended> {
        self.requests.send(request).await.map_err(|_| Ended)
    }

    /// The clients with ids above `after`, as many as make a page; none if there are no more.
    #[must_use]
    pub fn clients(&self, after: ClientId) -> Vec<Client> {
        self.shelf.clients(after)
    }

    /// What a client has sent, without the first `skip`, as many as make a page; none if there are no more.
    ///
    /// # Errors
    /// There is no such client.
    pub async fn sent_by(
        &self,
        client: ClientId,
        skip: u64,
    ) -> anyhow::Result<Result<Vec<Message>, Refused>> {
        let shelf = self.shelf.clone();
        tokio::task::spawn_blocking(move || shelf.sent_by(client, skip)).await?
    }

    /// What has come for a client.
    ///
    /// # Errors
    /// There is no such client.
    pub fn inbox(&self, client: ClientId) -> Result<Inbox, Refused> {
        Shelf::inbox(&self.shelf, client)
    }

    /// Waits until there are more clients than `count`; how many there are then.
    pub async fn more_clients(&self, count: usize) -> usize {
        self.shelf.more_clients(count).await
    }
}
