//! What becomes of messages when somebody is killed in between.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use chat::{
    client::{
        folder::Folder,
        session::{Event, Session},
    },
    transport::Over,
};
use figures::{page::Page, turns::in_turns};
use tokio::{runtime::Runtime, sync::mpsc};

use crate::{
    Args,
    crew::PATIENCE,
    side::{SIDES, Side, kill_broker},
};

/// Of one client to another.
const PER_SECOND: u32 = 500;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Killed {
    Server,
    Client,
    Broker,
}

pub(crate) async fn measure(args: &Args) -> anyhow::Result<()> {
    let mut page = Page::new(
        &args.out,
        "kills",
        "The two chats: what is killed, and what becomes of messages",
    )?;
    page.paragraph(&format!(
        "One client sends {PER_SECOND} messages a second to another; after a third of {} s one of the processes is killed (SIGKILL; the \
         receiving client ends without a word) and started again at once. The pause is the longest between two messages that arrive. \
         Lost, shown twice, out of order: what the receiving client has at the end, of all that were sent. Came again: what the transport \
         delivered a second time, and the client knew by its position.",
        args.seconds
    ));
    for (killed, title) in [
        (Killed::Server, "The server is killed"),
        (Killed::Client, "The receiving client is killed"),
        (Killed::Broker, "The broker is killed"),
    ] {
        let sides = match killed {
            Killed::Broker => &SIDES[1..],
            _ => &SIDES[..],
        };
        let turns = in_turns(args.rounds, sides, &[0], async |over, _| {
            let values = turn(over, killed, Duration::from_secs_f64(args.seconds)).await?;
            eprintln!("{over:?}, {killed:?} killed: {values:.0?}");
            Ok(values)
        })
        .await?;
        page.table(
            title,
            ["side", ""],
            [
                "pause, ms",
                "lost",
                "shown twice",
                "out of order",
                "came again",
            ],
            &turns,
        );
    }
    println!("{}", page.finish()?.display());
    Ok(())
}

/// What has come: when, in this order, and how many a second time.
#[derive(Default)]
struct Seen {
    order: Vec<u32>,
    longest: Duration,
    last: Option<Instant>,
    again: u32,
}

impl Seen {
    fn take(&mut self, event: Event) {
        match event {
            Event::Arrived(delivery) => {
                let now = Instant::now();
                self.longest = self
                    .last
                    .map_or(self.longest, |last| self.longest.max(now - last));
                self.last = Some(now);
                self.order.extend(delivery.message.text.parse::<u32>());
            }
            Event::Again(_) => self.again += 1,
            _ => {}
        }
    }
}

async fn turn(over: Over, killed: Killed, duration: Duration) -> anyhow::Result<[f64; 5]> {
    let mut side = Side::start(over)?;
    let (runtime, receiver, mut events) = receiver(&side).await?;
    let folder = Folder::open(&side.folder_of("ana"), "ana")?;
    let (sender, mut told) = Session::start(side.transport()?, folder, PATIENCE).await?;
    tokio::spawn(async move { while told.recv().await.is_some() {} });
    let to = receiver.client();
    let (mut runtime, mut receiver) = (Some(runtime), Some(receiver));
    let count = (duration.as_secs_f64() * f64::from(PER_SECOND)) as u32;
    let (begin, period) = (Instant::now(), Duration::from_secs(1) / PER_SECOND);
    let mut seen = Seen::default();
    let mut killing = None;
    for n in 0..count {
        tokio::time::sleep_until((begin + period * n).into()).await;
        sender.send(to, n.to_string()).await?;
        while let Ok(event) = events.try_recv() {
            seen.take(event);
        }
        if n != count / 3 {
            continue;
        }
        match killed {
            Killed::Client => {
                drop(receiver.take());
                drop(runtime.take());
                while let Ok(event) = events.try_recv() {
                    seen.take(event);
                }
                let (again, session, more) = self::receiver(&side).await?;
                (runtime, receiver, events) = (Some(again), Some(session), more);
            }
            Killed::Server => tokio::task::block_in_place(|| side.kill_server())?,
            Killed::Broker => killing = Some(tokio::task::spawn_blocking(kill_broker)),
        }
    }
    if let Some(killing) = killing {
        killing.await??;
    }
    let all = async {
        while seen.order.last() != Some(&(count - 1)) {
            match events.recv().await {
                Some(event) => seen.take(event),
                None => return,
            }
        }
    };
    tokio::time::timeout(PATIENCE, all)
        .await
        .context("the last message does not arrive")?;
    Ok(judged(&seen, count))
}

/// A runtime that ends without a word to anybody.
struct Apart(Option<Runtime>);

impl Drop for Apart {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// On a runtime of its own.
async fn receiver(side: &Side) -> anyhow::Result<(Apart, Session, mpsc::Receiver<Event>)> {
    let (transport, path) = (side.transport()?, side.folder_of("ben"));
    let start = move || {
        let runtime = Runtime::new()?;
        let started = runtime.block_on(async {
            loop {
                // The one before may hold it for a moment.
                match Folder::open(&path, "ben") {
                    Ok(folder) => return Session::start(transport, folder, PATIENCE).await,
                    Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
                }
            }
        });
        started.map(|(session, events)| (Apart(Some(runtime)), session, events))
    };
    tokio::task::spawn_blocking(start).await?
}

fn judged(seen: &Seen, count: u32) -> [f64; 5] {
    let different: HashSet<_> = seen.order.iter().collect();
    let lost = count as usize - different.len();
    let twice = seen.order.len() - different.len();
    let out_of_order = seen
        .order
        .windows(2)
        .filter(|pair| pair[1] < pair[0])
        .count();
    [
        seen.longest.as_secs_f64() * 1e3,
        lost as f64,
        twice as f64,
        out_of_order as f64,
        f64::from(seen.again),
    ]
}
