//! A worker: one thread, one runtime, and all that an event needs on its way.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use aguacero::{
    config::{Config, Stream},
    shutdown::{Shutdown, within},
};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, body::Incoming};
use tokio::{sync::mpsc, task::LocalSet};

use crate::{
    body, ids,
    judge::{Judge, Judged},
    lane::{Append, Refused},
    link::Link,
    listen,
    live::Live,
    metric::Metrics,
    respond::{self, Answer, RecordOutcome},
    route,
    slab::Ticket,
    split,
};

/// What is left of the drain's deadline for the last deltas to leave.
const DELTAS_DRAIN: Duration = Duration::from_secs(2);

/// What a worker's thread is started with.
pub(crate) struct Setup {
    pub(crate) config: Arc<Config>,
    pub(crate) listener: std::net::TcpListener,
    /// Told once, when the kafka-producer has welcomed this worker.
    pub(crate) welcomed: mpsc::Sender<()>,
    pub(crate) shutdown: Shutdown,
}

/// The state of a worker, shared by its connections' tasks on one thread.
pub(crate) struct Worker {
    pub(crate) config: Arc<Config>,
    pub(crate) metrics: Metrics,
    judge: RefCell<Judge>,
    /// Bytes of bodies that are being received in parts.
    held: Cell<usize>,
    link: Rc<Link>,
}

/// Serves until the shutdown and its drain are over.
pub(crate) fn run(setup: Setup) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    LocalSet::new().block_on(&runtime, serve(setup))
}

async fn serve(setup: Setup) -> anyhow::Result<()> {
    let Setup {
        config,
        listener,
        welcomed,
        shutdown,
    } = setup;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let live = Rc::new(Live::new(&config));
    let link = Rc::new(Link::new(&config, Rc::clone(&live)));
    let (link_trigger, link_shutdown) = Shutdown::new();
    let deltas = tokio::task::spawn_local(Rc::clone(&live).run(link_shutdown.clone()));
    let receipts = tokio::task::spawn_local(Rc::clone(&link).run(welcomed, link_shutdown));
    let worker = Rc::new(Worker {
        held: Cell::new(0),
        judge: RefCell::new(Judge::new(config.gateway.event_bytes_max)),
        metrics: Metrics::new(&config),
        link,
        config: Arc::clone(&config),
    });

    listen::serve(listener, Rc::clone(&worker), shutdown).await; // drained when it returns
    link_trigger.fire();
    _ = within(DELTAS_DRAIN, "the last deltas", deltas).await;
    receipts.abort();
    Ok(())
}

impl Worker {
    /// One request, from its header to its answer.
    pub(crate) async fn handle(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let started = Instant::now();
        let answer = self.answer(request, started).await;
        self.metrics.answered(answer.status, started.elapsed());
        answer.into_response()
    }

    async fn answer(&self, request: Request<Incoming>, started: Instant) -> Answer {
        let limits = body::Limits::of(&self.config.gateway, &self.held, started);
        let target = route::route(&self.config, &request);
        let (parts, body) = request.into_parts();
        let target = match target {
            Ok(target) => target,
            Err(answer) => {
                return body::discard(&parts.headers, body, &limits, *answer).await;
            }
        };
        let body = match body::read(body, &limits).await {
            Ok(body) => body,
            Err(answer) if answer.status == 503 => {
                let key = ids::Base::new(target.client_key, false).retry_key();
                return answer.retriable_under(key);
            }
            Err(answer) => return *answer,
        };
        let stream = &self.config.streams[target.stream];
        let base = ids::Base::new(target.client_key, target.format.is_batch(&body));
        let traceparent = route::traceparent(&parts.headers);
        let (mut outcomes, tickets) =
            match self.take_in(stream, &target.format, &body, &base, traceparent) {
                Ok(taken) => taken,
                Err(answer) => return *answer,
            };
        for ticket in tickets {
            ticket.await_receipt(&mut outcomes).await;
        }
        self.metrics.events(target.stream, &outcomes.records);
        respond::answer(&outcomes, &base)
    }

    /// Judges every event of a body, then appends the good ones. Nothing waits in here, so nothing
    /// of a request is appended before all of it is judged, and its events lie side by side.
    fn take_in(
        &self,
        stream: &Stream,
        format: &route::Format,
        body: &[u8],
        base: &ids::Base,
        traceparent: Option<Bytes>,
    ) -> Result<(Outcomes, Vec<Ticket>), Box<Answer>> {
        let events = split::split(format, body, self.config.gateway.batch_records_max)?;
        let mut outcomes = Outcomes {
            is_batch: events.is_batch,
            records: vec![RecordOutcome::Unknown; events.ranges.len()],
        };
        let mut judge = self.judge.borrow_mut();
        let judged = judge.all(stream, body, &events.ranges);
        for (index, refusal) in judged.refusals.drain(..) {
            outcomes.records[index as usize] = RecordOutcome::Refused(Box::new(refusal));
        }
        let tickets = self.append(stream, body, judged, base, traceparent, &mut outcomes);
        Ok((outcomes, tickets))
    }

    fn append(
        &self,
        stream: &Stream,
        body: &[u8],
        judged: &Judged,
        base: &ids::Base,
        traceparent: Option<Bytes>,
        outcomes: &mut Outcomes,
    ) -> Vec<Ticket> {
        let now = Instant::now();
        let arrived_ms = unix_ms();
        let mut tickets: Vec<Ticket> = Vec::new();
        let mut lane = self.link.lane();
        for event in &judged.events {
            let client_key = judged.text(event.id.as_ref());
            let append = Append {
                stream,
                value: &body[event.json.clone()],
                key: judged.text(event.key.as_ref()),
                reserved: event.reserved,
                id: base.id_of(&stream.name, client_key, event.index),
                client_key: client_key.or(base.client_key()).unwrap_or_default(),
                counter_keys: judged.counter_keys(event),
                arrived_ms,
                traceparent: traceparent.as_ref(),
            };
            match lane.append(&append, now) {
                Ok(place) => Ticket::note(&mut tickets, place, event.index),
                Err(refused) => {
                    outcomes.records[event.index as usize] = match refused {
                        Refused::TooLarge(bytes) => RecordOutcome::TooLarge(bytes),
                        Refused::Full | Refused::Away => {
                            RecordOutcome::NotStored(refused.detail().into())
                        }
                    };
                }
            }
        }
        for ticket in &mut tickets {
            ticket.attach(&mut lane);
        }
        drop(lane);
        if !tickets.is_empty() {
            self.link.wake();
        }
        tickets
    }
}

/// What became of the records of one request.
pub(crate) struct Outcomes {
    /// An array or NDJSON, however many records it has.
    pub(crate) is_batch: bool,
    /// In the order of the body.
    pub(crate) records: Vec<RecordOutcome>,
}

fn unix_ms() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
