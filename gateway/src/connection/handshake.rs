//! How a connection begins: the TLS handshake, and which version of HTTP its client speaks.

use std::{future::poll_fn, io, pin::Pin, rc::Rc, task::Poll};

use tokio::{
    io::{AsyncRead as _, AsyncWriteExt as _, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::TlsAcceptor;

use crate::{
    answer::respond::Answer,
    connection::{http2, socket::Socket, state::State, write_timeout::ClientStream},
    worker::Worker,
};

/// What who speaks plain HTTP to a port that speaks TLS is told.
const TLS_IS_SPOKEN: &str = "this port speaks TLS: send the request to https://";

/// The TLS handshake, in the time of a header. A client that speaks plain HTTP has its answer in words.
pub(super) async fn tls(
    tls: &TlsAcceptor,
    stream: TcpStream,
    worker: &Worker,
    state: &State,
) -> io::Result<Socket> {
    state.begin_header();
    if is_plain_http(&stream, state).await? {
        Box::pin(refuse_plain_http(stream, worker, state)).await?;
        return Err(io::Error::other("plain HTTP where TLS is spoken"));
    }
    let mut accepting = Box::pin(tls.accept(stream)); // of no use later
    let accepted = poll_fn(|context| match accepting.as_mut().poll(context) {
        Poll::Pending if state.is_timed_out(context) => {
            Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
        }
        accepted => accepted,
    });
    Ok(Socket::Tls(Box::new(accepted.await?)))
}

/// Whether the first byte is a letter, as of a method; that of a TLS record is 22.
async fn is_plain_http(stream: &TcpStream, state: &State) -> io::Result<bool> {
    let mut first = [0];
    let peeked =
        poll_fn(
            |context| match stream.poll_peek(context, &mut ReadBuf::new(&mut first)) {
                Poll::Pending if state.is_timed_out(context) => {
                    Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
                }
                peeked => peeked,
            },
        );
    Ok(peeked.await? == 1 && first[0].is_ascii_alphabetic())
}

async fn refuse_plain_http(stream: TcpStream, worker: &Worker, state: &State) -> io::Result<()> {
    let unanswered = worker.metrics.request();
    let body_timeout = worker.config.gateway.body_timeout;
    let signals = Rc::clone(&state.signals);
    let mut stream = ClientStream::new(Socket::Plain(stream), body_timeout, signals);
    let body = Answer::bad_request(TLS_IS_SPOKEN.into()).body();
    let head = format!(
        "HTTP/1.1 400 Bad Request\r\ncontent-type: application/problem+json\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(&[head.as_bytes(), &body].concat()).await?;
    unanswered.answered(None, 400);
    stream.shutdown().await
}

/// Whether the client speaks HTTP/2, as was agreed on or as its first bytes tell, which are put back; none if
/// it has left or says nothing.
pub(super) async fn speaks_http2(stream: &mut ClientStream, state: &State) -> Option<bool> {
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
                Poll::Pending if state.is_idle() && read > 0 => state.begin_header(),
                Poll::Pending if state.is_timed_out(context) => {
                    if !(state.is_idle() && stream.has_unread()) {
                        return Poll::Ready(None);
                    }
                    state.begin_header(); // it came at the last moment
                }
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready((read > 0).then(|| first == *http2::PREFACE))
    });
    let is_http2 = is_http2.await;
    stream.put_back(&first[..read]);
    is_http2
}
