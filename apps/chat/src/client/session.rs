//! A client's channel, opened again whenever it is cut: what has no receipt is sent again, what was there is not told again.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};
use uuid::Uuid;

use super::{
    folder::{Folder, Outgoing},
    patience::{AGAIN_AFTER, register},
};
use crate::{
    message::{ClientId, Delivery, Receipt, Refused, Registered},
    text::now_ms,
    transport::{Channel, FromServer, Mark, QUEUED_MAX, ToServer, Transport, Trouble},
};

/// Messages without a receipt; who writes more waits.
const ON_THEIR_WAY_MAX: usize = 1024;
/// What was seen is told after so many deliveries,
const SEEN_AFTER_DELIVERIES: u32 = 64;
/// or after this time.
const SEEN_AFTER: Duration = Duration::from_millis(100);

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
    /// The server cannot be reached: where it is, and why; it is tried again, and told once.
    Cut(String, String),
    /// It can be reached again.
    Back(String),
    /// The session has ended by itself, and why: nothing more is sent or comes.
    Ended(String),
}

/// Sends what it is given.
pub struct Session {
    registered: Registered,
    to_send: mpsc::Sender<Outgoing>,
    /// Counted here when they are given to the task, and there when they have a receipt.
    on_their_way: watch::Sender<usize>,
}

impl Session {
    /// Registers who the folder says, unless it was, and opens its channel; a server that is away is waited for so long. A
    /// folder that was made for a name that is refused is removed.
    ///
    /// # Errors
    /// The name is taken, the server has another log than that of the folder, or it did not come.
    pub async fn start(
        transport: Arc<dyn Transport>,
        mut folder: Folder,
        patience: Duration,
    ) -> anyhow::Result<(Self, mpsc::Receiver<Event>)> {
        let registered = match register(&*transport, &folder, patience).await {
            Ok(registered) => registered,
            Err(trouble) => {
                let told = format!("{} could not be registered", folder.name);
                if let Trouble::Refused(_) = trouble {
                    folder.discard();
                }
                return Err(trouble).context(told);
            }
        };
        folder.keep_log(registered.log)?;
        let (to_send, written) = mpsc::channel(QUEUED_MAX);
        let (events, told) = mpsc::channel(QUEUED_MAX);
        let on_their_way = watch::Sender::new(folder.outbox.messages().len());
        let run = Run {
            transport,
            folder,
            registered,
            written,
            events,
            on_their_way: on_their_way.clone(),
            is_waiting: false,
        };
        tokio::spawn(run.until_dropped());
        Ok((
            Self {
                registered,
                to_send,
                on_their_way,
            },
            told,
        ))
    }

    /// Who this is.
    #[must_use]
    pub fn client(&self) -> ClientId {
        self.registered.client
    }

    /// Who this is, and in which log.
    #[must_use]
    pub fn registered(&self) -> Registered {
        self.registered
    }

    /// Whether it has ended by itself: [`Event::Ended`] says why.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.to_send.is_closed()
    }

    /// Sends a text, without waiting for the ones before; its id.
    ///
    /// # Errors
    /// The session has ended by itself.
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
        let room = room.context("not sent: this client has ended, and has said why")?;
        self.on_their_way.send_modify(|count| *count += 1);
        room.send(message);
        Ok(id)
    }

    /// Waits until everything that was sent has its receipt.
    ///
    /// # Errors
    /// It took longer than that, or the session has ended by itself; how many are left.
    pub async fn all_written(&self, patience: Duration) -> Result<(), usize> {
        let mut on_their_way = self.on_their_way.subscribe();
        tokio::select! {
            biased;
            _ = on_their_way.wait_for(|count| *count == 0) => return Ok(()),
            () = self.to_send.closed() => {}
            () = tokio::time::sleep(patience) => {}
        }
        Err(*self.on_their_way.borrow())
    }
}

/// The task behind a session.
struct Run {
    transport: Arc<dyn Transport>,
    folder: Folder,
    registered: Registered,
    written: mpsc::Receiver<Outgoing>,
    events: mpsc::Sender<Event>,
    on_their_way: watch::Sender<usize>,
    /// For the server, and it was told.
    is_waiting: bool,
}

/// Why a channel has ended.
enum End {
    /// It is opened again.
    Cut(String),
    /// The session ends, and this is why.
    Failed(String),
    /// Nobody listens any more.
    Session,
}

