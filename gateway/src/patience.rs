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
    net::TcpStream,
    time::Sleep,
};

/// A client's connection.
pub(crate) struct Patient {
    stream: TcpStream,
    patience: Duration,
    /// Runs while nothing can be written.
    stuck: Option<Pin<Box<Sleep>>>,
    /// Whether it runs, for whoever has not got this any more.
    is_stuck: Rc<Cell<bool>>,
    /// Was read before, and is to be read again.
    begun: Bytes,
}

impl Patient {
    /// Gives `stream` up when a write makes no progress for `patience`; `is_stuck` tells that none is made.
    pub(crate) fn new(stream: TcpStream, patience: Duration, is_stuck: Rc<Cell<bool>>) -> Self {
        Self {
            stream,
            patience,
            stuck: None,
            is_stuck,
            begun: Bytes::new(),
        }
    }

    /// What was read is to be read again, before anything else. `begun` itself, which may be no bytes in a
    /// large buffer, is let go of.
    pub(crate) fn put_back(&mut self, begun: &[u8]) {
        self.begun = Bytes::copy_from_slice(begun);
    }

    /// Ready when there is something to read, or the end.
    pub(crate) fn poll_more(&self, context: &mut Context<'_>) -> Poll<()> {
        match self.begun.is_empty() {
            true => self.stream.poll_read_ready(context).map(|_| ()),
            false => Poll::Ready(()),
        }
    }

    fn watch<T>(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        self.is_stuck.set(written.is_pending());
        if written.is_ready() {
            self.stuck = None;
            return written;
        }
        let patience = self.patience;
        let stuck = self
            .stuck
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        match stuck.as_mut().poll(context) {
            Poll::Ready(()) => {
                let detail = "the client takes nothing of its answer";
                Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, detail)))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for Patient {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.begun.is_empty() {
            return Pin::new(&mut self.stream).poll_read(context, buffer);
        }
        let bytes = self.begun.len().min(buffer.remaining());
        buffer.put_slice(&self.begun.split_to(bytes));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Patient {
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
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
