//! A connection that speaks HTTP/2: by prior knowledge (RFC 9113, section 3.3), or as was agreed on in the TLS
//! handshake.
//!
//! What a client may do to a server here and not in HTTP/1.1, and what bounds it: streams at the same time
//! and bytes that wait in windows are few ([`STREAMS_MAX`], [`WINDOW`]); a stream takes a place of its client's
//! address, as a connection does, until its answer has left; it is given up as a request is
//! in HTTP/1.1, and a moment later also if its answer cannot leave; who opens streams only to reset them is
//! left ([`CANCELLED_MAX`]); part of a header has the time of a header ([`HeaderWatch`]). Floods of frames without a
//! request (CONTINUATION, SETTINGS, empty DATA) are bounded by h2, and in the end by the silence that they are.

use std::{
    cell::Cell,
    convert::Infallible,
    future::poll_fn,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use h2::Reason;
use hyper::{
    body::{Body, Frame, SizeHint},
    rt::Executor,
    server::conn::http2,
    service::service_fn,
};
use hyper_util::rt::TokioIo;

use crate::{
    answer::pending::PendingBytes,
    connection::{
        addresses::Peer,
        deadlines::{Deadline, NEVER},
        header_watch::HeaderWatch,
        write_timeout::ClientStream,
    },
    on_drop::OnDrop,
    worker::{StreamPlace, Worker},
};

/// The first bytes of a client that knows (RFC 9113, section 3.4).
pub(crate) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Requests of a connection at the same time: as few as RFC 9113, section 6.5.2, recommends.
const STREAMS_MAX: u32 = 100;
/// Bytes that a client may send ahead, on one stream and on all of a connection.
const WINDOW: u32 = 1 << 20;
/// Bytes of answers that wait in h2 for one stream. What it has taken it keeps until it is sent or the stream
/// ends, so it is given no more than this at a time.
const PIECE: usize = 2 << 10;
/// Bytes of a header's fields beyond the configured bound, so that the 431 is ours and says why; h2 counts
/// 32 for each.
const HEADER_SLACK: u32 = 8 << 10;
/// Requests that a client may take back, beyond as many as it lets finish.
const CANCELLED_MAX: usize = 100;

/// What a connection's task and those of its streams both have to know.
#[derive(Default)]
struct State {
    /// Streams whose answer is not yet on its way.
    active: Cell<usize>,
    /// Requests that came whole and were answered.
    answered: Cell<usize>,
    /// Requests that the client took back, or broke off.
    cancelled: Cell<usize>,
}

impl State {
    fn is_abused(&self) -> bool {
        self.cancelled.get() > self.answered.get() + CANCELLED_MAX
    }
}

/// Runs the streams of a connection, each for so long at most.
#[derive(Clone)]
struct Streams {
    state: Rc<State>,
    write_timeout: Duration,
}

impl<F: Future + 'static> Executor<F> for Streams {
    fn execute(&self, stream: F) {
        let (state, write_timeout) = (Rc::clone(&self.state), self.write_timeout);
        state.active.set(state.active.get() + 1);
        tokio::task::spawn_local(async move {
            let _ended = OnDrop(|| state.active.set(state.active.get() - 1));
            _ = tokio::time::timeout(write_timeout, stream).await; // dropped, it is reset
        });
    }
}

/// A request that is not answered yet. Dropped before it is, it counts as cancelled.
struct Request<'a>(&'a State);

impl Request<'_> {
    fn answered(self) {
        self.0.answered.set(self.0.answered.get() + 1);
        self.uncounted();
    }

    /// Neither answered nor cancelled: there was no place for it.
    fn uncounted(self) {
        std::mem::forget(self);
    }
}

impl Drop for Request<'_> {
    fn drop(&mut self) {
        self.0.cancelled.set(self.0.cancelled.get() + 1);
    }
}

/// Serves a connection to its end.
pub(crate) async fn serve(
    stream: ClientStream,
    peer: Peer,
    worker: Rc<Worker>,
    deadline: &Deadline,
) {
    let gateway = &worker.config.gateway;
    let (idle, write_timeout) = (gateway.idle_timeout, gateway.body_timeout);
    let header_timeout = gateway.header_timeout;
    let is_in_header = Rc::new(Cell::new(false));
    let stream = HeaderWatch::new(stream, Rc::clone(&is_in_header));
    let state = Rc::new(State::default());
    let service = service_fn(|request| {
        let (worker, state, deadline) = (Rc::clone(&worker), Rc::clone(&state), deadline.another());
        // Boxed, so that a stream whose answer cannot leave holds no more than that.
        Box::pin(async move {
            let unanswered = Request(&state);
            let Some(place) = worker.stream_place(peer) else {
                worker.metrics.stream_refused();
                unanswered.uncounted();
                return Err(h2::Error::from(Reason::REFUSED_STREAM)); // the client may send it again
            };
            let answer = worker.handle(request, peer, &deadline).await;
            if !answer.is_cut_off {
                unanswered.answered();
            }
            Ok(answer.response.map(|bytes| Pieces {
                bytes,
                _held: answer.held,
                _place: place,
            }))
        })
    });
    let streams = Streams {
        state: Rc::clone(&state),
        write_timeout: gateway.request_timeout + write_timeout,
    };
    let header_bytes_max = u32::try_from(gateway.header_bytes_max).unwrap_or(u32::MAX);
    let serving = http2::Builder::new(streams)
        .max_concurrent_streams(STREAMS_MAX)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .max_send_buf_size(PIECE)
        .max_header_list_size(header_bytes_max.saturating_add(HEADER_SLACK))
        .serve_connection(TokioIo::new(stream), service);
    let mut serving = Box::pin(serving); // other connections have no room for it
    let is_client = matches!(peer, Peer::Client(_));
    let (mut is_resting, mut is_leaving, mut is_draining) = (false, false, false);
    // While part of a header has come: when the rest must have.
    let mut header_end = NEVER;
    let served = poll_fn(|context| {
        if deadline.is_draining() && !is_draining {
            is_draining = true;
            serving.as_mut().graceful_shutdown();
            (is_leaving, is_resting) = (true, false);
        }
        loop {
            if let Poll::Ready(served) = serving.as_mut().poll(context) {
                return Poll::Ready(Some(served));
            }
            // A proxy's clients take back what they like.
            if is_client && state.is_abused() {
                return Poll::Ready(None);
            }
            if is_in_header.get() != (header_end != NEVER) {
                is_resting = false;
                header_end = match is_in_header.get() {
                    true => deadline.after(header_timeout),
                    false => NEVER,
                };
            }
            if state.active.get() > 0 {
                is_resting = false;
                deadline.clear();
            } else if !is_resting {
                is_resting = true;
                let rest = if is_leaving { write_timeout } else { idle };
                deadline.set(rest, header_end);
            }
            match deadline.is_over(context) {
                false => return Poll::Pending,
                true if is_leaving || deadline.has_come(header_end) => return Poll::Ready(None),
                true => {}
            }
            serving.as_mut().graceful_shutdown();
            (is_leaving, is_resting) = (true, false);
        }
    });
    if let Some(Err(error)) = served.await {
        worker.metrics.connection_broken(&error);
    }
}

/// An answer's body, given out piece by piece.
struct Pieces {
    bytes: Bytes,
    _held: Option<PendingBytes>,
    /// Until the answer has left.
    _place: StreamPlace,
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.bytes.is_empty() {
            return Poll::Ready(None);
        }
        let bytes = self.bytes.len().min(PIECE);
        Poll::Ready(Some(Ok(Frame::data(self.bytes.split_to(bytes)))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.len() as u64)
    }
}
