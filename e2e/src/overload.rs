//! Clients that offer more than is taken, and what they are told.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::{Answer, Client, Pipeline, Request, load::tweet, outage::Outages};

/// What clients are to offer.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Connections, each kept open, with one request at a time.
    pub connections: usize,
    /// Events of a request.
    pub batch: usize,
    /// Events per second that all connections together offer, answered or not.
    pub events_per_second: u64,
    /// For how long.
    pub duration: Duration,
}

/// What clients were told, in events.
#[derive(Debug, Clone, Default)]
pub struct Offered {
    /// Answered 200, or accepted by a 207.
    pub stored: usize,
    /// Told 503: certainly not stored.
    pub refused: usize,
    /// Told 504: perhaps stored.
    pub unknown: usize,
    /// Requests by the status of their answer.
    pub answers: BTreeMap<u16, usize>,
    /// Requests without an answer, connections that were refused among them.
    pub broken: usize,
    /// Refusals of the whole that did not say when to come again.
    pub without_retry_after: usize,
    /// How long each answer took, ascending.
    pub waited: Vec<Duration>,
    /// How long each answer took that stored something, ascending.
    pub waited_stored: Vec<Duration>,
    /// How long each refusal took, ascending.
    pub waited_refused: Vec<Duration>,
}

impl Offered {
    /// The time below which this share of `times` stays.
    #[must_use]
    pub fn quantile(times: &[Duration], share: f64) -> Duration {
        let last = times.len().saturating_sub(1);
        let at = (last as f64 * share).round() as usize;
        times.get(at).copied().unwrap_or_default()
    }

    fn note(&mut self, events: usize, answer: &Answer, waited: Duration) {
        *self.answers.entry(answer.status).or_default() += 1;
        self.waited.push(waited);
        match answer.status {
            200 => {
                self.stored += events;
                self.waited_stored.push(waited);
            }
            503 => {
                self.refused += events;
                self.waited_refused.push(waited);
                let says_when = answer.header("retry-after").is_some();
                self.without_retry_after += usize::from(!says_when);
            }
            504 => self.unknown += events,
            207 => self.note_each(events, answer),
            status => panic!("{status} is no answer to an overload: {answer:?}"),
        }
    }

    fn note_each(&mut self, events: usize, answer: &Answer) {
        let document = answer.document();
        let accepted = document["accepted"].as_u64().unwrap_or(0) as usize;
        let errors = document["errors"].as_array().map_or(&[][..], Vec::as_slice);
        assert_eq!(accepted + errors.len(), events, "{answer:?}");
        self.stored += accepted;
        for error in errors {
            match error["status"].as_u64() {
                Some(503) => self.refused += 1,
                Some(504) => self.unknown += 1,
                _ => panic!("no answer to an overload: {answer:?}"),
            }
        }
    }

    fn sort(&mut self) {
        self.waited.sort_unstable();
        self.waited_stored.sort_unstable();
        self.waited_refused.sort_unstable();
    }

    fn add(&mut self, other: Self) {
        self.stored += other.stored;
        self.refused += other.refused;
        self.unknown += other.unknown;
        self.broken += other.broken;
        self.without_retry_after += other.without_retry_after;
        self.waited.extend(other.waited);
        self.waited_stored.extend(other.waited_stored);
        self.waited_refused.extend(other.waited_refused);
        for (status, count) in other.answers {
            *self.answers.entry(status).or_default() += count;
        }
    }
}

/// What an overload came to.
#[derive(Debug, Clone)]
pub struct Figures {
    /// What was offered.
    pub plan: Plan,
    /// What clients were told.
    pub told: Offered,
    /// Events per second that were answered as stored, over those that the quota allows.
    pub goodput: f64,
    /// Bytes that were resident at most.
    pub gateway_peak: u64,
    /// The same.
    pub producer_peak: u64,
    /// From the end of the overload until a lone event was stored within [`NORMAL`].
    pub recovered: Duration,
    /// From then until everything was archived and shown.
    pub exact: Duration,
}

