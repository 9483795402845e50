//! A client's channel, opened again whenever it is cut: what has no receipt is sent again, what was there is not told again.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, ensure};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};
use uuid::Uuid;

use super::folder::{Folder, Outgoing};
use crate::{
    message::{ClientId, Delivery, Receipt},
    text::{complain, now_ms},
    transport::{Channel, FromServer, Mark, QUEUED_MAX, ToServer, Transport, Trouble},
};

/// Messages without a receipt; who writes more waits.
const ON_THEIR_WAY_MAX: usize = 1024;
/// What was seen is told after so many deliveries,
const SEEN_AFTER_DELIVERIES: u32 = 64;
/// or after this time.
const SEEN_AFTER: Duration = Duration::from_millis(100);
/// After a cut: at first, and doubled up to the second.
const AGAIN_AFTER: [Duration; 2] = [Duration::from_millis(50), Duration::from_millis(800)];

/// What a client is told of.
#[derive(Debug)]
pub enum Event {
    /// This has come, for the first time.
    Arrived(Delivery),
    /// This position has come before, and is not kept again.
    Again(u64),
    /// These positions have never come, and never will: the broker has lost them.
    Missing(u64, u64),
    /// This is in the server's log; it was written so long ago.
    Written(Uuid, Duration),
    /// This was not taken.
    Refused(Outgoing, String),
    /// The server cannot be reached, and why; it is tried again.
    Cut(String),
    /// It can be reached.
    Connected,
}

/// Sends what it is given.
pub struct Session {
    client: ClientId,
    to_send: mpsc::Sender<Outgoing>,
    /// Counted here when they are given to the task, and there when they have a receipt.
    on_their_way: watch::Sender<usize>,
}

impl Session {
    /// Registers who the folder says, unless it was, and opens its channel; a server that is away is waited for so long.
    ///
    /// # Errors
    /// The name is taken, or the server did not come.
    pub async fn start(
        transport: Arc<dyn Transport>,
        folder: Folder,
        patience: Duration,
    ) -> anyhow::Result<(Self, mpsc::Receiver<Event>)> {
        let registered = patiently(patience, async || {
            transport.register(&folder.name, folder.registration).await
        })
        .await;
        let registered =
            registered.with_context(|| format!("{} could not be registered", folder.name))?;
        let (client, last) = (registered.client, folder.received.last());
        ensure!(
            last <= registered.arrived,
            "{} has {last} messages, and this server has had {} for it: it is another server, so take another --folder",
            folder.name,
            registered.arrived
        );
        let (to_send, written) = mpsc::channel(QUEUED_MAX);
        let (events, told) = mpsc::channel(QUEUED_MAX);
        let on_their_way = watch::Sender::new(folder.outbox.messages().len());
        let run = Run {
            transport,
            folder,
            client,
            written,
            events,
            on_their_way: on_their_way.clone(),
        };
        tokio::spawn(run.until_dropped());
        Ok((
            Self {
                client,
                to_send,
                on_their_way,
            },
            told,
        ))
    }

    /// Who this is.
    #[must_use]
    pub fn client(&self) -> ClientId {
        self.client
    }

    /// Sends a text, without waiting for the ones before; its id.
    ///
    /// # Errors
    /// The client's folder cannot be written.
    pub async fn send(&self, to: ClientId, text: String) -> anyhow::Result<Uuid> {
        let id = Uuid::now_v7();
        let message = Outgoing {
            id,
            to,
            at_ms: now_ms(),
            text,
        };
        // Who writes more waits here, so what was taken is kept in the folder at once.
        let mut on_their_way = self.on_their_way.subscribe();
        let has_room = async {
            let waited = on_their_way.wait_for(|count| *count < ON_THEIR_WAY_MAX);
            waited.await.map(drop)
        };
        let room = tokio::select! {
            _ = has_room => self.to_send.reserve().await.ok(),
            () = self.to_send.closed() => None,
        };
        let room = room.context("the client's folder could not be written")?;
        self.on_their_way.send_modify(|count| *count += 1);
        room.send(message);
        Ok(id)
    }

    /// Waits until everything that was sent has its receipt.
    ///
    /// # Errors
    /// It took longer than that; how many are left.
    pub async fn all_written(&self, patience: Duration) -> Result<(), usize> {
        let mut on_their_way = self.on_their_way.subscribe();
        let waited =
            tokio::time::timeout(patience, on_their_way.wait_for(|count| *count == 0)).await;
        waited.map(drop).map_err(|_| *self.on_their_way.borrow())
    }
}

