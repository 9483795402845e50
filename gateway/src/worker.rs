//! A worker: one thread, one runtime, and all that an event needs on its way.

use std::{
    cell::{Cell, RefCell},
    net::IpAddr,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use aguacero::{
    config::{Config, Via},
    essential::essential,
    shutdown::{Shutdown, within},
};
use hyper::{Request, body::Incoming, http::request::Parts};
use tokio::{runtime::LocalOptions, sync::mpsc, task::JoinHandle};
use tokio_rustls::TlsAcceptor;

use crate::{
    answer::{
        outcomes::Outcomes,
        pending::{OutgoingAnswer, PendingAnswers},
        respond::{self, Answer},
        response_headers::ResponseHeaders,
    },
    batch::{budget::Budget, link::Link, links::Links, ticket::Tickets},
    connection::{
        addresses::{Addresses, Peer, Place},
        deadlines::Deadline,
        listen,
    },
    intake::{ids, judge::Judge, take::Intake},
    live::deltas::Live,
    metric::{self, Metrics},
    on_drop::OnDrop,
    request::{
        body,
        body_budget::BodyBudget,
        expand::Expander,
        keys::Keys,
        route,
        turns::{Turn, Turns},
    },
};

/// Bytes of a single event that is judged at once, and of a batch, which may be of as many records as bytes: some 0.1 ms.
const LIGHT_EVENT: usize = 4 << 10;
const LIGHT_BATCH: usize = 512;

/// What is left of the drain's deadline for the last deltas to leave.
const DELTAS_DRAIN: Duration = Duration::from_secs(2);

/// Between two looks, while the process ends, at what was answered before its receipts.
const RECEIPTS_LOOK: Duration = Duration::from_millis(10);

/// What a worker's thread is started with.
pub(crate) struct Setup {
    pub(crate) config: Arc<Config>,
    pub(crate) listener: std::net::TcpListener,
    pub(crate) tls: Option<TlsAcceptor>,
    pub(crate) addresses: Arc<Addresses>,
    /// Of bytes in flight.
    pub(crate) budget: Budget,
    /// Told once of each producer that routes take, when it has welcomed this worker.
    pub(crate) welcomed: mpsc::Sender<Via>,
    pub(crate) keys: Keys,
    pub(crate) shutdown: Shutdown,
}

/// The state of a worker, shared by its connections' tasks on one thread.
pub(crate) struct Worker {
    pub(crate) config: Arc<Config>,
    pub(crate) metrics: Metrics,
    pub(crate) tls: Option<TlsAcceptor>,
    pub(crate) addresses: Arc<Addresses>,
    judge: RefCell<Judge>,
    body_budget: BodyBudget,
    expander: Expander,
    /// Of large bodies.
    turns: Turns,
    keys: Keys,
    /// Requests that are answered, or whose clients have left, and whose receipts are not there yet.
    unreceipted: Cell<usize>,
    /// Nothing is waited for any more.
    has_ended: Cell<bool>,
    links: Links,
    pending_answers: PendingAnswers,
    /// Of HTTP/2, whose answers have not left.
    streams: Cell<usize>,
}

/// A place for a stream, until it is dropped.
pub(crate) struct StreamPlace {
    worker: Rc<Worker>,
    _place: Option<Place>,
}

impl Drop for StreamPlace {
    fn drop(&mut self) {
        self.worker.streams.set(self.worker.streams.get() - 1);
    }
}

/// Serves until the shutdown and its drain are over.
pub(crate) fn run(setup: Setup) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(LocalOptions::default())?;
    runtime.block_on(serve(setup))
}

async fn serve(setup: Setup) -> anyhow::Result<()> {
    let Setup {
        config,
        listener,
        tls,
        addresses,
        budget,
        welcomed,
        keys,
        shutdown,
    } = setup;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let live = Rc::new(Live::new(&config));
    let links = Links::new(&config, &budget, &live);
    let (link_trigger, link_shutdown) = Shutdown::new();
    let telling = Rc::clone(&live).run(link_shutdown.clone());
    let deltas = tokio::task::spawn_local(essential("the live counters", telling));
    let drive = |link: &Rc<Link>| {
        let driving = Link::run(Rc::clone(link), welcomed.clone(), link_shutdown.clone());
        tokio::task::spawn_local(essential("a link", driving))
    };
    let receipts: Vec<_> = links.all().iter().map(drive).collect();
    drop((welcomed, link_shutdown));
    let worker = Rc::new(Worker {
        body_budget: BodyBudget::new(&config.gateway),
        expander: Expander::default(),
        turns: Turns::default(),
        judge: RefCell::new(Judge::new(config.gateway.event_bytes_max)),
        metrics: Metrics::new(&config),
        pending_answers: PendingAnswers::new(&config.gateway),
        streams: Cell::new(0),
        tls,
        addresses,
        keys,
        unreceipted: Cell::new(0),
        has_ended: Cell::new(false),
        links,
        config: Arc::clone(&config),
    });

    let end = listen::serve(listener, Rc::clone(&worker), shutdown).await; // drained when it returns
    _ = within(
        end.duration_since(tokio::time::Instant::now()),
        "receipts of what was answered before",
        worker.receipts(),
    )
    .await;
    link_trigger.fire();
    _ = within(DELTAS_DRAIN, "the last deltas", deltas).await;
    receipts.iter().for_each(JoinHandle::abort);
    worker.has_ended.set(true);
    Ok(())
}