/// An answer that takes no longer is normal service again.
pub const NORMAL: Duration = Duration::from_millis(100);
/// How long the broker's quota takes to bite, and the first burst to be worked off.
const WARM_UP: Duration = Duration::from_secs(15);

/// Offers a whole pipeline, whose broker takes `quota` bytes a second of it, what `plan` says.
pub async fn measure(plan: &Plan, quota: u64, outages: &Outages) -> Figures {
    let pipeline = Pipeline::weather()
        .with("gateway.connections_max", 20_000)
        .with("gateway.connections_per_address_max", 20_000);
    let pipeline = pipeline.start().await;
    outages.quota(Some(quota)).await;
    let warm_up = Plan {
        duration: WARM_UP,
        ..plan.clone()
    };
    let mut told = warm_up.offer(&pipeline.addresses()).await;
    let (stored_before, bytes_before) = (told.stored, outages.bytes_of(pipeline.topic("weather")));
    let records_before = pipeline.kafka.count(pipeline.topic("weather")).await;
    let began = Instant::now();
    told.add(plan.offer(&pipeline.addresses()).await);
    let seconds = began.elapsed().as_secs_f64();
    let over = Instant::now();
    let records = pipeline.kafka.count(pipeline.topic("weather")).await - records_before;
    let bytes = outages.bytes_of(pipeline.topic("weather")) - bytes_before;
    let capacity = quota as f64 * records as f64 / bytes.max(1) as f64;
    let goodput = (told.stored - stored_before) as f64 / seconds / capacity;
    told.sort();

    let mut client = pipeline.client();
    crate::once("an event stored at once", async || {
        let request = Request::json("/input", tweet(0)).key("afterwards");
        let sent = Instant::now();
        client.answer(&request).await.status == 200 && sent.elapsed() < NORMAL
    })
    .await;
    let recovered = over.elapsed();
    outages.quota(None).await;
    let archived = pipeline.records("weather").await;
    let ids: std::collections::HashSet<_> = archived.iter().map(|record| record.id()).collect();
    let before = Instant::now();
    pipeline.exact("weather", ids.len()).await;
    Figures {
        plan: plan.clone(),
        told,
        goodput,
        gateway_peak: pipeline.gateway.memory_peak(),
        producer_peak: pipeline.producer.memory_peak(),
        recovered,
        exact: before.elapsed(),
    }
}

/// As many open files as this process may have: each connection is one.
pub fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    _ = setrlimit(Resource::Nofile, raised);
}

impl Plan {
    /// Follows it. Clients are spread over the gateways, and over time.
    pub async fn offer(&self, gateways: &[SocketAddr]) -> Offered {
        raise_open_files();
        let began = tokio::time::Instant::now();
        let each = self.connections as u32 * self.batch as u32;
        let every = Duration::from_secs(1) * each / self.events_per_second as u32;
        let clients = (0..self.connections).map(|number| {
            let first = began + every * number as u32 / self.connections as u32;
            let address = gateways[number % gateways.len()];
            tokio::spawn(self.clone().client(number, address, first, every))
        });
        let clients: Vec<_> = clients.collect();
        let mut all = Offered::default();
        for client in clients {
            all.add(client.await.expect("a client that does not panic"));
        }
        all.sort();
        all
    }

    async fn client(
        self,
        number: usize,
        address: SocketAddr,
        first: tokio::time::Instant,
        every: Duration,
    ) -> Offered {
        let mut offered = Offered::default();
        let mut client = Client::new(address);
        let end = tokio::time::Instant::now() + self.duration;
        let mut ticks = tokio::time::interval_at(first, every);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut next = number;
        loop {
            if ticks.tick().await >= end {
                return offered;
            }
            let events = (0..self.batch).map(|i| tweet(next + i * self.connections));
            let body = events.collect::<Vec<_>>().join("\n");
            next += self.batch * self.connections;
            let request = Request::ndjson("/input", body);
            let sent = Instant::now();
            match client.send(&request).await {
                Ok(answer) => offered.note(self.batch, &answer, sent.elapsed()),
                Err(_) => {
                    offered.broken += 1;
                    offered.unknown += self.batch;
                }
            }
        }
    }
}
