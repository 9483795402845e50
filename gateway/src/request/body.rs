//! A request's body, whole, under a bound of bytes and a deadline for progress.

use std::{cell::Cell, future::poll_fn, net::IpAddr, pin::Pin, task::Poll, time::Duration};

use aguacero::config::Gateway;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::{
    Version,
    body::{Body as _, Incoming},
    header::{EXPECT, HeaderMap},
};

use crate::{
    answer::respond::Answer, connection::deadlines::Deadline, request::body_budget::BudgetShare,
};

/// Bytes that are reserved on the word of a Content-Length alone.
const RESERVE_MAX: usize = 256 << 10;

/// Bytes of a body that are read only to be thrown away.
const DISCARD_MAX: u64 = 64 << 10;

/// What a body may take.
pub(crate) struct Limits<'a> {
    /// The budget that it takes, from its second piece on until it is judged.
    share: BudgetShare<'a>,
    bytes_max: usize,
    /// Without any progress.
    silence_max: Duration,
    /// The connection's.
    deadline: &'a Deadline,
    /// For all of it.
    body_max: Duration,
    /// When the last byte must have come.
    last: u64,
    /// Bytes that have come.
    received: Cell<usize>,
    is_http2: bool,
    /// Trailers came behind the body.
    has_trailers: Cell<bool>,
}

impl<'a> Limits<'a> {
    /// Of a request that begins now: what comes after its body may take `ack_timeout`.
    pub(crate) fn of(
        gateway: &Gateway,
        share: BudgetShare<'a>,
        deadline: &'a Deadline,
        version: Version,
    ) -> Self {
        let body_max = gateway.request_timeout.saturating_sub(gateway.ack_timeout);
        Self {
            share,
            bytes_max: gateway.body_bytes_max,
            silence_max: gateway.body_timeout,
            deadline,
            body_max,
            last: deadline.after(body_max),
            received: Cell::new(0),
            is_http2: version == Version::HTTP_2,
            has_trailers: Cell::new(false),
        }
    }

    /// The answer to a request whose body was read. Trailers end the connection: hyper takes all up to an empty
    /// line with CRLF for them, and a proxy that lets a lone LF end a line may have seen another request there.
    pub(crate) fn last_if_trailed(&self, answer: Answer) -> Answer {
        match self.has_trailers.get() {
            true => answer.closing(),
            false => answer,
        }
    }

    /// Counts a whole body that waits, instead of what was counted of it before; 503 if that is too much.
    pub(crate) fn hold(&self, bytes: usize) -> Result<(), Box<Answer>> {
        self.share.give_back();
        self.hold_more(bytes)
    }

    fn hold_more(&self, bytes: usize) -> Result<(), Box<Answer>> {
        match self.share.take(bytes) {
            true => Ok(()),
            false => Err(Answer::too_many_bodies().into()),
        }
    }

    /// Whose body it is.
    pub(crate) fn client(&self) -> IpAddr {
        self.share.client()
    }

    /// The body is there no more.
    pub(crate) fn let_go(&self) {
        self.share.give_back();
    }
}

/// Reads `body` to its end. A body that came in one piece is not copied.
pub(crate) async fn read(mut body: Incoming, limits: &Limits<'_>) -> Result<Bytes, Box<Answer>> {
    let Some(first) = next(&mut body, limits).await? else {
        return Ok(Bytes::new());
    };
    if body.is_end_stream() {
        return bounded(first, limits);
    }
    let Some(second) = next(&mut body, limits).await? else {
        return bounded(first, limits);
    };
    let expected = usize::try_from(body.size_hint().lower())
        .unwrap_or(0)
        .min(RESERVE_MAX);
    let bytes = first.len() + second.len();
    // One that is there already need not wait, and takes no budget for long.
    if !limits.share.take(bytes) && !body.is_end_stream() {
        linger(body, limits);
        return Err(Answer::too_many_bodies().into());
    }
    let mut all = BytesMut::with_capacity(bytes + expected);
    all.extend_from_slice(&first);
    all.extend_from_slice(&second);
    while let Some(more) = next(&mut body, limits).await? {
        if all.len() + more.len() > limits.bytes_max {
            linger(body, limits);
            return Err(Answer::body_too_large(limits.bytes_max).into());
        }
        if let Err(answer) = limits.hold_more(more.len()) {
            linger(body, limits);
            return Err(answer);
        }
        all.extend_from_slice(&more);
    }
    bounded(all.freeze(), limits)
}

/// Answers a request whose header is refused already. A small body is read, so that the connection
/// can go on; for a larger one, or one that waits to be asked for, the connection ends.
pub(crate) async fn discard(
    headers: &HeaderMap,
    body: Incoming,
    limits: &Limits<'_>,
    answer: Answer,
) -> Answer {
    let small = body
        .size_hint()
        .upper()
        .is_some_and(|bytes| bytes <= DISCARD_MAX);
    let waits = headers.contains_key(EXPECT);
    if small && !waits {
        return match read(body, limits).await {
            Ok(_) => answer,
            Err(_) => answer.cut_off(),
        };
    }
    if !waits {
        linger(body, limits);
    }
    answer.closing()
}

/// Goes on reading what a client still sends while the answer that ends the connection leaves: if the
/// connection were closed on unread bytes, the system would reset it, and the answer could be lost.
fn linger(mut body: Incoming, limits: &Limits<'_>) {
    let reading = async move { while let Some(Ok(_)) = body.frame().await {} };
    tokio::task::spawn_local(tokio::time::timeout(limits.silence_max, reading));
}

fn bounded(body: Bytes, limits: &Limits<'_>) -> Result<Bytes, Box<Answer>> {
    if body.len() > limits.bytes_max {
        return Err(Answer::body_too_large(limits.bytes_max).into());
    }
    Ok(body)
}

/// The next piece of data, or none at the end.
async fn next(body: &mut Incoming, limits: &Limits<'_>) -> Result<Option<Bytes>, Box<Answer>> {
    limits.deadline.set(limits.silence_max, limits.last);
    let silent_from = limits.deadline.after(limits.silence_max / 2);
    let next = poll_fn(|context| {
        loop {
            match Pin::new(&mut *body).poll_frame(context) {
                // hyper takes a stream that is reset without an error for one that has ended.
                Poll::Ready(None) if limits.is_http2 && !body.is_end_stream() => {
                    return Poll::Ready(Err(Answer::body_broken("the stream was reset").into()));
                }
                Poll::Ready(None) => return Poll::Ready(Ok(None)),
                Poll::Ready(Some(Err(error))) => {
                    return Poll::Ready(Err(Answer::body_broken(&error).into()));
                }
                Poll::Ready(Some(Ok(frame))) => {
                    match frame.into_data() {
                        Ok(data) => {
                            limits.received.set(limits.received.get() + data.len());
                            return Poll::Ready(Ok(Some(data)));
                        }
                        Err(_) => limits.has_trailers.set(true), // which mean nothing here
                    }
                }
                Poll::Pending if limits.deadline.is_over(context) => {
                    let answer = match limits.deadline.has_come(silent_from) {
                        true => Answer::body_stalled(),
                        false => Answer::body_too_slow(limits.received.get(), limits.body_max),
                    };
                    return Poll::Ready(Err(answer.into()));
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    });
    let next = next.await;
    limits.deadline.clear();
    next
}
