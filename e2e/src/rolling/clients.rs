//! Clients that go on sending, each event until it is stored, at whichever gateway takes it.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{task::JoinHandle, time::sleep};

use super::{Connection, Outcome, Post, http1::Http1, http2::Http2, tally::Shared};
use crate::{
    load::{key, tweet},
    once,
};

/// Every so many events, one is sent in two parts.
const SPLIT_EVERY: usize = 4;
/// After an attempt that stored nothing.
const RETRY_PAUSE: Duration = Duration::from_millis(10);
/// How long an event may be sent again and again.
const RETRY_MAX: Duration = Duration::from_secs(60);

/// How much is sent.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Connections of each kind: HTTP/1.1, and HTTP/2.
    pub connections: usize,
    /// Requests at the same time on a connection of HTTP/2.
    pub streams: usize,
    /// Pause of a connection after each request, or each set of streams.
    pub pause: Duration,
}

/// Clients at work.
pub struct Clients {
    stop: Arc<AtomicBool>,
    tally: Shared,
    running: Vec<JoinHandle<()>>,
}

impl Clients {
    /// Of several gateways: one whose connection ends goes to the next gateway, as through a load balancer.
    #[must_use]
    pub fn start(plan: Plan, gateways: &[SocketAddr]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let tally = Shared::default();
        let client = |number: usize| {
            let (connection, width) = if number < plan.connections {
                (Connection::Http1(Http1::default()), 1)
            } else {
                (Connection::Http2(Http2::default()), plan.streams)
            };
            let client = Client {
                // Apart from all others by its number: see `run`.
                next: number,
                step: 2 * plan.connections,
                width,
                pause: plan.pause,
                at: number % gateways.len(),
                gateways: gateways.to_vec(),
                connection,
                tally: tally.clone(),
                stop: Arc::clone(&stop),
            };
            tokio::spawn(client.run())
        };
        let running = (0..2 * plan.connections).map(client).collect();
        Self {
            stop,
            tally,
            running,
        }
    }

    /// What has been seen so far.
    #[must_use]
    pub fn tally(&self) -> Shared {
        self.tally.clone()
    }

    /// Waits until `more` further events are stored.
    pub async fn progress(&self, more: usize) {
        let aim = self.tally.with(|tally| tally.stored) + more;
        once(&format!("{more} more stored"), async || {
            assert!(
                !self.running.iter().any(JoinHandle::is_finished),
                "a client has given up"
            );
            self.tally.with(|tally| tally.stored) >= aim
        })
        .await;
    }

    /// Sends nothing new, and waits until what was begun is stored.
    pub async fn finish(self) {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.running {
            client.await.expect("a client that does not panic");
        }
    }
}

struct Client {
    next: usize,
    step: usize,
    width: usize,
    pause: Duration,
    at: usize,
    gateways: Vec<SocketAddr>,
    connection: Connection,
    tally: Shared,
    stop: Arc<AtomicBool>,
}

impl Client {
    async fn run(mut self) {
        while !self.stop.load(Ordering::Relaxed) {
            let posts = (0..self.width).map(|_| {
                let n = self.next;
                self.next += self.step;
                Post {
                    key: key(n),
                    body: tweet(n),
                    is_split: (n / self.step) % SPLIT_EVERY == SPLIT_EVERY - 1,
                }
            });
            let posts = posts.collect();
            self.store(posts).await;
            sleep(self.pause).await;
        }
    }

    async fn store(&mut self, mut posts: Vec<Post>) {
        let began = Instant::now();
        loop {
            let before = self.connection.connects();
            let sent = Instant::now();
            let outcomes = self.connection.send(self.gateways[self.at], &posts).await;
            let took = sent.elapsed();
            let connects = self.connection.connects() - before;
            self.tally.with(|tally| {
                tally.connects += connects;
                for (i, outcome) in outcomes.iter().enumerate() {
                    // What is told of a connection is told once, not for each of its streams.
                    if !outcome.is_of_connection() || !outcomes[..i].contains(outcome) {
                        tally.note(outcome, took);
                    }
                }
            });
            let ends = |outcome: &Outcome| !matches!(outcome, Outcome::Answered { closes: false, status } if *status < 500);
            if outcomes.iter().any(ends) {
                self.at = (self.at + 1) % self.gateways.len();
            }
            let is_stored =
                |outcome: &Outcome| matches!(outcome, Outcome::Answered { status: 200, .. });
            let mut outcomes = outcomes.iter();
            posts.retain(|_| !outcomes.next().is_some_and(is_stored));
            if posts.is_empty() {
                return;
            }
            assert!(
                began.elapsed() < RETRY_MAX,
                "not stored within {RETRY_MAX:?}: {posts:?}"
            );
            sleep(RETRY_PAUSE).await;
        }
    }
}