/// Asks until there is an answer.
///
/// # Errors
/// It was refused, or nobody has answered within this time.
pub async fn patiently<T>(
    patience: Duration,
    ask: impl AsyncFn() -> Result<T, Trouble>,
) -> Result<T, Trouble> {
    let deadline = Instant::now() + patience;
    let mut pause = AGAIN_AFTER[0];
    loop {
        match ask().await {
            Err(Trouble::Away(_)) if Instant::now() + pause < deadline => {
                tokio::time::sleep(pause).await
            }
            answered => return answered,
        }
        pause = (pause * 2).min(AGAIN_AFTER[1]);
    }
}

/// The task behind a session.
struct Run {
    transport: Arc<dyn Transport>,
    folder: Folder,
    client: ClientId,
    written: mpsc::Receiver<Outgoing>,
    events: mpsc::Sender<Event>,
    on_their_way: watch::Sender<usize>,
}

/// Why a channel has ended.
enum End {
    Cut(Trouble),
    /// Nobody listens any more, or the folder cannot be written.
    Session,
}

/// What is to be told to the server on this channel.
#[derive(Default)]
struct ToTell {
    /// Of the outbox, so many were sent on this channel.
    sent: usize,
    seen: Option<Mark>,
    deliveries: u32,
    due: Option<Instant>,
}

impl Run {
    async fn until_dropped(mut self) {
        let mut pause = AGAIN_AFTER[0];
        loop {
            let Ok(opened) = self.open().await else {
                return;
            };
            let trouble = match opened {
                Ok(channel) => {
                    pause = AGAIN_AFTER[0];
                    if self.events.send(Event::Connected).await.is_err() {
                        return;
                    }
                    match self.connected(channel).await {
                        End::Cut(trouble) => trouble,
                        End::Session => return,
                    }
                }
                Err(trouble) => trouble,
            };
            if self
                .events
                .send(Event::Cut(trouble.to_string()))
                .await
                .is_err()
                || !self.wait(pause).await
            {
                return;
            }
            pause = (pause * 2).min(AGAIN_AFTER[1]);
        }
    }

    /// What is written meanwhile is kept.
    async fn open(&mut self) -> Result<Result<Channel, Trouble>, End> {
        let (transport, client) = (self.transport.clone(), self.client);
        let mut opened = transport.open(client, self.folder.received.last());
        loop {
            tokio::select! {
                opened = &mut opened => return Ok(opened),
                message = self.written.recv() => self.keep(message)?,
            }
        }
    }

    /// What is written meanwhile is kept. Returns whether the session goes on.
    async fn wait(&mut self, pause: Duration) -> bool {
        let until = Instant::now() + pause;
        loop {
            tokio::select! {
                () = sleep_until(until) => return true,
                message = self.written.recv() => {
                    if self.keep(message).is_err() {
                        return false;
                    }
                }
            }
        }
    }

    /// Nobody writes any more: the session goes on only for what has no receipt, which its owner waits for.
    fn keep(&mut self, message: Option<Outgoing>) -> Result<(), End> {
        let message = message.ok_or(End::Session)?;
        self.folder.outbox.keep(message).map_err(failed)
    }

    async fn connected(&mut self, mut channel: Channel) -> End {
        let mut to_tell = ToTell::default();
        loop {
            match self.step(&mut channel, &mut to_tell).await {
                Ok(()) => {}
                Err(end) => return end,
            }
        }
    }

    /// Never waits for the server while it has something to say.
    async fn step(&mut self, channel: &mut Channel, to_tell: &mut ToTell) -> Result<(), End> {
        let has_something =
            to_tell.is_seen_due() || to_tell.sent < self.folder.outbox.messages().len();
        tokio::select! {
            told = channel.from_server.recv() => match told {
                Some(Ok(FromServer::Delivery(delivery, mark))) => {
                    to_tell.noted(mark);
                    self.delivered(delivery).await
                }
                Some(Ok(FromServer::Receipt(receipt))) => self.receipted(receipt, to_tell).await,
                Some(Err(trouble)) => Err(End::Cut(trouble)),
                None => Err(End::Cut(Trouble::Away("the connection was cut".into()))),
            },
            permit = channel.to_server.reserve(), if has_something => {
                let permit = permit.map_err(|_| End::Cut(Trouble::Away("the connection was cut".into())))?;
                if let Some(told) = to_tell.next(self.client, self.folder.outbox.messages()) {
                    permit.send(told);
                }
                Ok(())
            }
            message = self.written.recv() => self.keep(message),
            () = sleep_until(to_tell.due.unwrap_or_else(Instant::now)), if to_tell.due.is_some() && !to_tell.is_seen_due() => Ok(()),
        }
    }

