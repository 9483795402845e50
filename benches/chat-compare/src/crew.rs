//! Clients in a ring: each sends to the next, which tells when it has come.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Context as _;
use chat::{
    client::{
        folder::Folder,
        session::{Event, Session},
    },
    message::ClientId,
};
use futures_util::future::try_join_all;
use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinHandle,
};

use crate::side::Side;

pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// Of each text.
const TEXT_BYTES: usize = 100;

/// All clients of a turn.
pub(crate) struct Crew {
    members: Vec<Arc<Member>>,
    began: Instant,
}

struct Member {
    session: Session,
    next: ClientId,
    /// Of what it may have on its way.
    room: Arc<Semaphore>,
    tally: Arc<Tally>,
}

/// What has come for one client.
#[derive(Default)]
pub(crate) struct Tally {
    arrived: AtomicU64,
    /// From `send` to the addressee's folder.
    times: Mutex<Vec<Duration>>,
}

impl Crew {
    /// Registers and connects so many.
    pub(crate) async fn start(side: &Side, clients: u64) -> anyhow::Result<Self> {
        let start = async |number: u64| {
            let name = format!("client-{number}");
            let folder = Folder::open(&side.folder_of(&name), &name)?;
            Session::start(side.transport()?, folder, PATIENCE).await
        };
        let started = try_join_all((0..clients).map(start)).await?;
        let ids: Vec<_> = started
            .iter()
            .map(|(session, _)| session.client())
            .collect();
        let began = Instant::now();
        let rooms: Vec<_> = ids.iter().map(|_| Arc::new(Semaphore::new(0))).collect();
        let count = ids.len();
        let members = started
            .into_iter()
            .enumerate()
            .map(|(number, (session, events))| {
                let tally = Arc::new(Tally::default());
                let sender = rooms[(number + count - 1) % count].clone();
                tokio::spawn(receive(events, began, tally.clone(), sender));
                Arc::new(Member {
                    session,
                    next: ids[(number + 1) % count],
                    room: rooms[number].clone(),
                    tally,
                })
            });
        Ok(Self {
            members: members.collect(),
            began,
        })
    }

    /// So many messages a second of all together, for so long, whether they arrive or not; the times of all.
    pub(crate) async fn paced(
        &self,
        per_second: f64,
        duration: Duration,
    ) -> anyhow::Result<Vec<Duration>> {
        self.times();
        let period = Duration::from_secs_f64(1.0 / per_second);
        let (begin, before) = (Instant::now(), self.arrived());
        let count = (duration.as_secs_f64() * per_second) as u32;
        for n in 0..count {
            tokio::time::sleep_until((begin + period * n).into()).await;
            let member = &self.members[n as usize % self.members.len()];
            member.session.send(member.next, self.text()).await?;
        }
        self.until_arrived(before + u64::from(count)).await?;
        Ok(self.times())
    }

    /// As many as come through with so many on their way, for so long: how many there were, and the times of all.
    pub(crate) async fn loaded(
        &self,
        on_their_way: usize,
        warm_up: Duration,
        duration: Duration,
        mut seen: impl FnMut() -> anyhow::Result<()>,
    ) -> anyhow::Result<(u64, Duration, Vec<Duration>)> {
        let each = (on_their_way / self.members.len()).max(1);
        let senders: Vec<_> = self
            .members
            .iter()
            .map(|member| self.sender(member.clone(), each))
            .collect();
        tokio::time::sleep(warm_up).await;
        self.times();
        seen()?;
        let (begin, before) = (Instant::now(), self.arrived());
        tokio::time::sleep(duration).await;
        let (arrived, took) = (self.arrived() - before, begin.elapsed());
        seen()?;
        let times = self.times();
        for sender in &senders {
            sender.abort();
        }
        for member in &self.members {
            member
                .session
                .all_written(PATIENCE)
                .await
                .ok()
                .context("messages without a receipt")?;
        }
        Ok((arrived, took, times))
    }

    fn sender(&self, member: Arc<Member>, each: usize) -> JoinHandle<()> {
        let began = self.began;
        member.room.add_permits(each);
        tokio::spawn(async move {
            while let Ok(room) = member.room.acquire().await {
                room.forget();
                if member.session.send(member.next, text(began)).await.is_err() {
                    return;
                }
            }
        })
    }

    fn text(&self) -> String {
        text(self.began)
    }

    fn arrived(&self) -> u64 {
        self.members
            .iter()
            .map(|member| member.tally.arrived.load(Ordering::Relaxed))
            .sum()
    }

    async fn until_arrived(&self, count: u64) -> anyhow::Result<()> {
        let all = async {
            while self.arrived() < count {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(PATIENCE, all)
            .await
            .context("messages that do not arrive")
    }

    /// All since the last call.
    fn times(&self) -> Vec<Duration> {
        let taken = self.members.iter().map(|member| {
            std::mem::take(
                &mut *member
                    .tally
                    .times
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner),
            )
        });
        taken.flatten().collect()
    }
}

/// When it was sent, and as many letters as it takes.
fn text(began: Instant) -> String {
    format!("{:<TEXT_BYTES$}", began.elapsed().as_nanos())
}

async fn receive(
    mut events: mpsc::Receiver<Event>,
    began: Instant,
    tally: Arc<Tally>,
    sender: Arc<Semaphore>,
) {
    while let Some(event) = events.recv().await {
        match event {
            Event::Arrived(delivery) => {
                let sent = delivery
                    .message
                    .text
                    .trim_end()
                    .parse()
                    .map(Duration::from_nanos);
                let took = began.elapsed().saturating_sub(sent.unwrap_or_default());
                tally
                    .times
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(took);
                tally.arrived.fetch_add(1, Ordering::Relaxed);
                sender.add_permits(1);
            }
            Event::Refused(_, why) => eprintln!("refused: {why}"),
            Event::Cut(_, why) | Event::Ended(why) => eprintln!("cut: {why}"),
            _ => {}
        }
    }
}
