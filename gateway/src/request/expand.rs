//! A body without its `Content-Encoding`, under a bound of bytes and of growth.
//!
//! A worker expands one body at a time, so it never holds more than one that is half done and one window of
//! a coding; and step by step, so requests that are not packed do not wait for it.

use std::{
    cell::Cell,
    io::{self, BufRead, Read},
};

use aguacero::config::Gateway;
use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
use bytes::Bytes;
use hyper::header::HeaderValue;

use crate::{
    answer::respond::Answer,
    request::{body::Limits, turns::Turns, unpackable},
};

/// What `Accept-Encoding` says of requests.
pub(crate) const CODINGS: &str = "gzip, deflate, zstd, br";

/// A small body may grow to this, whatever the ratio: a few repeated bytes pack better than any real text.
const GROWTH_FLOOR: usize = 64 << 10;

/// Bytes of a body that are expanded before others have their turn: some 0.2 ms.
const STEP: usize = 64 << 10;

/// Packed bytes that are read before others have their turn, whatever comes of them: tables of codes that hardly
/// anything is packed with take a thousand times as long as text.
const PACKED_STEP: usize = 8 << 10;

/// Bytes by which a packed body may be longer than what it is expanded to: an encoder that cannot pack adds a few
/// for each 64 KiB.
const WASTE_MAX: usize = 64 << 10;

/// Log2 of the largest window of zstd that is taken: 8 MiB, as every decoder has to (RFC 8878, section 3.1.1.1.2).
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// How a body is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coding {
    /// Not at all.
    Identity,
    /// RFC 1952; any number of members.
    Gzip,
    /// RFC 1950: zlib's format, as RFC 9110 has it.
    Deflate,
    /// RFC 8878; any number of frames.
    Zstd,
    /// RFC 7932.
    Brotli,
}

impl Coding {
    /// What the fields `Content-Encoding` name, if that is one coding and known. Empty members of the list are ignored
    /// (RFC 9110, section 5.6.1.2).
    pub(crate) fn of(fields: &[&HeaderValue]) -> Result<Self, Box<Answer>> {
        let members = fields
            .iter()
            .flat_map(|field| field.as_bytes().split(|b| *b == b','));
        let mut names = members
            .map(<[u8]>::trim_ascii)
            .filter(|name| !name.is_empty());
        let name = match (names.next(), names.next()) {
            (None, _) => return Ok(Self::Identity),
            (Some(one), None) => one,
            (Some(_), Some(_)) => b"more than one",
        };
        let known: [(&[u8], Self); 6] = [
            (b"gzip", Self::Gzip),
            (b"x-gzip", Self::Gzip),
            (b"identity", Self::Identity),
            (b"deflate", Self::Deflate),
            (b"zstd", Self::Zstd),
            (b"br", Self::Brotli),
        ];
        let found = known
            .into_iter()
            .find(|(known, _)| name.eq_ignore_ascii_case(known));
        match found {
            Some((_, coding)) => Ok(coding),
            None => Err(Answer::unknown_coding(&String::from_utf8_lossy(name)).into()),
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
            Self::Zstd => "zstd",
            Self::Brotli => "br",
        }
    }
}

/// Expands the bodies of a worker, one after another.
#[derive(Default)]
pub(crate) struct Expander {
    turns: Turns,
}

impl Expander {
    /// The body as it was before it was packed; 503 if its turn does not come within the time that a body may
    /// make no progress.
    pub(crate) async fn expand(
        &self,
        coding: Coding,
        packed: Bytes,
        gateway: &Gateway,
        limits: &Limits<'_>,
    ) -> Result<Bytes, Box<Answer>> {
        if coding == Coding::Identity {
            return Ok(packed);
        }
        limits.hold(packed.len())?;
        let turn = self.turns.take(limits.client(), gateway.body_timeout).await;
        let Some(_turn) = turn else {
            return Err(Answer::no_turn().into());
        };
        let by_growth = GROWTH_FLOOR.max(packed.len().saturating_mul(gateway.expansion_max));
        let max = by_growth.min(gateway.body_bytes_max);
        // Boxed: what is not packed has no room for it.
        match Box::pin(read(coding, &packed, max)).await {
            Ok(body) if body.len() <= max => {
                limits.hold(body.len())?;
                Ok(body.into())
            }
            Ok(_) if max == gateway.body_bytes_max => Err(Answer::expanded_too_large(max).into()),
            Ok(_) => Err(Answer::expands_too_much(gateway.expansion_max).into()),
            Err(error) => {
                let why = unpackable::why(coding, &packed, &error);
                Err(Answer::badly_packed(coding.name(), &why).into())
            }
        }
    }
}

