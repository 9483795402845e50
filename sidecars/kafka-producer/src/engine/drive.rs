//! The task that drives the engine: everything that wakes it is dealt with in one turn.

use std::{
    future::{Future, poll_fn},
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use aguacero::log_limiter;
use bytes::Bytes;
use producer_engine::{Action, ConnectionId, Notice};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, Sleep},
};

use super::{
    job::{self, Job},
    machine::Machine,
    transport::{Connector, Stream},
};
use crate::{metric, receipt::Flight, topics::Known};

/// Bytes that are read at once.
const READ_BYTES: usize = 64 << 10;
/// In the log: connections that are lost, or not made.
const LOST: &str = "no connection to Kafka";
/// Reasons for which a batch is refused that may be in a topic's settings.
const OF_SETTINGS: [&str; 3] = ["INVALID_RECORD", "INVALID_TIMESTAMP", "MESSAGE_TOO_LARGE"];

/// The engine, and what it does not have itself.
pub(super) struct Driver<M> {
    engine: M,
    jobs: mpsc::UnboundedReceiver<(Job, Bytes)>,
    connections: Vec<Connection>,
    connector: Connector,
    topics: Known,
    ready: watch::Sender<bool>,
    /// When the engine's time began.
    began: Instant,
    alarm: Pin<Box<Sleep>>,
    buffer: Vec<u8>,
}

struct Connection {
    id: ConnectionId,
    address: String,
    state: State,
}

enum State {
    Opening(Pin<Box<dyn Future<Output = io::Result<Stream>> + Send>>),
    Open(Stream),
}

impl<M: Machine<Carried = Flight>> Driver<M> {
    pub(super) fn new(
        engine: M,
        jobs: mpsc::UnboundedReceiver<(Job, Bytes)>,
        connector: Connector,
        topics: Known,
        ready: watch::Sender<bool>,
    ) -> Self {
        Self {
            engine,
            jobs,
            connections: Vec::new(),
            connector,
            topics,
            ready,
            began: Instant::now(),
            alarm: Box::pin(tokio::time::sleep(Duration::ZERO)),
            buffer: vec![0; READ_BYTES],
        }
    }