impl From<Trouble> for End {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Away(why) => Self::Cut(why),
            Trouble::Refused(refused) => Self::Failed(refused.0),
        }
    }
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
            let end = match self.open().await {
                Ok(channel) => {
                    pause = AGAIN_AFTER[0];
                    self.connected(channel).await
                }
                Err(end) => end,
            };
            let end = match end {
                End::Cut(why) => self.wait(pause, why).await.err(),
                end => Some(end),
            };
            match end {
                None => {}
                Some(End::Failed(why)) => {
                    self.keep_the_rest().await;
                    _ = self.events.send(Event::Ended(why)).await;
                    return;
                }
                Some(End::Cut(_) | End::Session) => return,
            }
            pause = (pause * 2).min(AGAIN_AFTER[1]);
        }
    }

    /// What is written meanwhile is kept.
    async fn open(&mut self) -> Result<Channel, End> {
        let (transport, registered) = (self.transport.clone(), self.registered);
        let mut opened = transport.open(registered, self.folder.received.last());
        loop {
            tokio::select! {
                opened = &mut opened => return Ok(opened?),
                message = self.written.recv() => self.keep(message).await?,
            }
        }
    }

    /// Says once that the server is waited for. What is written meanwhile is kept.
    async fn wait(&mut self, pause: Duration, why: String) -> Result<(), End> {
        if !self.is_waiting {
            self.is_waiting = true;
            self.tell(Event::Cut(self.transport.place().to_owned(), why))
                .await?;
        }
        let until = Instant::now() + pause;
        loop {
            tokio::select! {
                () = sleep_until(until) => return Ok(()),
                message = self.written.recv() => self.keep(message).await?,
            }
        }
    }

    /// Nobody writes any more: the session goes on only for what has no receipt, which its owner waits for.
    async fn keep(&mut self, message: Option<Outgoing>) -> Result<(), End> {
        let message = message.ok_or(End::Session)?;
        let Err((message, error)) = self.folder.outbox.keep(message) else {
            return Ok(());
        };
        let why = format!("{error:#}");
        self.on_their_way.send_modify(|count| *count -= 1);
        self.tell(Event::Refused(message, why.clone())).await?;
        Err(End::Failed(why))
    }

    /// What was written before the session ends is kept too, or told not to be. Who waits for it is told of the end then.
    async fn keep_the_rest(&mut self) {
        while let Ok(message) = self.written.try_recv() {
            _ = self.keep(Some(message)).await;
        }
        self.written.close();
        while let Some(message) = self.written.recv().await {
            _ = self.keep(Some(message)).await;
        }
    }

    async fn connected(&mut self, mut channel: Channel) -> End {
        if std::mem::take(&mut self.is_waiting)
            && let Err(end) = self
                .tell(Event::Back(self.transport.place().to_owned()))
                .await
        {
            return end;
        }
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
                Some(Err(trouble)) => Err(trouble.into()),
                None => Err(cut()),
            },
            permit = channel.to_server.reserve(), if has_something => {
                let permit = permit.map_err(|_| cut())?;
                if let Some(told) = to_tell.next(self.registered.client, self.folder.outbox.messages()) {
                    permit.send(told);
                }
                Ok(())
            }
            message = self.written.recv() => self.keep(message).await,
            () = sleep_until(to_tell.due.unwrap_or_else(Instant::now)), if to_tell.due.is_some() && !to_tell.is_seen_due() => Ok(()),
        }
    }

    /// Kept first, told then: what is in `received.txt` is what the client has.
    async fn delivered(&mut self, delivery: Delivery) -> Result<(), End> {
        let last = self.folder.received.last().position;
        if delivery.position <= last {
            let before = self.folder.received.id_at(delivery.position);
            return match before.map_err(failed)? {
                Some(id) if id != delivery.message.id => {
                    Err(Trouble::from(Refused::older_log()).into())
                }
                _ => self.tell(Event::Again(delivery.position)).await,
            };
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
    End::Failed(format!("{error:#}"))
}

fn cut() -> End {
    End::Cut("the connection was cut".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Client, Last, Message};

    /// Registers, and then never opens a channel, or refuses to.
    struct Stuck {
        refuses: bool,
    }

    #[tonic::async_trait]
    impl Transport for Stuck {
        fn place(&self) -> &str {
            "nowhere"
        }

        async fn register(
            &self,
            _name: &str,
            _registration: Uuid,
            _log: Option<Uuid>,
            _last: Last,
        ) -> Result<Registered, Trouble> {
            Ok(Registered {
                log: Uuid::nil(),
                client: ClientId(1),
            })
        }

        async fn clients(&self, _log: Uuid, _after: ClientId) -> Result<Vec<Client>, Trouble> {
            Ok(Vec::new())
        }

        async fn sent_by(&self, _who: Registered, _skip: u64) -> Result<Vec<Message>, Trouble> {
            Ok(Vec::new())
        }

        async fn open(&self, _who: Registered, _last: Last) -> Result<Channel, Trouble> {
            match self.refuses {
                true => Err(Refused::older_log().into()),
                false => std::future::pending().await,
            }
        }
    }

    #[tokio::test]
    async fn what_was_written_before_the_session_ends_is_kept() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::open(place.path(), "ana").unwrap();
        let transport = Arc::new(Stuck { refuses: true });
        let (session, mut events) = Session::start(transport, folder, Duration::ZERO)
            .await
            .unwrap();
        for _ in 0..30 {
            session.send(ClientId(2), "text".into()).await.unwrap();
        }
        assert!(matches!(events.recv().await, Some(Event::Ended(_))));
        assert!(events.recv().await.is_none());
        let kept = std::fs::read_to_string(place.path().join("outbox.txt")).unwrap();
        assert_eq!(kept.lines().count(), 30);
        assert_eq!(session.all_written(Duration::ZERO).await, Err(30));
    }

    #[tokio::test]
    async fn what_was_taken_is_in_the_folder_and_who_writes_more_waits() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::open(place.path(), "ana").unwrap();
        let patience = Duration::from_secs(120);
        let (session, _events) =
            Session::start(Arc::new(Stuck { refuses: false }), folder, patience)
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
