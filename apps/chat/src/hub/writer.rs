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
        is_member: bool,
        reply: oneshot::Sender<Answer>,
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

/// What comes of a registration.
type Answer = Result<ClientId, Refused>;

/// Lines that are to be written, and what is done when they are.
#[derive(Default)]
struct Batch {
    lines: String,
    must_be_on_disk: bool,
    clients: Vec<Client>,
    messages: Vec<(Message, u64)>,
    delivered: Vec<(ClientId, u64)>,
    registered: Vec<(oneshot::Sender<Answer>, Answer)>,
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
        while self.turn()? {}
        Ok(())
    }

    /// Waits for a request, and takes with it all that have come meanwhile. Returns whether more can come.
    fn turn(&mut self) -> anyhow::Result<bool> {
        let Some(first) = self.requests.blocking_recv() else {
            return Ok(false);
        };
        self.take(first);
        for _ in 1..BATCH_MAX {
            match self.requests.try_recv() {
                Ok(next) => self.take(next),
                Err(_) => break,
            }
        }
        self.commit()?;
        Ok(true)
    }

    fn take(&mut self, request: Request) {
        match request {
            Request::Register {
                name,
                registration,
                is_member,
                reply,
            } => {
                let answer = self.register(name, registration, is_member);
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

    fn register(&mut self, name: String, registration: Uuid, is_member: bool) -> Answer {
        let registered = self
            .ledger
            .register(name, registration, is_member, now_ms());
        match registered? {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{hub::Hub, message::Last};

    fn message(text: String) -> Message {
        Message {
            id: Uuid::new_v4(),
            from: ClientId(1),
            to: ClientId(1),
            at_ms: 0,
            text,
        }
    }

    #[test]
    fn all_that_wait_at_the_same_time_share_one_write_and_none_is_answered_before_it() {
        let folder = tempfile::tempdir().unwrap();
        let (hub, mut writer) = Hub::open(folder.path(), 1).unwrap();
        let written = || std::fs::read_to_string(folder.path().join("log.txt")).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let (reply, mut registered) = oneshot::channel();
        let request = Request::Register {
            name: "ana".into(),
            registration: Uuid::nil(),
            is_member: false,
            reply,
        };
        let before = written();
        hub.requests.blocking_send(request).unwrap();
        let mut receipts: Vec<_> = (0..100)
            .map(|n| {
                runtime
                    .block_on(hub.submit(message(format!("text {n}"))))
                    .unwrap()
            })
            .collect();
        assert!(registered.try_recv().is_err() && receipts[0].try_recv().is_err());
        assert_eq!(written(), before);
        std::thread::scope(|scope| scope.spawn(|| writer.turn()).join().unwrap()).unwrap();
        assert_eq!(registered.try_recv().unwrap(), Ok(ClientId(1)));
        for receipt in &mut receipts {
            assert_eq!(receipt.try_recv().unwrap().refusal, None);
        }
        assert_eq!(written()[before.len()..].lines().count(), 101);
    }

    #[test]
    fn a_server_that_starts_again_knows_what_it_has_answered() {
        let folder = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let first = message("only once".into());
        for _ in 0..2 {
            let (hub, writer) = Hub::open(folder.path(), 1).unwrap();
            let thread = std::thread::spawn(move || writer.run());
            runtime.block_on(async {
                let registered = hub
                    .register("ana".into(), Uuid::nil(), None, Last::default())
                    .await
                    .unwrap();
                assert_eq!(registered.unwrap().client, ClientId(1));
                let receipt = hub.submit(first.clone()).await.unwrap().await.unwrap();
                assert_eq!(receipt.refusal, None);
                let sent = hub.sent_by(ClientId(1), 0).await.unwrap().unwrap();
                assert_eq!(sent, std::slice::from_ref(&first));
                let mut inbox = hub.inbox(ClientId(1)).unwrap();
                let deliveries = inbox.next(0, 10).await.unwrap();
                let told = deliveries
                    .into_iter()
                    .map(|delivery| (delivery.position, delivery.message));
                assert_eq!(told.collect::<Vec<_>>(), [(1, first.clone())]);
            });
            drop(hub);
            thread.join().unwrap().unwrap();
        }
    }
}
