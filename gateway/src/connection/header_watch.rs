//! Whether part of a header has come over a connection of HTTP/2.
//!
//! h2 tells of a header when it is whole, and has no deadline for one that is not. A client may send half a frame, or
//! frames without the last one (RFC 9113, section 6.10), and nothing else may come on its connection until it is.

use std::{
    cell::Cell,
    io::{self, IoSlice},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::connection::{http2::PREFACE, write_timeout::ClientStream};

/// Bytes before each frame's payload.
const FRAME_HEADER: usize = 9;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

/// A connection of HTTP/2, looked at as it is read.
pub(crate) struct HeaderWatch {
    stream: ClientStream,
    frames: Frames,
    is_in_header: Rc<Cell<bool>>,
}

/// Where in the client's frames what was read ends.
struct Frames {
    /// Bytes of the preface or of a payload that are still to come.
    left: usize,
    /// Of the header of the next frame.
    head: [u8; FRAME_HEADER],
    has: usize,
    /// The payload is part of a request's header.
    is_header: bool,
    /// The request's header goes on behind it.
    is_open: bool,
}

impl HeaderWatch {
    /// `is_in_header` is kept true while part of a header has come.
    pub(crate) fn new(stream: ClientStream, is_in_header: Rc<Cell<bool>>) -> Self {
        Self {
            stream,
            frames: Frames::new(),
            is_in_header,
        }
    }
}

impl Frames {
    fn new() -> Self {
        Self {
            left: PREFACE.len(),
            head: [0; FRAME_HEADER],
            has: 0,
            is_header: false,
            is_open: false,
        }
    }

    fn read(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let of_payload = self.left.min(bytes.len());
            self.left -= of_payload;
            bytes = &bytes[of_payload..];
            let of_head = (FRAME_HEADER - self.has).min(bytes.len());
            self.head[self.has..][..of_head].copy_from_slice(&bytes[..of_head]);
            self.has += of_head;
            bytes = &bytes[of_head..];
            if self.has == FRAME_HEADER {
                let [a, b, c, kind, flags, ..] = self.head;
                self.has = 0;
                self.left = u32::from_be_bytes([0, a, b, c]) as usize;
                self.is_header = matches!(kind, HEADERS | CONTINUATION);
                if self.is_header {
                    self.is_open = flags & END_HEADERS == 0;
                }
            }
        }
    }

    fn is_in_header(&self) -> bool {
        self.is_open || (self.is_header && self.left > 0)
    }
}

impl AsyncRead for HeaderWatch {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(context, buffer);
        this.frames.read(&buffer.filled()[before..]);
        this.is_in_header.set(this.frames.is_in_header());
        read
    }
}

impl AsyncWrite for HeaderWatch {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, pieces)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![0, 0, payload.len() as u8, kind, flags, 0, 0, 0, 1];
        frame.extend(payload);
        frame
    }

    /// However the bytes are cut, each prefix tells whether it ends within a header.
    #[test]
    fn part_of_a_header_is_known_however_it_comes() {
        let data = frame(0, 1, &[HEADERS; 40]);
        let whole = frame(HEADERS, END_HEADERS, b"abc");
        let begun = frame(HEADERS, 0, b"");
        let goes_on = frame(CONTINUATION, 0, b"ab");
        let ends = frame(CONTINUATION, END_HEADERS, b"");
        let pieces = [
            (PREFACE.to_vec(), false, false),
            (frame(4, 0, &[0; 6]), false, false),
            (whole, true, false),
            (data, false, false),
            (begun, false, true),
            (goes_on, true, true),
            (ends, true, false),
        ];
        for step in [1, 2, 9, 1_000] {
            let mut frames = Frames::new();
            for (number, (piece, within, behind)) in pieces.iter().enumerate() {
                let (last, first) = piece.split_last().expect("no piece is empty");
                for chunk in first.chunks(step) {
                    frames.read(chunk);
                }
                let payload = piece.len() > FRAME_HEADER;
                if payload || *behind {
                    assert_eq!(frames.is_in_header(), *within, "in piece {number}");
                }
                frames.read(&[*last]);
                assert_eq!(frames.is_in_header(), *behind, "behind piece {number}");
            }
        }
    }
}