/// At most one byte more than `max`.
async fn read(coding: Coding, packed: &[u8], max: usize) -> io::Result<Vec<u8>> {
    let pace = Pace::new(packed);
    let paced = pace.reader();
    match coding {
        Coding::Identity => up_to(paced, &pace, max).await,
        Coding::Gzip => up_to(flate2::bufread::MultiGzDecoder::new(paced), &pace, max).await,
        Coding::Deflate => up_to(flate2::bufread::ZlibDecoder::new(paced), &pace, max).await,
        Coding::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(paced)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
            up_to(decoder, &pace, max).await
        }
        Coding::Brotli => unbrotli(&pace, max).await,
    }
}

/// A packed body, how much of it is read, and how much may be before others have their turn.
struct Pace<'a> {
    packed: &'a [u8],
    read: Cell<usize>,
    until: Cell<usize>,
}

/// What is allowed of it.
struct Paced<'p, 'a>(&'p Pace<'a>);

impl<'a> Pace<'a> {
    fn new(packed: &'a [u8]) -> Self {
        Self {
            packed,
            read: Cell::new(0),
            until: Cell::new(PACKED_STEP),
        }
    }

    fn reader(&self) -> Paced<'_, 'a> {
        Paced(self)
    }

    fn left(&self) -> usize {
        self.packed.len() - self.read.get()
    }

    /// Lets the others have their turn, and allows one more step; an error if what was read has made so little.
    async fn turn(&self, expanded: usize) -> io::Result<()> {
        if self.read.get() > expanded + WASTE_MAX {
            let detail = "it is longer than what it holds";
            return Err(io::Error::new(io::ErrorKind::InvalidData, detail));
        }
        tokio::task::yield_now().await;
        self.until.set(self.read.get() + PACKED_STEP);
        Ok(())
    }

    /// An error if anything is left at the end.
    fn ended(&self) -> io::Result<()> {
        match self.left() {
            0 => Ok(()),
            bytes => {
                let detail = format!("{bytes} bytes follow its end");
                Err(io::Error::new(io::ErrorKind::InvalidData, detail))
            }
        }
    }
}

impl BufRead for Paced<'_, '_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let Pace {
            packed,
            read,
            until,
        } = self.0;
        let until = until.get().min(packed.len());
        match &packed[read.get()..until] {
            [] if until < packed.len() => Err(io::ErrorKind::WouldBlock.into()),
            allowed => Ok(allowed),
        }
    }

    fn consume(&mut self, bytes: usize) {
        self.0.read.set(self.0.read.get() + bytes);
    }
}

impl Read for Paced<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.fill_buf()?.read(buffer)?;
        self.consume(bytes);
        Ok(bytes)
    }
}

/// Never has room for more than that, however the vector grows.
async fn up_to(mut reader: impl Read, pace: &Pace<'_>, max: usize) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    while body.len() <= max {
        let step = STEP.min(max + 1 - body.len());
        make_room(&mut body, step, max);
        match reader.by_ref().take(step as u64).read_to_end(&mut body) {
            Ok(bytes) if bytes < step => return pace.ended().map(|()| body),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {} // the next step is to come
            Err(error) => return Err(error),
        }
        pace.turn(body.len()).await?;
    }
    Ok(body)
}

/// Doubles the vector if it has no room for `step` more, up to one byte more than `max`.
fn make_room(body: &mut Vec<u8>, step: usize, max: usize) {
    if body.capacity() - body.len() < step {
        body.reserve_exact(body.len().max(step).min(max + 1 - body.len()));
    }
}

/// The reader that the crate has takes large windows, which are no part of RFC 7932 and may have 1 GiB, and does
/// not say whether anything follows.
async fn unbrotli(pace: &Pace<'_>, max: usize) -> io::Result<Vec<u8>> {
    let (a, b, c) = <(StandardAlloc, StandardAlloc, StandardAlloc)>::default();
    let mut state = BrotliState::new_strict(a, b, c);
    let (mut body, mut total) = (Vec::new(), 0);
    loop {
        let end = body.len();
        let step = STEP.min(max + 1 - end);
        make_room(&mut body, step, max);
        body.resize(end + step, 0);
        let (mut room, mut written) = (step, 0);
        let (mut at, mut allowed) = (pace.read.get(), PACKED_STEP.min(pace.left()));
        let result = BrotliDecompressStream(
            &mut allowed,
            &mut at,
            pace.packed,
            &mut room,
            &mut written,
            &mut body[end..],
            &mut total,
            &mut state,
        );
        pace.read.set(at);
        body.truncate(end + written);
        match result {
            BrotliResult::NeedsMoreOutput if body.len() > max => return Ok(body),
            BrotliResult::NeedsMoreInput if pace.left() == 0 => {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            BrotliResult::NeedsMoreOutput | BrotliResult::NeedsMoreInput => {
                pace.turn(body.len()).await?;
            }
            BrotliResult::ResultSuccess => return pace.ended().map(|()| body),
            BrotliResult::ResultFailure => return Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

#[cfg(test)]
#[path = "expand_tests.rs"]
mod tests;
