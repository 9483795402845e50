//! Clients that go on sending while a test does things to the processes.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::task::JoinHandle;

use crate::{Answer, Client, DEADLINE, Request, once};

/// Between two attempts to send the same event.
const RETRY_PAUSE: Duration = Duration::from_millis(25);

const COUNTRIES: [&str; 7] = [
    "Argentina",
    "México",
    "Perú",
    "Corea del Sur",
    "Côte d’Ivoire",
    "Panamá",
    "total-messages",
];
const TEXTS: [&str; 5] = [
    "Su lluvia",
    "¡Qué calor! ☀️",
    "niebla \\u00e1 \\\"densa\\\"",
    "👩‍🌾🏽 siembra",
    "viento\\ny\\tnubes",
];

/// Tweet number `n`: each has its own number, and a country that others share.
#[must_use]
pub fn tweet(n: usize) -> String {
    let (text, country) = (TEXTS[n % TEXTS.len()], COUNTRIES[n % COUNTRIES.len()]);
    format!(r#"{{"texto": "{text}", "país": "{country}", "n": {n}}}"#)
}

/// What clients do with an event that was not stored, or whose outcome they do not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// Send it again, under the same key, until it is stored.
    Retry,
    /// Go on with the next one.
    GiveUp,
}

/// Clients at work.
pub struct Load {
    stop: Arc<AtomicBool>,
    stored: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<Report>>,
}

/// What the clients have seen.
#[derive(Debug, Default)]
pub struct Report {
    /// The numbers of the tweets that were answered 200.
    pub stored: BTreeSet<usize>,
    /// The numbers of those that never got an answer of any kind, the last time they were sent.
    pub unanswered: BTreeSet<usize>,
    /// How often each status came.
    pub answers: BTreeMap<u16, usize>,
    /// Requests that ended without an answer.
    pub broken: usize,
}

impl Load {
    /// `clients` clients, each sending one weather tweet after the other, each under a key of its own.
    #[must_use]
    pub fn start(address: SocketAddr, clients: usize, then: Then) -> Self {
        let (stop, stored) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicUsize::new(0)),
        );
        let work = |client: usize| {
            let worker = Worker {
                stop: Arc::clone(&stop),
                stored: Arc::clone(&stored),
                then,
                report: Report::default(),
            };
            tokio::spawn(worker.run(address, client, clients))
        };
        Self {
            clients: (0..clients).map(work).collect(),
            stop,
            stored,
        }
    }

    /// Waits until `more` further tweets were answered 200.
    pub async fn progress(&self, more: usize) {
        let aim = self.stored.load(Ordering::Relaxed) + more;
        once(&format!("{more} more stored"), async || {
            self.stored.load(Ordering::Relaxed) >= aim
        })
        .await;
    }

    /// Sends nothing new, and waits until the clients are done with what they have begun.
    pub async fn finish(self) -> Report {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Report::default();
        for client in self.clients {
            let report = client.await.expect("a client that does not panic");
            all.stored.extend(report.stored);
            all.unanswered.extend(report.unanswered);
            all.broken += report.broken;
            for (status, count) in report.answers {
                *all.answers.entry(status).or_default() += count;
            }
        }
        all
    }
}

struct Worker {
    stop: Arc<AtomicBool>,
    stored: Arc<AtomicUsize>,
    then: Then,
    report: Report,
}

impl Worker {
    async fn run(mut self, address: SocketAddr, first: usize, step: usize) -> Report {
        let mut client = Client::new(address);
        let mut n = first;
        while !self.stop.load(Ordering::Relaxed) {
            self.send(&mut client, n).await;
            n += step;
        }
        self.report
    }

    async fn send(&mut self, client: &mut Client, n: usize) {
        let request = Request::json("/input", tweet(n)).key(&key(n));
        let began = Instant::now();
        loop {
            let answer = client.send(&request).await;
            self.note(n, answer.as_ref().ok());
            if self.report.stored.contains(&n) || self.then == Then::GiveUp {
                return;
            }
            assert!(
                began.elapsed() < DEADLINE,
                "tweet {n} is still not stored: {answer:?}"
            );
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }

    fn note(&mut self, n: usize, answer: Option<&Answer>) {
        let Some(answer) = answer else {
            self.report.broken += 1;
            self.report.unanswered.insert(n);
            return;
        };
        self.report.unanswered.remove(&n);
        *self.report.answers.entry(answer.status).or_default() += 1;
        match answer.status {
            200 => {
                self.report.stored.insert(n);
                self.stored.fetch_add(1, Ordering::Relaxed);
            }
            503 => {
                answer.problem(503);
                assert!(
                    answer.header("retry-after").is_some(),
                    "no Retry-After: {answer:?}"
                );
                assert_eq!(answer.retry_key(), key(n));
            }
            _ => {
                answer.problem(504);
                assert_eq!(answer.retry_key(), key(n));
            }
        }
    }
}

/// The key of tweet `n`.
#[must_use]
pub fn key(n: usize) -> String {
    format!("tweet-{n}")
}
