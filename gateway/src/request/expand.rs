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
mod tests {
    use std::io::Write as _;

    use aguacero::config::Config;
    use flate2::{Compression, write};

    use super::*;
    use crate::fuzzing;

    const LINES: &[u8] =
        b"{\"n\":1}\n{\"n\":1}\n{\"n\":1}\n{\"n\":1}\n{\"n\":1}\n{\"n\":1}\n{\"n\":1}\n{\"n\":1}\n";
    /// `LINES` by Google's encoder.
    const LINES_BR: &[u8] = &[
        27, 63, 0, 248, 141, 211, 21, 243, 35, 148, 187, 41, 69, 220, 246, 90, 33, 70, 167, 79,
        252, 19, 14, 144, 37, 7,
    ];
    const MAX: usize = 1 << 20;

    fn packed(coding: Coding, body: &[u8]) -> Bytes {
        let fast = Compression::fast();
        match coding {
            Coding::Identity => body.to_vec(),
            Coding::Gzip => {
                let mut encoder = write::GzEncoder::new(Vec::new(), fast);
                encoder.write_all(body).unwrap();
                encoder.finish().unwrap()
            }
            Coding::Deflate => {
                let mut encoder = write::ZlibEncoder::new(Vec::new(), fast);
                encoder.write_all(body).unwrap();
                encoder.finish().unwrap()
            }
            Coding::Zstd => zstd::encode_all(body, 1).unwrap(),
            Coding::Brotli => {
                assert_eq!(body, LINES, "all that there is");
                LINES_BR.to_vec()
            }
        }
        .into()
    }

    fn expanded(coding: Coding, packed: impl Into<Bytes>) -> Result<Bytes, u16> {
        let toml = r#"
[topics.t]
partitions = 1
replication = 1
min_insync = 1
[streams.s]
topic = "t"
fields = [{ name = "n" }]
[[streams.s.routes]]
path = "/s"
[gateway]
body_bytes_max = 1048576
expansion_max = 20
"#;
        let config = Config::parse(toml, "a test's file", []).unwrap();
        assert_eq!(config.gateway.body_bytes_max, MAX);
        run(fuzzing::expand(&config, coding.name(), packed.into()))
    }

    fn run<F: Future>(future: F) -> F::Output {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_time().build().unwrap().block_on(future)
    }

    const PACKED: [Coding; 4] = [Coding::Gzip, Coding::Deflate, Coding::Zstd, Coding::Brotli];

    #[test]
    fn a_body_is_what_was_packed() {
        for coding in PACKED.into_iter().chain([Coding::Identity]) {
            let body = expanded(coding, packed(coding, LINES));
            assert_eq!(body.as_deref(), Ok(LINES), "{coding:?}");
        }
        for coding in [Coding::Gzip, Coding::Zstd] {
            let twice = [packed(coding, LINES), packed(coding, LINES)].concat();
            assert_eq!(
                expanded(coding, twice),
                Ok([LINES, LINES].concat().into()),
                "{coding:?}"
            );
        }
    }

    #[test]
    fn a_body_that_is_cut_or_spoilt_or_goes_on_is_malformed() {
        for coding in PACKED {
            let whole = packed(coding, LINES);
            for end in 0..whole.len() {
                assert_eq!(
                    expanded(coding, whole.slice(..end)),
                    Err(400),
                    "{coding:?} {end}"
                );
            }
            let more = [&whole[..], b"{}"].concat();
            assert_eq!(expanded(coding, more), Err(400), "{coding:?}");
            assert_eq!(expanded(coding, LINES), Err(400), "{coding:?}");
        }
    }

    #[test]
    fn a_bomb_is_refused_and_takes_no_more_than_a_body_may() {
        let zeros = vec![b'0'; 10 * MAX];
        for coding in [Coding::Gzip, Coding::Deflate, Coding::Zstd] {
            let bomb = packed(coding, &zeros);
            assert!(bomb.len() < MAX / 10);
            assert_eq!(expanded(coding, bomb.clone()), Err(413), "{coding:?}");
            let read = run(read(coding, &bomb, MAX)).unwrap();
            assert!(
                read.len() == MAX + 1 && read.capacity() == MAX + 1,
                "{coding:?}"
            );
        }
    }

