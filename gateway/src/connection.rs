//! One connection, from its first byte to its end.
//!
//! hyper keeps 16 KiB of buffers for a connection as long as it serves it. One that says nothing for a while
//! is taken from hyper, and given back when it speaks: ten thousand idle clients cost little more than their
//! sockets.

use std::{
    cell::Cell,
    convert::Infallible,
    future::poll_fn,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::{
    deadlines::{Deadline, NEVER},
    patience::Patient,
    worker::Worker,
};

/// Fields that a header may have; with more, hyper answers 431 by itself.
const HEADER_FIELDS_MAX: usize = 100;
/// Room for a header beyond the configured bound, so that the 431 is ours and says why.
const READ_BUFFER_SLACK: usize = 64 << 10;
/// Silence after which hyper and its buffers are let go of.
const DOZE_AFTER: Duration = Duration::from_secs(1);

/// Where a connection is between two requests.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nothing was asked yet, or everything is answered, and more may come.
    Resting,
    /// A request is being read or answered; [`crate::body`] sets the deadline.
    Working,
    /// The last answer ends it: what still comes is not a request.
    Ending,
}

/// What a connection's task and its service both have to know.
struct State {
    phase: Cell<Phase>,
    deadline: Deadline,
    /// Of silence between two requests, the next one's header included.
    idle_timeout: Duration,
    /// When that is over.
    last: Cell<u64>,
    /// The client does not take what is left of an answer.
    is_stuck: Rc<Cell<bool>>,
    /// The process is about to end.
    is_draining: Cell<bool>,
}

/// What came of serving.
enum Served {
    /// As hyper says.
    Ended(hyper::Result<()>),
    /// The client says nothing.
    Silent,
    /// It has said nothing for too long.
    TimedOut,
}

impl State {
    fn work(&self) {
        self.phase.set(Phase::Working);
        self.deadline.clear();
    }

    fn rest(&self, phase: Phase) {
        self.phase.set(phase);
        self.last.set(self.deadline.after(self.idle_timeout));
        self.deadline.set(DOZE_AFTER, self.last.get());
    }

    /// A request that has begun is answered; part of a header is waited for no longer than silence is.
    fn drain(&self) {
        self.is_draining.set(true);
        if self.phase.get() != Phase::Working {
            self.deadline.set(DOZE_AFTER, self.last.get());
        }
    }

    /// What becomes of a connection of which hyper has nothing to tell.
    fn silence(&self, context: &Context<'_>) -> Poll<Served> {
        let is_over = self.deadline.is_over(context);
        match self.phase.get() {
            Phase::Working => Poll::Pending,
            _ if !is_over => Poll::Pending,
            _ if self.deadline.has_come(self.last.get()) => Poll::Ready(Served::TimedOut),
            _ if self.is_draining.get() && !self.is_stuck.get() => Poll::Ready(Served::TimedOut),
            Phase::Resting if !self.is_stuck.get() => Poll::Ready(Served::Silent),
            _ => {
                self.wait_on();
                Poll::Pending
            }
        }
    }

    /// All the time that is left.
    fn wait_on(&self) {
        self.deadline.set(self.idle_timeout, self.last.get());
    }
}

/// Serves a connection to its end.
pub(crate) async fn serve(stream: TcpStream, worker: Rc<Worker>, deadline: Deadline) {
    _ = stream.set_nodelay(true);
    let gateway = &worker.config.gateway;
    let is_stuck = Rc::new(Cell::new(false));
    let mut stream = Patient::new(stream, gateway.body_timeout, Rc::clone(&is_stuck));
    let state = Rc::new(State {
        phase: Cell::new(Phase::Resting),
        deadline,
        idle_timeout: gateway.idle_timeout,
        last: Cell::new(NEVER),
        is_stuck,
        is_draining: Cell::new(false),
    });
    state.rest(Phase::Resting);
    loop {
        stream = match awake(stream, &worker, &state).await {
            Some(silent) => silent,
            None => return,
        };
        state.wait_on();
        worker.metrics.connection_asleep();
        let goes_on = asleep(&stream, &state.deadline).await;
        worker.metrics.connection_awake();
        if !goes_on {
            return;
        }
    }
}

/// Serves it until it ends, or its client is silent.
async fn awake(stream: Patient, worker: &Rc<Worker>, state: &Rc<State>) -> Option<Patient> {
    let service = service_fn(|request| {
        let (worker, state) = (Rc::clone(worker), Rc::clone(state));
        async move {
            state.work();
            let answer = worker.handle(request, &state.deadline).await;
            state.rest(match answer.is_last() {
                true => Phase::Ending,
                false => Phase::Resting,
            });
            Ok::<_, Infallible>(answer.into_response())
        }
    });
    let serving = http1::Builder::new()
        .max_headers(HEADER_FIELDS_MAX)
        .max_buf_size(worker.config.gateway.header_bytes_max + READ_BUFFER_SLACK)
        .writev(false) // an answer is small: one piece costs less than two
        .half_close(true) // who has sent its last byte may still wait for an answer
        .serve_connection(TokioIo::new(stream), service);
    let mut serving = Box::new(serving); // a connection that is asleep has no room for it
    let served = poll_fn(|context| {
        let mut serving = Pin::new(&mut *serving);
        if state.deadline.is_draining(context) {
            state.drain();
            serving.as_mut().graceful_shutdown();
        }
        match serving.poll(context) {
            Poll::Ready(served) => Poll::Ready(Served::Ended(served)),
            Poll::Pending => state.silence(context),
        }
    });
    match served.await {
        Served::Silent => {
            let parts = serving.into_parts();
            let mut stream = parts.io.into_inner();
            stream.put_back(&parts.read_buf);
            return Some(stream);
        }
        Served::Ended(Err(error)) => worker.metrics.connection_broken(&error),
        Served::Ended(Ok(())) | Served::TimedOut => {}
    }
    None
}

/// Waits for a client to go on; whether it does before the deadline.
async fn asleep(stream: &Patient, deadline: &Deadline) -> bool {
    poll_fn(|context| {
        if deadline.is_draining(context) || deadline.is_over(context) {
            return Poll::Ready(false);
        }
        stream.poll_more(context).map(|()| true)
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size<A, B, C, F: Future>(_: impl Fn(A, B, C) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_connection_has_no_room_for_what_it_needs_only_while_it_is_awake() {
        let bytes = size(serve);
        assert!(bytes < 512, "{bytes} bytes");
    }
}
