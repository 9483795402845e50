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

use aguacero::id::EventId;
use tokio::task::JoinHandle;

use crate::{Answer, Client, Request, once};

/// Between two attempts to send the same event.
const RETRY_PAUSE: Duration = Duration::from_millis(25);
/// How long an event may be sent again and again before its client gives the test up.
const RETRY_MAX: Duration = Duration::from_secs(180);
/// Every so many tweets, one that must be refused, if the plan wants such.
const BAD_EVERY: usize = 37;
/// Every so many, one that a store may refuse, if the plan wants such.
const ODD_EVERY: usize = 41;
/// What only those have.
pub const ODD: &str = "odd";

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

/// The key of request number `n`.
#[must_use]
pub fn key(n: usize) -> String {
    format!("tweet-{n}")
}

/// Where tweets go, and how many at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Feed {
    /// The stream.
    pub stream: &'static str,
    /// Its route.
    pub path: &'static str,
    /// Tweets of a request: one is sent alone, several as an array. Request number r has the tweets from
    /// r · batch.
    pub batch: usize,
}

/// The stream of `aguacero.toml`, by single tweets.
pub const WEATHER: Feed = Feed {
    stream: "weather",
    path: "/input",
    batch: 1,
};

impl Feed {
    /// The id of tweet `n`.
    #[must_use]
    pub fn id(self, n: usize) -> EventId {
        let (request, position) = (n / self.batch, n % self.batch);
        EventId::of_client_key(self.stream, "", key(request).as_bytes(), position as u64)
    }
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
    /// What they write to.
    pub feed: Feed,
    /// Clients at the same time, each sending one request after the other, each under a key of its own. Client
    /// number c sends the requests c, c + clients, c + 2 · clients…
    pub clients: usize,
    /// Those of the clients that give up; all others retry.
    pub give_up: usize,
    /// Pause of a client after each request.
    pub pause: Duration,
    /// Whether some tweets lack what the stream requires, so that they must be refused for good. Only where each is
    /// sent alone.
    pub some_are_bad: bool,
    /// Whether some tweets have a field, [`ODD`], for which a store may refuse them.
    pub some_are_odd: bool,
}

impl Default for Plan {
    /// One client that retries, without a pause.
    fn default() -> Self {
        Self {
            feed: WEATHER,
            clients: 1,
            give_up: 0,
            pause: Duration::ZERO,
            some_are_bad: false,
            some_are_odd: false,
        }
    }
}

impl Plan {
    /// Whether tweet `n` is one that a store may refuse.
    #[must_use]
    pub fn is_odd(&self, n: usize) -> bool {
        self.some_are_odd && n % ODD_EVERY == ODD_EVERY - 1
    }

    fn is_bad(&self, n: usize) -> bool {
        self.some_are_bad && n % BAD_EVERY == BAD_EVERY - 1
    }

    /// Tweet `n` as it is sent.
    #[must_use]
    pub fn tweet(&self, n: usize) -> String {
        let tweet = tweet(n);
        if self.is_bad(n) {
            return tweet.replace("país", "ort");
        }
        match tweet.strip_suffix('}') {
            Some(open) if self.is_odd(n) => format!(r#"{open}, "{ODD}": true}}"#),
            _ => tweet,
        }
    }
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
    /// What they were to do.
    pub plan: Plan,
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
            ..Plan::default()
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
            plan: self.plan,
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

/// What is known of a tweet that is not stored.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Told {
    Stored,
    /// It is not stored; sending it again may help.
    NotNow,
    /// It is not stored and never will be.
    Never,
    Unknown,
}

impl Worker {
    async fn run(mut self) -> Report {
        let mut request = self.number;
        while !self.stop.load(Ordering::Relaxed) {
            self.send(request).await;
            request += self.plan.clients;
            if !self.plan.pause.is_zero() {
                tokio::time::sleep(self.plan.pause).await;
            }
        }
        self.report
    }

    async fn send(&mut self, number: usize) {
        let batch = self.plan.feed.batch;
        let tweets = number * batch..(number + 1) * batch;
        let mut body = tweets
            .clone()
            .map(|n| self.plan.tweet(n))
            .collect::<Vec<_>>()
            .join(",");
        if batch > 1 {
            body = format!("[{body}]");
        }
        let request = Request::json(self.plan.feed.path, body).key(&key(number));
        let era = self.era.load(Ordering::SeqCst);
        self.report.eras.extend(tweets.clone().map(|n| (n, era)));
        let (began, mut attempts, mut outcomes) = (Instant::now(), 0, vec![Told::NotNow; batch]);
        loop {
            attempts += 1;
            self.report.attempts_max = self.report.attempts_max.max(attempts);
            let answer = self.gateways[self.at].send(&request).await;
            for (outcome, told) in outcomes
                .iter_mut()
                .zip(self.told(number, answer.as_ref().ok()))
            {
                // Whatever a later attempt comes to: stored is stored, and may be stored stays so until then.
                *outcome = match (*outcome, told) {
                    (Told::Stored, _) => Told::Stored,
                    (Told::Unknown, Told::NotNow) => Told::Unknown,
                    (_, told) => told,
                };
            }
            let is_over = |told: &Told| matches!(told, Told::Stored | Told::Never);
            if outcomes.iter().all(is_over) || self.number < self.plan.give_up {
                break;
            }
            assert!(
                began.elapsed() < RETRY_MAX,
                "request {number} is still not stored: {answer:?}"
            );
            self.at = (self.at + 1) % self.gateways.len();
            tokio::time::sleep(RETRY_PAUSE).await;
        }
        for (n, told) in tweets.zip(outcomes) {
            let those = match told {
                Told::Stored => &mut self.report.stored,
                Told::Unknown => &mut self.report.unknown,
                Told::NotNow => &mut self.report.refused,
                Told::Never => {
                    assert!(self.plan.is_bad(n), "tweet {n} is as it should be");
                    &mut self.report.refused
                }
            };
            those.insert(n);
            self.stored
                .fetch_add(usize::from(told == Told::Stored), Ordering::Relaxed);
        }
    }

    /// What an answer says of each tweet of a request.
    fn told(&mut self, number: usize, answer: Option<&Answer>) -> Vec<Told> {
        let batch = self.plan.feed.batch;
        let Some(answer) = answer else {
            self.report.broken += 1;
            return vec![Told::Unknown; batch];
        };
        *self.report.answers.entry(answer.status).or_default() += 1;
        let of_status = |status: u16| match status {
            200 => Told::Stored,
            422 => Told::Never,
            503 => Told::NotNow,
            504 => Told::Unknown,
            _ => panic!("{status} is no answer to a tweet: {answer:?}"),
        };
        if !matches!(answer.status, 200 | 422) {
            assert_eq!(answer.retry_key(), key(number));
        }
        match answer.status {
            200 => {}
            207 => {
                let mut each = vec![Told::Stored; batch];
                let document = answer.document();
                for error in document["errors"].as_array().expect("errors") {
                    let number = |name: &str| error[name].as_u64().expect("a number");
                    each[number("index") as usize] = of_status(number("status") as u16);
                }
                return each;
            }
            status => {
                answer.problem(status);
                let says_when = answer.header("retry-after").is_some();
                assert!(status != 503 || says_when, "no Retry-After: {answer:?}");
            }
        }
        vec![of_status(answer.status); batch]
    }
}