impl Worker {
    /// One request, from its header to its answer.
    pub(crate) async fn handle(
        self: &Rc<Self>,
        request: Request<Incoming>,
        peer: Peer,
        deadline: &Deadline,
    ) -> OutgoingAnswer {
        let unanswered = self.metrics.request();
        let mut response_headers = ResponseHeaders::default();
        let (parts, body) = request.into_parts();
        let client = match peer {
            Peer::Client(address) => address,
            Peer::Proxy(proxy) => self.addresses.behind(proxy, &parts.headers),
        };
        let share = self.body_budget.share(client);
        let limits = body::Limits::of(&self.config.gateway, share, deadline, parts.version);
        let (_place, place) = match self.place(peer, client) {
            Ok(place) => (place, Ok(())),
            Err(answer) => (None, Err(answer)),
        };
        let answer = self
            .answer(&parts, body, &limits, place, &mut response_headers)
            .await;
        let answer = limits.last_if_trailed(answer);
        let stream = response_headers.stream;
        let answer = self.pending_answers.send(response_headers.add_to(answer));
        unanswered.answered(stream, answer.response.status().as_u16());
        answer
    }

    /// A place for a stream of an HTTP/2 connection: there may be as many in all as connections, and as many of one
    /// address.
    pub(crate) fn stream_place(self: &Rc<Self>, peer: Peer) -> Option<StreamPlace> {
        let gateway = &self.config.gateway;
        if self.streams.get() >= gateway.connections_max.div_ceil(gateway.workers) {
            return None;
        }
        let place = match peer {
            Peer::Client(address) => Some(self.addresses.take(address)?),
            Peer::Proxy(_) => None, // each request takes a place for whoever is behind it
        };
        self.streams.set(self.streams.get() + 1);
        Some(StreamPlace {
            worker: Rc::clone(self),
            _place: place,
        })
    }

    /// A place for a request that a proxy hands on; a client of our own has one for its connection.
    fn place(&self, peer: Peer, client: IpAddr) -> Result<Option<Place>, Box<Answer>> {
        match peer {
            Peer::Client(_) => Ok(None),
            Peer::Proxy(_) => match self.addresses.take(client) {
                Some(place) => Ok(Some(place)),
                None => Err(Answer::too_many_of_address(self.addresses.max()).into()),
            },
        }
    }

    async fn answer(
        self: &Rc<Self>,
        parts: &Parts,
        body: Incoming,
        limits: &body::Limits<'_>,
        place: Result<(), Box<Answer>>,
        response_headers: &mut ResponseHeaders,
    ) -> Answer {
        let target = route::route(&self.config, &self.keys, parts, place, response_headers);
        let target = match target {
            Ok(target) => target,
            Err(answer) => {
                return Box::pin(body::discard(&parts.headers, body, limits, *answer)).await;
            }
        };
        let body = async {
            let body = body::read(body, limits).await?;
            let gateway = &self.config.gateway;
            let expanding = self.expander.expand(target.coding, body, gateway, limits);
            expanding.await
        };
        let body = match body.await {
            Ok(body) => body,
            Err(answer) if answer.status == 503 => {
                metric::body_refused();
                let key = ids::Base::retry_key_of(target.client_key);
                return answer.retriable_under(&key);
            }
            Err(answer) => return *answer,
        };
        let stream = &self.config.streams[target.stream];
        let is_batch = target.format.is_batch(&body);
        let base = ids::Base::new(
            target.client_key,
            &stream.name,
            response_headers.owner_name(),
        );
        let turn = match self.turn(&body, is_batch, limits).await {
            Ok(turn) => turn,
            Err(answer) => {
                metric::body_refused();
                return answer.retriable_under(&base.retry_key());
            }
        };
        let link = self.links.of(target.via);
        let taken = {
            let mut judge = self.judge.borrow_mut();
            let records_max = self.config.gateway.batch_records_max;
            let intake = Intake {
                judge: &mut judge,
                lane: &mut link.lane(),
                records_max,
                owner: response_headers.owner_name(),
                preferences: target.preferences,
            };
            intake.take(stream, target.format, &body, &base, target.trace)
        };
        let (outcomes, tickets) = match taken {
            Ok(taken) => taken,
            Err(answer) => return *answer,
        };
        drop(body); // it may be large, and the receipt a while away
        limits.let_go();
        if !tickets.is_empty() {
            link.wake();
        }
        response_headers.has_sent(outcomes.records.len());
        if target.preferences.respond_async && outcomes.are_open() && self.may_answer_early() {
            let answer = Answer::received(outcomes.records.len());
            self.await_later((target.stream, target.via), outcomes, tickets);
            return answer;
        }
        let _turn = turn.filter(|_| tickets.is_empty()); // an answer may take as long as its body
        let on_their_way = OnTheirWay {
            worker: self,
            way: (target.stream, target.via),
            outcomes,
            tickets,
        };
        let outcomes = on_their_way.receipts().await;
        if !outcomes.is_dry_run {
            self.metrics
                .events((target.stream, target.via), &outcomes.records);
        }
        let topic = &self.config.topic_of(stream).name;
        respond::answer(&outcomes, &base, topic)
    }

