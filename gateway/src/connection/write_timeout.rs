//! A connection that is given up when its client takes nothing of an answer for too long.
//!
//! hyper has deadlines for reading and none for writing: clients that send and never read would keep
//! their connections, and the answers that wait in them, for ever.

use std::{
    cell::Cell,
    io::{self, IoSlice},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Sleep,
};

use crate::{
    answer::pending::PendingBytes,
    connection::{request_target::RequestTarget, socket::Socket},
};

/// How long a client may take to close a connection that we have closed.
const LINGER: Duration = Duration::from_secs(1);

/// A client's connection.
pub(crate) struct ClientStream {
    stream: Socket,
    write_timeout: Duration,
    /// Runs while nothing can be written.
    blocked: Option<Pin<Box<Sleep>>>,
    signals: Rc<Signals>,
    /// Was read before, and is to be read again.
    begun: Bytes,
    /// The client has sent its last byte.
    has_ended: bool,
    /// Runs once the connection is being closed.
    closing: Option<Pin<Box<Sleep>>>,
    /// Our last byte is sent.
    is_shut: bool,
}

/// What happens on a connection, for whoever has handed it to hyper.
#[derive(Default)]
pub(crate) struct Signals {
    /// The client does not take what is left of an answer.
    pub(crate) is_write_blocked: Cell<bool>,
    /// Something was read.
    pub(crate) has_heard: Cell<bool>,
    /// Of the request that is being read.
    pub(crate) target: Cell<RequestTarget>,
    /// What the answer holds that is being written.
    pub(crate) pending_answer: Cell<Option<PendingBytes>>,
}

impl Signals {
    fn hear(&self, bytes: &[u8]) {
        self.has_heard.set(true);
        self.target.set(self.target.get().after(bytes));
    }
}

impl ClientStream {
    /// Gives `stream` up when a write makes no progress for `write_timeout`.
    pub(crate) fn new(stream: Socket, write_timeout: Duration, signals: Rc<Signals>) -> Self {
        Self {
            stream,
            write_timeout,
            blocked: None,
            signals,
            begun: Bytes::new(),
            has_ended: false,
            closing: None,
            is_shut: false,
        }
    }

    /// Whether HTTP/2 was agreed on; none if nothing was.
    pub(crate) fn is_http2(&self) -> Option<bool> {
        self.stream.is_http2()
    }

    /// What was read is to be read again, before anything else. `begun` itself, which may be no bytes in a
    /// large buffer, is let go of.
    pub(crate) fn put_back(&mut self, begun: &[u8]) {
        self.begun = Bytes::copy_from_slice(begun);
        self.signals.target.take();
    }

    /// Ready when there is something to read, or the end.
    pub(crate) fn poll_more(&self, context: &mut Context<'_>) -> Poll<()> {
        match self.begun.is_empty() {
            true => self.stream.poll_read_ready(context).map(|_| ()),
            false => Poll::Ready(()),
        }
    }

    /// Whether something has come that nobody has read yet. Unlike [`Self::poll_more`] it asks the system.
    pub(crate) fn has_unread(&self) -> bool {
        !self.begun.is_empty() || self.stream.has_unread()
    }

    fn watch<T>(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        self.signals.is_write_blocked.set(written.is_pending());
        if written.is_ready() {
            self.blocked = None;
            return written;
        }
        let write_timeout = self.write_timeout;
        let blocked = self
            .blocked
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(write_timeout)));
        match blocked.as_mut().poll(context) {
            Poll::Ready(()) => {
                let detail = "the client takes nothing of its answer";
                Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, detail)))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.begun.is_empty() {
            let before = buffer.filled().len();
            let read = Pin::new(&mut self.stream).poll_read(context, buffer);
            if buffer.filled().len() > before {
                self.signals.hear(&buffer.filled()[before..]);
            } else if let Poll::Ready(Ok(())) = read {
                self.has_ended = true;
            }
            return read;
        }
        let bytes = self.begun.len().min(buffer.remaining());
        let again = self.begun.split_to(bytes);
        self.signals.hear(&again);
        buffer.put_slice(&again);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.watch(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, pieces);
        self.watch(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        if flushed.is_ready() {
            self.signals.pending_answer.take();
        }
        self.watch(context, flushed) // TLS takes more than the socket does
    }

    /// Sends our last byte, then waits for the client's: what it has sent before it knew would otherwise make the
    /// system reset the connection, and the answer before could be lost.
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let closing = this
            .closing
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(LINGER)));
        let is_late = closing.as_mut().poll(context).is_ready();
        if !this.is_shut {
            match Pin::new(&mut this.stream).poll_shutdown(context) {
                Poll::Ready(Ok(())) => this.is_shut = true,
                Poll::Pending if is_late => return Poll::Ready(Ok(())),
                pending_or_error => return pending_or_error,
            }
        }
        match this.has_ended || is_late || this.stream.poll_discard(context).is_ready() {
            true => Poll::Ready(Ok(())),
            false => Poll::Pending,
        }
    }
}
