//! The thread that writes the log: all that wait at the same time share one wait for the disk.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::{
    ledger::{Ledger, Registration, Verdict},
    shelf::Shelf,
};
use crate::{
    log::{file::Appender, line},
    message::{Client, ClientId, Message, Receipt, Refused},
    text::now_ms,
};

/// Of requests that share a wait for the disk, lest the first wait long for the last.
const BATCH_MAX: usize = 4096;

/// What is asked of the writer.
pub(super) enum Request {
    Register {
        name: String,
        registration: Uuid,
        reply: oneshot::Sender<Result<ClientId, Refused>>,
    },
    Message {
        message: Message,
        reply: oneshot::Sender<Receipt>,
    },
    Delivered {
        client: ClientId,
        position: u64,
    },
}

/// Takes requests in turn.
pub struct Writer {
    ledger: Ledger,
    log: Appender,
    requests: mpsc::Receiver<Request>,
    shelf: Arc<Shelf>,
    batch: Batch,
}

/// Lines that are to be written, and what is done when they are.
#[derive(Default)]
struct Batch {
    lines: String,
    must_be_on_disk: bool,
    clients: Vec<Client>,
    messages: Vec<(Message, u64)>,
    delivered: Vec<(ClientId, u64)>,
    registered: Vec<(
        oneshot::Sender<Result<ClientId, Refused>>,
        Result<ClientId, Refused>,
    )>,
    receipts: Vec<(oneshot::Sender<Receipt>, Receipt)>,
}

impl Writer {
    pub(super) fn new(
        ledger: Ledger,
        log: Appender,
        requests: mpsc::Receiver<Request>,
        shelf: Arc<Shelf>,
    ) -> Self {
        Self {
            ledger,
            log,
            requests,
            shelf,
            batch: Batch::default(),
        }
    }

    /// Writes until nobody can ask any more.
    ///
    /// # Errors
    /// The log could not be written. Nobody of that batch is answered, as nobody knows what is on the disk.
    pub fn run(mut self) -> anyhow::Result<()> {
        while let Some(first) = self.requests.blocking_recv() {
            self.take(first);
            for _ in 1..BATCH_MAX {
                match self.requests.try_recv() {
                    Ok(next) => self.take(next),
                    Err(_) => break,
                }
            }
            self.commit()?;
        }
        Ok(())
    }

    fn take(&mut self, request: Request) {
        match request {
            Request::Register {
                name,
                registration,
                reply,
            } => {
                let answer = self.register(name, registration);
                self.batch.registered.push((reply, answer));
            }
            Request::Message { message, reply } => {
                let receipt = Receipt {
                    id: message.id,
                    refusal: self.message(message).err(),
                };
                self.batch.receipts.push((reply, receipt));
            }
            Request::Delivered { client, position } => {
                if let Some(name) = self.ledger.name(client) {
                    line::delivered(&mut self.batch.lines, now_ms(), client, name, position);
                    self.batch.delivered.push((client, position));
                }
            }
        }
    }

    fn register(&mut self, name: String, registration: Uuid) -> Result<ClientId, Refused> {
        match self.ledger.register(name, registration, now_ms())? {
            Registration::Known(id) => Ok(id),
            Registration::New(client) => {
                let (batch, id) = (&mut self.batch, client.id);
                line::client(&mut batch.lines, &client, registration);
                batch.must_be_on_disk = true;
                batch.clients.push(client);
                Ok(id)
            }
        }
    }

    fn message(&mut self, message: Message) -> Result<(), Refused> {
        if self.ledger.take(&message)? == Verdict::Repeat {
            return Ok(()); // it is on the disk, or will be with this batch
        }
        let name = |client| self.ledger.name(client).unwrap_or_default();
        let (batch, offset) = (&mut self.batch, self.log.length());
        let offset = offset + batch.lines.len() as u64;
        line::message(
            &mut batch.lines,
            &message,
            name(message.from),
            name(message.to),
        );
        batch.must_be_on_disk = true;
        batch.messages.push((message, offset));
        Ok(())
    }

    fn commit(&mut self) -> anyhow::Result<()> {
        let batch = std::mem::take(&mut self.batch);
        if !batch.lines.is_empty() {
            self.log.append(&batch.lines, batch.must_be_on_disk)?;
        }
        self.shelf
            .publish(batch.clients, batch.messages, batch.delivered);
        // Who has gone does not want to know.
        for (reply, answer) in batch.registered {
            _ = reply.send(answer);
        }
        for (reply, receipt) in batch.receipts {
            _ = reply.send(receipt);
        }
        Ok(())
    }
}