    /// Large bodies are judged one at a time, and between two of them everybody else has a turn: of many that come
    /// at once, each takes a worker for milliseconds. 503 if the turn does not come in the time that a body may make
    /// no progress.
    async fn turn(
        &self,
        body: &[u8],
        is_batch: bool,
        limits: &body::Limits<'_>,
    ) -> Result<Option<Turn>, Box<Answer>> {
        let light = if is_batch { LIGHT_BATCH } else { LIGHT_EVENT };
        if body.len() <= light {
            return Ok(None);
        }
        let wait_max = self.config.gateway.body_timeout;
        let Some(turn) = self.turns.take(limits.client(), wait_max).await else {
            return Err(Answer::no_turn().into());
        };
        tokio::task::yield_now().await;
        Ok(Some(turn))
    }

    /// Whether a preference for an early answer is followed: by no more requests at a time than could wait
    /// for their answers, so that what they take is bounded as it is without the preference.
    fn may_answer_early(&self) -> bool {
        let gateway = &self.config.gateway;
        self.unreceipted.get() < gateway.connections_max.div_ceil(gateway.workers)
    }

    /// Counts what becomes of the events of a request that is answered already, or whose client has left.
    fn await_later(
        self: &Rc<Self>,
        way: (usize, Via),
        mut outcomes: Outcomes,
        mut tickets: Tickets,
    ) {
        let worker = Rc::clone(self);
        worker.unreceipted.set(worker.unreceipted.get() + 1);
        tokio::task::spawn_local(async move {
            let unreceipted = &worker.unreceipted;
            let _receipted = OnDrop(|| unreceipted.set(unreceipted.get() - 1));
            for ticket in &mut tickets {
                ticket.await_receipt(&mut outcomes).await;
            }
            worker.metrics.events(way, &outcomes.records);
        });
    }

    /// Waits until nothing is left of them.
    async fn receipts(&self) {
        while self.unreceipted.get() > 0 {
            tokio::time::sleep(RECEIPTS_LOOK).await;
        }
    }
}

/// The events of a request that waits for their receipts. Dropped before they are there, its client has left: they
/// are counted all the same.
struct OnTheirWay<'a> {
    worker: &'a Rc<Worker>,
    /// Stream, and the way into Kafka.
    way: (usize, Via),
    outcomes: Outcomes,
    tickets: Tickets,
}

impl OnTheirWay<'_> {
    async fn receipts(mut self) -> Outcomes {
        while let Some(ticket) = self.tickets.last_mut() {
            ticket.await_receipt(&mut self.outcomes).await;
            self.tickets.pop();
        }
        std::mem::take(&mut self.outcomes)
    }
}

impl Drop for OnTheirWay<'_> {
    fn drop(&mut self) {
        let worker = self.worker;
        if self.tickets.is_empty() || worker.has_ended.get() {
            return;
        }
        let outcomes = std::mem::take(&mut self.outcomes);
        match worker.may_answer_early() {
            true => worker.await_later(self.way, outcomes, std::mem::take(&mut self.tickets)),
            false => worker.metrics.events(self.way, &outcomes.records), // most of them as unknown
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::serve::tests::size;

    /// It is moved as it begins, and every stream of HTTP/2 has one.
    #[test]
    fn a_request_has_no_room_for_what_few_of_them_need() {
        type Served = &'static Rc<Worker>;
        let bytes = size(|w: Served, request, peer, deadline: &'static Deadline| {
            w.handle(request, peer, deadline)
        });
        assert!(bytes < 3 << 10, "{bytes} bytes");
    }
}
