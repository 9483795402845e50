//! Clients that go on sending while a test does things to the processes, and remember what they were
//! told.

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

use crate::{Answer, Client, Request, once};

/// Between two attempts to send the same event.
const RETRY_PAUSE: Duration = Duration::from_millis(25);
/// How long an event may be sent again and again before its client gives the test up.
const RETRY_MAX: Duration = Duration::from_secs(180);
/// Every so many tweets, one that must be refused, if the plan wants such.
const BAD_EVERY: usize = 37;

/// As many as there are countries: clients by a multiple of it each stay with one country.
pub const COUNTRIES: [&str; 7] = [
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

/// The key of tweet `n`.
#[must_use]
pub fn key(n: usize) -> String {
    format!("tweet-{n}")
}

/// What clients do with an event that was not stored, or whose outcome they do not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// Send it again, under the same key, until it is stored.
    Retry,
    /// Go on with the next one.
    GiveUp,
}

/// What clients are to do.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Clients at the same time, each sending one weather tweet after the other, each under a key of
    /// its own. Client number c sends the tweets c, c + clients, c + 2 · clients…
    pub clients: usize,
    /// Those of the clients that give up; all others retry.
    pub give_up: usize,
    /// Pause of a client after each tweet.
    pub pause: Duration,
    /// Whether some tweets lack what the stream requires, so that they must be refused for good.
    pub some_are_bad: bool,
}

/// Clients at work.
pub struct Load {
    plan: Plan,
    stop: Arc<AtomicBool>,
    stored: Arc<AtomicUsize>,
    era: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<Report>>,
}

/// What the clients were told. Each tweet that was sent is in one of the sets.
#[derive(Debug, Default)]
pub struct Report {
    /// Answered 200.
    pub stored: BTreeSet<usize>,
    /// Refused each time they were sent: 422 or 503.
    pub refused: BTreeSet<usize>,
    /// At least once answered 504, or not at all, and never 200.
    pub unknown: BTreeSet<usize>,
    /// How often each status came.
    pub answers: BTreeMap<u16, usize>,
    /// Requests that ended without an answer.
    pub broken: usize,
    /// How many clients there were.
    pub clients: usize,
    /// How often an event was sent at most.
    pub attempts_max: usize,
    /// Those that were first sent before somebody destroyed what was stored: see [`Load::forgive`].
    pub forgiven: BTreeSet<usize>,
    /// In which era each was first sent.
    eras: BTreeMap<usize, usize>,
}

impl Load {
    /// `clients` clients of one gateway.
    #[must_use]
    pub fn start(address: SocketAddr, clients: usize, then: Then) -> Self {
        let plan = Plan {
            clients,
            give_up: if then == Then::GiveUp { clients } else { 0 },
            pause: Duration::ZERO,
            some_are_bad: false,
        };
        Self::follow(plan, &[address])
    }

    /// Clients of several gateways: each has one that it prefers, and after a connection that broke or
    /// a refusal goes to the next, as through a load balancer.
    #[must_use]
    pub fn follow(plan: Plan, gateways: &[SocketAddr]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stored = Arc::new(AtomicUsize::new(0));
        let era = Arc::new(AtomicUsize::new(0));
        let clients = (0..plan.clients).map(|number| {
            let worker = Worker {
                number,
                plan: plan.clone(),
                stop: Arc::clone(&stop),
                stored: Arc::clone(&stored),
                era: Arc::clone(&era),
                gateways: gateways.iter().map(|&a| Client::new(a)).collect(),
                at: number % gateways.len(),
                report: Report::default(),
            };
            tokio::spawn(worker.run())
        });
        Self {
            clients: clients.collect(),
            plan,
            stop,
            stored,
            era,
        }
    }

    /// The topic was just deleted: what was sent until now, stored or not, need not be there any more.
    pub fn forgive(&self) {
        self.era.fetch_add(1, Ordering::SeqCst);
    }

    /// Waits until `more` further tweets were answered 200.
    pub async fn progress(&self, more: usize) {
        let aim = self.stored.load(Ordering::Relaxed) + more;
        once(&format!("{more} more stored"), async || {
            self.stored.load(Ordering::Relaxed) >= aim
        })
        .await;
    }

