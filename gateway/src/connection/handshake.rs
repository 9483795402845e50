//! How a connection begins: the TLS handshake, and which version of HTTP its client speaks.

use std::{future::poll_fn, io, pin::Pin, task::Poll};

use tokio::{
    io::{AsyncRead as _, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::TlsAcceptor;

use crate::connection::{http2, socket::Socket, state::State, write_timeout::ClientStream};

/// The TLS handshake, in the time of a header.
pub(super) async fn tls(tls: &TlsAcceptor, stream: TcpStream, state: &State) -> io::Result<Socket> {
    state.begin_header();
    let mut accepting = Box::pin(tls.accept(stream)); // of no use later
    let accepted = poll_fn(|context| match accepting.as_mut().poll(context) {
        Poll::Pending if state.is_timed_out(context) => {
            Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
        }
        accepted => accepted,
    });
    Ok(Socket::Tls(Box::new(accepted.await?)))
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