    /// Drives it until nobody can produce any more and every receipt has left.
    pub(super) async fn run(mut self) {
        poll_fn(|cx| self.poll(cx)).await;
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let now = self.began.elapsed();
            self.engine.poll_replaced(cx);
            let is_open = self.take_jobs(cx, now);
            self.read(cx, now);
            self.engine.advance(now);
            let mut has_changed = self.act();
            has_changed |= self.write(cx, now);
            if self.engine.is_ready() && !*self.ready.borrow() {
                self.ready.send_replace(true);
            }
            if !is_open && self.engine.held() == 0 {
                return Poll::Ready(());
            }
            if !has_changed && self.set_alarm(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }

    /// False if there will be none any more.
    fn take_jobs(&mut self, cx: &mut Context<'_>, now: Duration) -> bool {
        loop {
            match self.jobs.poll_recv(cx) {
                Poll::Ready(Some((job, bytes))) => self.engine.submit(job, &bytes, now),
                Poll::Ready(None) => return false,
                Poll::Pending => return true,
            }
        }
    }

    fn read(&mut self, cx: &mut Context<'_>, now: Duration) {
        let (engine, buffer) = (&mut self.engine, &mut self.buffer);
        self.connections.retain_mut(
            |connection| match connection.read(cx, buffer, engine, now) {
                Ok(()) => true,
                Err(error) => {
                    engine.lost(connection.id, &error.to_string(), now);
                    false
                }
            },
        );
    }

    /// Does what the engine wants; whether it should be asked again at once.
    fn act(&mut self) -> bool {
        let mut has_changed = false;
        while let Some(action) = self.engine.action() {
            match action {
                Action::Connect {
                    connection,
                    address,
                } => {
                    has_changed = true;
                    let name = address.to_string();
                    let opening = self.connector.clone().connect(address);
                    self.connections.push(Connection {
                        id: connection,
                        address: name,
                        state: State::Opening(Box::pin(opening)),
                    });
                }
                Action::Close { connection } => self.connections.retain(|c| c.id != connection),
                Action::Receipt(receipt) => job::finish(receipt, &self.topics),
                Action::Notice(notice) => self.note(notice),
            }
        }
        has_changed
    }

    fn note(&self, notice: Notice) {
        match notice {
            Notice::Connection { address, why } => {
                metric::kafka_error("Connection");
                log_limiter::repeated(LOST, &address.to_string(), &why);
            }
            Notice::Refused {
                topic,
                partition,
                reason,
                ..
            } => {
                tracing::debug!(topic, partition, %reason, "a batch was refused");
                metric::kafka_error(&job::camel(reason.code));
                if OF_SETTINGS.contains(&reason.code) {
                    self.topics.look_soon();
                }
            }
            Notice::NewEpoch { topic, partition } => {
                tracing::debug!(topic, partition, "a new epoch");
                metric::new_epoch();
            }
            Notice::NoProducerId { code } => {
                metric::kafka_error(&job::camel(code));
                log_limiter::repeated("Kafka gives this producer no id", code, &"");
            }
        }
    }

    /// Writes what can be written; whether a connection was lost.
    fn write(&mut self, cx: &mut Context<'_>, now: Duration) -> bool {
        let engine = &mut self.engine;
        let before = self.connections.len();
        self.connections.retain_mut(|connection| {
            let State::Open(stream) = &mut connection.state else {
                return true;
            };
            match write(stream, cx, engine, connection.id) {
                Ok(()) => true,
                Err(error) => {
                    engine.lost(connection.id, &error.to_string(), now);
                    false
                }
            }
        });
        self.connections.len() != before
    }

    /// Pending if nothing is due yet. An alarm that is too early costs less than to set it for every slab.
    fn set_alarm(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let Some(deadline) = self.engine.deadline() else {
                return Poll::Pending;
            };
            let at = self.began + deadline;
            if at <= Instant::now() {
                return Poll::Ready(());
            }
            if self.alarm.deadline() > at || self.alarm.is_elapsed() {
                self.alarm.as_mut().reset(at);
            }
            if self.alarm.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }
}

impl Connection {
    fn read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
        engine: &mut impl Machine,
        now: Duration,
    ) -> io::Result<()> {
        if let State::Opening(opening) = &mut self.state {
            let Poll::Ready(opened) = opening.as_mut().poll(cx) else {
                return Ok(());
            };
            self.state = State::Open(opened?);
            log_limiter::ended(LOST, &self.address);
            engine.opened(self.id, now);
        }
        let State::Open(stream) = &mut self.state else {
            return Ok(());
        };
        while let Poll::Ready(read) = stream.poll_read(cx, buffer) {
            match read? {
                0 => return Err(io::Error::other("the broker has closed the connection")),
                bytes => engine.received(self.id, &buffer[..bytes], now),
            }
        }
        Ok(())
    }
}

fn write(
    stream: &mut Stream,
    cx: &mut Context<'_>,
    engine: &mut impl Machine,
    id: ConnectionId,
) -> io::Result<()> {
    let mut has_written = false;
    loop {
        let unsent = engine.unsent(id);
        if unsent.is_empty() {
            break;
        }
        match stream.poll_write(cx, unsent) {
            Poll::Ready(Ok(bytes)) => engine.sent(id, bytes),
            Poll::Ready(Err(error)) => return Err(error),
            Poll::Pending => break,
        }
        has_written = true;
    }
    match has_written {
        true => match stream.poll_flush(cx) {
            Poll::Ready(flushed) => flushed,
            Poll::Pending => Ok(()), // it goes on when the socket takes more
        },
        false => Ok(()),
    }
}
