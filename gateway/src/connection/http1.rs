//! One connection, from its first byte to its end.
//!
//! hyper keeps 16 KiB of buffers for a connection as long as it serves it. One that says nothing for a while
//! is taken from hyper, and given back when it speaks: ten thousand idle clients cost little more than their
//! sockets.

use std::{
    cell::Cell,
    convert::Infallible,
    future::poll_fn,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use http_body_util::Full;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead as _, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::TlsAcceptor;

use crate::{
    connection::{
        addresses::Peer,
        deadlines::{Deadline, NEVER},
        http2,
        socket::Socket,
        write_timeout::{ClientStream, Signals},
    },
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
    /// Part of a header, or of a handshake, has come.
    Beginning,
    /// A request is being read or answered; [`crate::body`] sets the deadline.
    Working,
    /// The last answer ends it: what still comes is not a request.
    Ending,
}

/// What a connection's task and its service both have to know.
struct State {
    phase: Cell<Phase>,
    deadline: Deadline,
    /// Of silence between two requests.
    idle_timeout: Duration,
    /// Of a header, from its first byte.
    header_timeout: Duration,
    /// When the one or the other is over.
    last: Cell<u64>,
    signals: Rc<Signals>,
    /// The process is about to end.
    is_draining: Cell<bool>,
    peer: Peer,
}

/// What came of serving.
enum Served {
    /// As hyper says.
    Ended(hyper::Result<()>),
    /// The client says nothing.
    Silent,
    /// It has said nothing, or not enough, for too long.
    TimedOut,
}

impl State {
    fn begin(&self) {
        self.phase.set(Phase::Beginning);
        self.last.set(self.deadline.after(self.header_timeout));
        self.doze();
    }

    fn work(&self) {
        self.phase.set(Phase::Working);
        self.deadline.clear();
    }

    fn rest(&self, phase: Phase) {
        self.phase.set(phase);
        self.signals.has_heard.set(false);
        self.last.set(self.deadline.after(self.idle_timeout));
        self.doze();
    }

    /// A request that has begun is answered; part of a header is waited for no longer than silence is.
    fn drain(&self) {
        self.is_draining.set(true);
        if self.phase.get() != Phase::Working {
            self.doze();
        }
    }

    /// What becomes of a connection of which hyper has nothing to tell.
    fn silence(&self, context: &Context<'_>) -> Poll<Served> {
        if self.phase.get() == Phase::Resting && self.signals.has_heard.take() {
            self.begin();
        }
        let is_over = self.deadline.is_over(context);
        let is_write_blocked = self.signals.is_write_blocked.get();
        match self.phase.get() {
            Phase::Working => Poll::Pending,
            _ if !is_over => Poll::Pending,
            _ if self.deadline.has_come(self.last.get()) => Poll::Ready(Served::TimedOut),
            _ if self.is_draining.get() && !is_write_blocked => Poll::Ready(Served::TimedOut),
            Phase::Resting | Phase::Beginning if !is_write_blocked => Poll::Ready(Served::Silent),
            _ => {
                self.wait_on();
                Poll::Pending
            }
        }
    }

    /// Hyper is let go of soon.
    fn doze(&self) {
        self.deadline.set(DOZE_AFTER, self.last.get());
    }

    /// All the time that is left.
    fn wait_on(&self) {
        self.deadline.set(self.idle_timeout, self.last.get());
    }

    /// Whether to wait no longer for what a client begins.
    fn gives_up(&self, context: &Context<'_>) -> bool {
        self.deadline.is_draining(context) || self.deadline.is_over(context)
    }
}

/// Serves a connection to its end.
pub(crate) async fn serve(stream: TcpStream, peer: Peer, worker: Rc<Worker>, deadline: Deadline) {
    _ = stream.set_nodelay(true);
    let gateway = &worker.config.gateway;
    let state = Rc::new(State {
        phase: Cell::new(Phase::Resting),
        deadline,
        idle_timeout: gateway.idle_timeout,
        header_timeout: gateway.header_timeout,
        last: Cell::new(NEVER),
        signals: Rc::default(),
        is_draining: Cell::new(false),
        peer,
    });
    let stream = match &worker.tls {
        Some(tls) => match handshake(tls, stream, &state).await {
            Ok(stream) => stream,
            Err(error) => return worker.metrics.connection_broken(&error),
        },
        None => Socket::Plain(stream),
    };
    let mut stream = ClientStream::new(stream, gateway.body_timeout, Rc::clone(&state.signals));
    state.rest(Phase::Resting);
    state.wait_on();
    worker.metrics.connection_asleep();
    let speaks_http2 = speaks_http2(&mut stream, &state).await;
    worker.metrics.connection_awake();
    match speaks_http2 {
        Some(true) => {
            let serving = http2::serve(stream, state.peer, worker, &state.deadline);
            return Box::pin(serving).await;
        }
        Some(false) => state.doze(),
        None => return,
    }
    loop {
        stream = match awake(stream, &worker, &state).await {
            Some(silent) => silent,
            None => return,
        };
        state.wait_on();
        worker.metrics.connection_asleep();
        let goes_on = asleep(&stream, &state).await;
        worker.metrics.connection_awake();
        if !goes_on {
            return;
        }
    }
}

/// The TLS handshake, in the time of a header.
async fn handshake(tls: &TlsAcceptor, stream: TcpStream, state: &State) -> io::Result<Socket> {
    state.begin();
    state.wait_on();
    let mut accepting = Box::pin(tls.accept(stream)); // of no use later
    let accepted = poll_fn(|context| match accepting.as_mut().poll(context) {
        Poll::Pending if state.gives_up(context) => {
            Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
        }
        accepted => accepted,
    });
    Ok(Socket::Tls(Box::new(accepted.await?)))
}

/// Whether the client speaks HTTP/2, as was agreed on or as its first bytes tell, which are put back; none if
/// it has left or says nothing.
async fn speaks_http2(stream: &mut ClientStream, state: &State) -> Option<bool> {
    if let Some(agreed) = stream.is_http2() {
        return Some(agreed);
    }
    let (mut first, mut read) = ([0; http2::PREFACE.len()], 0);
    let is_http2 = poll_fn(|context| {
        while read < first.len() && first[..read] == http2::PREFACE[..read] {
            let mut buffer = ReadBuf::new(&mut first[read..]);
            match Pin::new(&mut *stream).poll_read(context, &mut buffer) {
                Poll::Ready(Ok(())) if buffer.filled().is_empty() => break,
                Poll::Ready(Ok(())) => read += buffer.filled().len(),
                Poll::Ready(Err(_)) => return Poll::Ready(None),
                Poll::Pending if state.gives_up(context) => return Poll::Ready(None),
                Poll::Pending => {
                    if state.phase.get() == Phase::Resting && read > 0 {
                        state.begin();
                        state.wait_on();
                        continue; // the task is to be woken by the new deadline
                    }
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready((read > 0).then(|| first == *http2::PREFACE))
    });
    let is_http2 = is_http2.await;
    stream.put_back(&first[..read]);
    is_http2
}

/// Serves it until it ends, or its client is silent.
async fn awake(
    stream: ClientStream,
    worker: &Rc<Worker>,
    state: &Rc<State>,
) -> Option<ClientStream> {
    let service = service_fn(|request| {
        let (worker, state) = (Rc::clone(worker), Rc::clone(state));
        async move {
            state.work();
            let answer = worker.handle(request, state.peer, &state.deadline).await;
            state.rest(match answer.is_last {
                true => Phase::Ending,
                false => Phase::Resting,
            });
            state.signals.pending_answer.set(answer.held);
            Ok::<_, Infallible>(answer.response.map(Full::new))
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
async fn asleep(stream: &ClientStream, state: &State) -> bool {
    poll_fn(|context| match state.gives_up(context) {
        true => Poll::Ready(false),
        false => stream.poll_more(context).map(|()| true),
    })
    .await
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Bytes of the future of an async function of four.
    pub(crate) fn size<A, B, C, D, F: Future>(_: impl Fn(A, B, C, D) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_connection_has_no_room_for_what_it_needs_only_while_it_is_awake() {
        let bytes = size(serve);
        assert!(bytes < 512, "{bytes} bytes");
    }
}