    /// Kept first, told then: what is in `received.txt` is what the client has.
    async fn delivered(&mut self, delivery: Delivery) -> Result<(), End> {
        let last = self.folder.received.last();
        if delivery.position <= last {
            return self.tell(Event::Again(delivery.position)).await;
        }
        if delivery.position > last + 1 {
            self.tell(Event::Missing(last + 1, delivery.position - 1))
                .await?;
        }
        self.folder.received.keep(&delivery).map_err(failed)?;
        self.tell(Event::Arrived(delivery)).await
    }

    async fn receipted(&mut self, receipt: Receipt, to_tell: &mut ToTell) -> Result<(), End> {
        let Some((index, message)) = self.folder.outbox.take(receipt.id).map_err(failed)? else {
            return Ok(());
        };
        if index < to_tell.sent {
            to_tell.sent -= 1;
        }
        self.on_their_way.send_modify(|count| *count -= 1);
        self.tell(match receipt.refusal {
            None => Event::Written(
                message.id,
                Duration::from_millis((now_ms() - message.at_ms).unsigned_abs()),
            ),
            Some(refused) => Event::Refused(message, refused.0),
        })
        .await
    }

    async fn tell(&self, event: Event) -> Result<(), End> {
        self.events.send(event).await.map_err(|_| End::Session)
    }
}

impl ToTell {
    fn noted(&mut self, mark: Mark) {
        self.seen = Some(mark);
        self.deliveries += 1;
        self.due.get_or_insert_with(|| Instant::now() + SEEN_AFTER);
    }

    fn is_seen_due(&self) -> bool {
        self.deliveries >= SEEN_AFTER_DELIVERIES
            || self.due.is_some_and(|due| due <= Instant::now())
    }

    fn next(
        &mut self,
        client: ClientId,
        outbox: &std::collections::VecDeque<Outgoing>,
    ) -> Option<ToServer> {
        if self.is_seen_due() {
            (self.deliveries, self.due) = (0, None);
            return self.seen.take().map(ToServer::Seen);
        }
        let message = outbox.get(self.sent)?;
        self.sent += 1;
        Some(ToServer::Send(message.from(client)))
    }
}

fn failed(error: anyhow::Error) -> End {
    complain(&format!("Error: {error:#}"));
    End::Session
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Client, Message, Registered};

    /// Registers, and then never opens a channel.
    struct Stuck;

    #[tonic::async_trait]
    impl Transport for Stuck {
        async fn register(&self, _name: &str, _registration: Uuid) -> Result<Registered, Trouble> {
            Ok(Registered {
                client: ClientId(1),
                arrived: 0,
            })
        }

        async fn clients(&self, _after: ClientId) -> Result<Vec<Client>, Trouble> {
            Ok(Vec::new())
        }

        async fn sent_by(&self, _client: ClientId, _skip: u64) -> Result<Vec<Message>, Trouble> {
            Ok(Vec::new())
        }

        async fn open(&self, _client: ClientId, _after: u64) -> Result<Channel, Trouble> {
            std::future::pending().await
        }
    }

    #[tokio::test]
    async fn what_was_taken_is_in_the_folder_and_who_writes_more_waits() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::open(place.path(), "ana").unwrap();
        let patience = Duration::from_secs(120);
        let (session, _events) = Session::start(Arc::new(Stuck), folder, patience)
            .await
            .unwrap();
        let mut taken = 0;
        let writing = async {
            loop {
                session.send(ClientId(2), "text".into()).await.unwrap();
                taken += 1;
            }
        };
        let kept = || std::fs::read_to_string(place.path().join("outbox.txt")).unwrap();
        let full = async {
            while kept().lines().count() < ON_THEIR_WAY_MAX {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::select! {
            () = writing => {}
            full = tokio::time::timeout(patience, full) => full.unwrap(),
        }
        assert_eq!(taken, ON_THEIR_WAY_MAX);
    }
}