    #[test]
    fn a_body_may_expand_so_many_times_its_bytes_and_a_small_one_more() {
        let small = packed(Coding::Gzip, &vec![b'0'; GROWTH_FLOOR]);
        assert!(small.len() * 20 < GROWTH_FLOOR);
        assert!(expanded(Coding::Gzip, small).is_ok());
        let larger = packed(Coding::Gzip, &vec![b'0'; GROWTH_FLOOR + 1]);
        assert_eq!(expanded(Coding::Gzip, larger), Err(413));
    }

    /// Eight bytes that ask for a window of 1 GiB.
    #[test]
    fn a_window_beyond_what_brotli_has_is_refused() {
        let large = [0x11, 0x1e, 0x00, 0x00, 0x02, 0x0a, 0x06, 0x03];
        assert_eq!(expanded(Coding::Brotli, large.to_vec()), Err(400));
    }

    /// Members, frames and blocks without anything in them take long, and make nothing.
    #[test]
    fn what_makes_nothing_is_given_up_soon() {
        let frames = |coding| packed(coding, b"").repeat(1 + MAX / 4);
        let nothing = [
            (Coding::Gzip, frames(Coding::Gzip)),
            (Coding::Zstd, frames(Coding::Zstd)),
            (Coding::Brotli, [&[0x0c][..], &vec![0x06; MAX]].concat()),
            (
                Coding::Deflate,
                [&[0x78, 0x01][..], &[0, 0, 0, 255, 255].repeat(MAX / 4)].concat(),
            ),
        ];
        for (coding, packed) in nothing {
            let pace = Pace::new(&packed);
            let read = match coding {
                Coding::Gzip => run(up_to(
                    flate2::bufread::MultiGzDecoder::new(pace.reader()),
                    &pace,
                    MAX,
                )),
                Coding::Brotli => run(unbrotli(&pace, MAX)),
                Coding::Deflate => run(up_to(
                    flate2::bufread::ZlibDecoder::new(pace.reader()),
                    &pace,
                    MAX,
                )),
                _ => run(up_to(
                    zstd::stream::read::Decoder::with_buffer(pace.reader()).unwrap(),
                    &pace,
                    MAX,
                )),
            };
            assert!(read.is_err(), "{coding:?}");
            let read = pace.read.get();
            assert!(
                read <= WASTE_MAX + 2 * PACKED_STEP,
                "{coding:?}: {read} of {} bytes",
                packed.len()
            );
            assert_eq!(expanded(coding, packed), Err(400), "{coding:?}");
        }
    }

    #[test]
    fn a_coding_is_known_by_its_name_and_only_alone() {
        let of = |names: &[&'static str]| {
            let values: Vec<_> = names
                .iter()
                .copied()
                .map(HeaderValue::from_static)
                .collect();
            Coding::of(&values.iter().collect::<Vec<_>>()).map_err(|answer| answer.status)
        };
        assert_eq!(of(&[]), Ok(Coding::Identity));
        assert_eq!(of(&["identity"]), Ok(Coding::Identity));
        assert_eq!(of(&["X-GZip"]), Ok(Coding::Gzip));
        assert_eq!(of(&["br"]), Ok(Coding::Brotli));
        for (names, coding) in [
            (&[""][..], Coding::Identity),
            (&[",", " "], Coding::Identity),
            (&["gzip,"], Coding::Gzip),
            (&["", " , zstd ,"], Coding::Zstd),
        ] {
            assert_eq!(of(names), Ok(coding), "{names:?}");
        }
        for names in [&["gzip, gzip"][..], &["gzip", "gzip"], &["lzma"]] {
            assert_eq!(of(names), Err(415), "{names:?}");
        }
    }
}
