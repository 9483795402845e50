//! The link to a producer: connects, sends the lane's frames, hands it the receipts.

use std::{
    cell::{RefCell, RefMut},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use aguacero::{
    config::{Config, Via},
    log_limiter,
    shutdown::Shutdown,
};
use aguacero_proto::{
    pod::PodStream,
    produce::{
        FromProducer, Hello, MESSAGE_BYTES_MAX, PROTOCOL, Receipts, ToProducer, from_producer,
        producer_client::ProducerClient, to_producer,
    },
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::UnixStream,
    sync::{Notify, mpsc},
    time::{MissedTickBehavior, interval},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming, transport::Endpoint};

use crate::{
    batch::{
        budget::Budget,
        lane::{Bounds, Finished, Lane},
        verdict::Outcome,
    },
    live::deltas::Live,
    metric::{self, OpenLink, Sent},
};

/// How often deadlines are looked at.
const TICK: Duration = Duration::from_millis(20);
/// Pause between two attempts to connect.
const RECONNECT_EVERY: Duration = Duration::from_millis(50);
/// How often the tasks that are ready may run before a frame is closed: one round reads the requests
/// that have arrived, the next lets them append.
const YIELDS: usize = 2;
/// Windows of HTTP/2, as at the other end.
const STREAM_WINDOW: u32 = 4 << 20;
const CONNECTION_WINDOW: u32 = 8 << 20;
/// What the log says while there is no stream.
const UNANSWERED: &str = "the producer does not answer";

/// A lane of a worker and what drives it.
pub(crate) struct Link {
    config: Arc<Config>,
    via: Via,
    lane: RefCell<Lane>,
    appended: Notify,
    live: Rc<Live>,
    sent: Sent,
}

/// A stream that the producer has welcomed.
struct Session {
    frames: mpsc::Sender<ToProducer>,
    answers: Streaming<FromProducer>,
}

impl Link {
    pub(crate) fn new(config: &Arc<Config>, via: Via, budget: Budget, live: Rc<Live>) -> Self {
        let lane = Lane::new(config, Bounds::of(config), budget, Instant::now());
        Self {
            config: Arc::clone(config),
            via,
            lane: RefCell::new(lane),
            appended: Notify::new(),
            live,
            sent: Sent::to(via.process()),
        }
    }

    /// The lane, to append to. Not to be held across an await.
    pub(crate) fn lane(&self) -> RefMut<'_, Lane> {
        self.lane.borrow_mut()
    }

    /// Something was appended.
    pub(crate) fn wake(&self) {
        self.appended.notify_one();
    }

    /// Keeps a session open until the shutdown and the last receipt. `welcomed` is told once, at the first welcome.
    pub(crate) async fn run(self: Rc<Self>, welcomed: mpsc::Sender<Via>, shutdown: Shutdown) {
        let mut welcomed = Some(welcomed);
        let process = self.via.process();
        loop {
            let connecting = self.connect();
            match self.ticking(connecting).await {
                Ok(session) => {
                    log_limiter::ended(UNANSWERED, process);
                    if let Some(welcomed) = welcomed.take() {
                        _ = welcomed.send(self.via).await;
                    }
                    let open = OpenLink::to(process);
                    let why = self.serve(session).await;
                    drop(open);
                    self.lane.borrow_mut().disconnected(Instant::now());
                    log_limiter::repeated("the stream to the producer broke", process, &why);
                }
                Err(status) => {
                    log_limiter::repeated(UNANSWERED, process, &status);
                }
            }
            if shutdown.is_requested() && self.lane.borrow().is_empty() {
                return;
            }
            self.ticking(tokio::time::sleep(RECONNECT_EVERY)).await;
        }
    }

    /// Awaits `work` while the lane's deadlines are kept.
    async fn ticking<T>(&self, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                _ = tick.tick() => { self.tick(); }
            }
        }
    }

    /// Opens a stream and exchanges greetings.
    async fn connect(&self) -> Result<Session, Status> {
        let path = self.config.socket_of(self.via).to_owned();
        // The address is required and never used: the connector knows the socket.
        let channel = Endpoint::from_static("http://producer")
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .connect_with_connector(tower::service_fn(move |_| {
                let path = path.clone();
                async move {
                    let socket = UnixStream::connect(path).await?;
                    PodStream::new(socket).map(TokioIo::new)
                }
            }))
            .await
            .map_err(|e| Status::from_error(Box::new(e)))?;
        let mut client = ProducerClient::new(channel)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);

        // Room for every frame in flight and the hello, so that sending never waits.
        let (frames, outgoing) = mpsc::channel(self.config.gateway.frames_in_flight_max + 64);
        let hello = Hello {
            protocol: PROTOCOL,
            run: self.live.run_id(),
            config_fingerprint: self.config.fingerprint,
        };
        _ = frames
            .send(ToProducer {
                kind: Some(to_producer::Kind::Hello(hello)),
            })
            .await;
        let mut answers = client
            .produce(ReceiverStream::new(outgoing))
            .await?
            .into_inner();
        let Some(FromProducer {
            kind: Some(from_producer::Kind::Welcome(welcome)),
        }) = answers.message().await?
        else {
            return Err(Status::internal("it did not greet"));
        };
        if welcome.config_fingerprint != self.config.fingerprint {
            let about = self.via.process();
            tracing::warn!(
                about,
                "the producer declares other topics or streams than this gateway"
            );
        }
        self.lane.borrow_mut().connected(&welcome.topics);
        Ok(Session { frames, answers })
    }

    /// Sends and receives until the stream ends; returns why it did.
    async fn serve(&self, mut session: Session) -> Status {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.wake(); // for what a session before has left
        loop {
            tokio::select! {
                biased;
                answer = session.answers.message() => match answer {
                    Ok(Some(FromProducer { kind: Some(from_producer::Kind::Receipts(receipts)) })) => {
                        self.receive(&receipts);
                    }
                    Ok(Some(_)) => return Status::internal("something that is not a receipt"),
                    Ok(None) => return Status::unavailable("it closed the stream"),
                    Err(status) => return status,
                },
                () = self.appended.notified() => {
                    for _ in 0..YIELDS {
                        tokio::task::yield_now().await;
                    }
                    while let Some(frame) = self.next_frame() {
                        let frame = ToProducer { kind: Some(to_producer::Kind::Frame(frame)) };
                        if session.frames.try_send(frame).is_err() {
                            return Status::unavailable("it does not take frames any more");
                        }
                    }
                }
                _ = tick.tick() => {
                    if self.tick() {
                        self.wake();
                    }
                }
            }
        }
    }

    fn next_frame(&self) -> Option<aguacero_proto::produce::Frame> {
        self.lane.borrow_mut().next_frame(Instant::now())
    }

    fn receive(&self, receipts: &Receipts) {
        let now = Instant::now();
        self.sent.receipts.increment(receipts.receipts.len() as u64);
        for receipt in &receipts.receipts {
            let finished = self.lane.borrow_mut().receipt(receipt, now);
            if let Some(finished) = finished {
                self.finish(finished, now);
            }
        }
        if self.lane.borrow().has_more() {
            self.wake(); // a frame may leave now
        }
    }

    fn tick(&self) -> bool {
        let (mut done, now) = (Vec::new(), Instant::now());
        let mut lane = self.lane.borrow_mut();
        let can_send = lane.tick(now, |finished| done.push(finished));
        self.sent.tell(&lane.take_sums(), lane.bytes());
        drop(lane);
        done.into_iter()
            .for_each(|finished| self.finish(finished, now));
        can_send
    }

    /// Answers the requests that wait for a slab and tells the counters what was stored.
    fn finish(&self, mut finished: Finished, now: Instant) {
        let stored = finished.verdict.outcome == Outcome::Stored;
        let (verdict, slab) = (&finished.verdict, &finished.slab);
        for (reason, events) in verdict.not_stored(slab.len(), slab.attempts) {
            metric::not_stored(reason, &verdict.detail, events);
        }
        let took = now.saturating_duration_since(slab.opened);
        self.sent.seconds.record(took.as_secs_f64());
        finished.slab.resolve(finished.verdict.clone());
        if stored {
            self.live.stored(finished);
        }
    }
}

#[cfg(test)]
#[path = "link_tests.rs"]
pub(super) mod tests;