    /// How many were answered 200 so far.
    #[must_use]
    pub fn stored(&self) -> usize {
        self.stored.load(Ordering::Relaxed)
    }

    /// Sends nothing new, and waits until the clients are done with what they have begun.
    pub async fn finish(self) -> Report {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Report {
            clients: self.plan.clients,
            ..Report::default()
        };
        for client in self.clients {
            let report = client.await.expect("a client that does not panic");
            all.stored.extend(report.stored);
            all.refused.extend(report.refused);
            all.unknown.extend(report.unknown);
            all.broken += report.broken;
            all.attempts_max = all.attempts_max.max(report.attempts_max);
            all.eras.extend(report.eras);
            for (status, count) in report.answers {
                *all.answers.entry(status).or_default() += count;
            }
        }
        let last = self.era.load(Ordering::SeqCst);
        let before = all.eras.iter().filter(|(_, era)| **era < last);
        all.forgiven = before.map(|(n, _)| *n).collect();
        all
    }
}

struct Worker {
    number: usize,
    plan: Plan,
    stop: Arc<AtomicBool>,
    stored: Arc<AtomicUsize>,
    era: Arc<AtomicUsize>,
    gateways: Vec<Client>,
    at: usize,
    report: Report,
}

/// What one attempt came to.
enum Attempt {
    Stored,
    /// It is not stored; sending it again may help.
    NotNow,
    /// It is not stored and never will be.
    Never,
    Unknown,
}

impl Worker {
    async fn run(mut self) -> Report {
        let mut n = self.number;
        while !self.stop.load(Ordering::Relaxed) {
            self.send(n).await;
            n += self.plan.clients;
            if !self.plan.pause.is_zero() {
                tokio::time::sleep(self.plan.pause).await;
            }
        }
        self.report
    }

    async fn send(&mut self, n: usize) {
        let is_bad = self.plan.some_are_bad && n % BAD_EVERY == BAD_EVERY - 1;
        let body = if is_bad {
            tweet(n).replace("país", "ort")
        } else {
            tweet(n)
        };
        let request = Request::json("/input", body).key(&key(n));
        let (began, mut may_be_there) = (Instant::now(), false);
        self.report.eras.insert(n, self.era.load(Ordering::SeqCst));
        let mut attempts = 0;
        loop {
            attempts += 1;
            self.report.attempts_max = self.report.attempts_max.max(attempts);
            let answer = self.gateways[self.at].send(&request).await;
            match self.note(n, answer.as_ref().ok()) {
                Attempt::Stored => {
                    self.report.stored.insert(n);
                    self.stored.fetch_add(1, Ordering::Relaxed);
                    return;
                }
                Attempt::Never => {
                    assert!(is_bad, "tweet {n} is as it should be: {answer:?}");
                    self.report.refused.insert(n);
                    return;
                }
                Attempt::Unknown => may_be_there = true,
                Attempt::NotNow => {}
            }
            if self.number < self.plan.give_up {
                let told = if may_be_there {
                    &mut self.report.unknown
                } else {
                    &mut self.report.refused
                };
                told.insert(n);
                return;
            }
            assert!(
                began.elapsed() < RETRY_MAX,
                "tweet {n} is still not stored: {answer:?}"
            );
            self.at = (self.at + 1) % self.gateways.len();
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }

    fn note(&mut self, n: usize, answer: Option<&Answer>) -> Attempt {
        let Some(answer) = answer else {
            self.report.broken += 1;
            return Attempt::Unknown;
        };
        *self.report.answers.entry(answer.status).or_default() += 1;
        match answer.status {
            200 => Attempt::Stored,
            422 => {
                answer.problem(422);
                Attempt::Never
            }
            503 => {
                answer.problem(503);
                assert!(
                    answer.header("retry-after").is_some(),
                    "no Retry-After: {answer:?}"
                );
                assert_eq!(answer.retry_key(), key(n));
                Attempt::NotNow
            }
            _ => {
                answer.problem(504);
                assert_eq!(answer.retry_key(), key(n));
                Attempt::Unknown
            }
        }
    }
}
