//! The Unix socket under the gRPC stream.

use std::{
    io::{self, IoSlice, Write as _},
    net::Shutdown,
    os::unix::net::UnixStream,
    pin::Pin,
    task::{Context, Poll, ready},
};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf, unix::AsyncFd};
use tonic::transport::server::Connected;

/// A Unix socket that asks to be woken for writing only while it is full.
///
/// The kernel wakes whoever waits for room on a Unix socket each time the other end has read
/// (`unix_write_space`), full or not. Tokio's own `UnixStream` always waits for both, so that each
/// frame and each receipt would cost its sender a useless change of threads just when its answer is
/// being made.
pub struct PodStream {
    socket: AsyncFd<UnixStream>,
    /// The same socket, waited for while it is full.
    full: Option<AsyncFd<UnixStream>>,
}

impl PodStream {
    /// Takes over a connected socket. Call it inside a runtime.
    pub fn new(socket: tokio::net::UnixStream) -> io::Result<Self> {
        let socket = socket.into_std()?; // not blocking, as it was
        Ok(Self {
            socket: wait_for(socket, Interest::READABLE)?,
            full: None,
        })
    }

    /// Writes now, or as soon as there is room.
    fn poll_write_with(
        &mut self,
        context: &mut Context<'_>,
        mut write: impl FnMut(&UnixStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            if let Some(full) = &self.full {
                ready!(full.poll_write_ready(context))?.clear_ready();
            }
            match write(self.socket.get_ref()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if self.full.is_none() {
                        let socket = self.socket.get_ref().try_clone()?;
                        self.full = Some(wait_for(socket, Interest::WRITABLE)?);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => {
                    self.full = None;
                    return Poll::Ready(result);
                }
            }
        }
    }
}

#[allow(unsafe_code)]
fn wait_for(socket: UnixStream, interest: Interest) -> io::Result<AsyncFd<UnixStream>> {
    // SAFETY: a `UnixStream` has the same descriptor, open, from here until it is dropped.
    unsafe { AsyncFd::register_with_interest(socket, interest) }.map_err(io::Error::from)
}

#[allow(unsafe_code)]
impl AsyncRead for PodStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let mut ready = ready!(self.socket.poll_read_ready(context))?;
            // SAFETY: nothing is uninitialised by `recv`, which only writes.
            let into = unsafe { buffer.unfilled_mut() };
            let asked = into.len();
            match ready.try_io(|socket| SockRef::from(socket).recv(into)) {
                Ok(Ok(read)) => {
                    if 0 < read && read < asked {
                        ready.clear_ready(); // it is empty: the next bytes will be announced
                    }
                    // SAFETY: the kernel has written that many bytes there. (HTTP/2 asks for much more
                    // room than it gets bytes: to initialise it first took a fifth of the gateway's
                    // instructions for a lone event.)
                    unsafe { buffer.assume_init(read) };
                    buffer.advance(read);
                    return Poll::Ready(Ok(()));
                }
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(Err(error)) => return Poll::Ready(Err(error)),
                Err(_would_block) => {}
            }
        }
    }
}

impl AsyncWrite for PodStream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.get_mut()
            .poll_write_with(context, |mut socket| socket.write(bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut()
            .poll_write_with(context, |mut socket| socket.write_vectored(pieces))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.socket.get_ref().shutdown(Shutdown::Write))
    }
}

impl Connected for PodStream {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    #[tokio::test]
    async fn what_does_not_fit_at_once_arrives_whole_and_in_order() {
        let (one, other) = tokio::net::UnixStream::pair().unwrap();
        let (mut one, mut other) = (PodStream::new(one).unwrap(), PodStream::new(other).unwrap());
        let sent: Vec<u8> = (0..4_000_000_u32).map(|i| (i % 251) as u8).collect();
        let sending = async {
            one.write_all(&sent).await.unwrap();
            assert!(one.full.is_none(), "not waited for once there is room");
            one.shutdown().await.unwrap();
        };
        let mut received = Vec::new();
        let (_, read) = tokio::join!(sending, other.read_to_end(&mut received));
        assert_eq!(read.unwrap(), sent.len());
        assert!(received == sent);
    }

    #[tokio::test]
    async fn a_reader_that_waits_is_woken_and_an_end_is_seen() {
        let (one, other) = tokio::net::UnixStream::pair().unwrap();
        let (mut one, mut other) = (PodStream::new(one).unwrap(), PodStream::new(other).unwrap());
        let mut buffer = [0; 64];
        for word in ["first", "second", "third"] {
            let (read, written) =
                tokio::join!(other.read(&mut buffer), one.write_all(word.as_bytes()));
            written.unwrap();
            assert_eq!(&buffer[..read.unwrap()], word.as_bytes());
        }
        drop(one);
        assert_eq!(other.read(&mut buffer).await.unwrap(), 0);
        assert!(other.write_all(b"nobody").await.is_err());
    }
}
