//! The kinds of clients: what each sends at once, and what then.

use crate::h2;

/// What a connection does after its beginning.
pub(crate) enum Then {
    /// Nothing.
    Silence,
    /// The n-th piece every second; nothing more after an empty one.
    Slowly(Pieces),
    /// The n-th piece as soon as the one before is taken.
    Flood(Pieces),
}

/// The n-th piece of what a connection sends.
type Pieces = Box<dyn Fn(usize) -> Vec<u8>>;

/// What a connection takes of its answers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reads {
    All,
    /// A KiB every second.
    Slowly,
    Nothing,
}

/// A kind of clients.
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    /// Sent at once.
    pub(crate) begins: Vec<u8>,
    pub(crate) then: Then,
    pub(crate) reads: Reads,
}

impl Kind {
    fn silent(name: &'static str, begins: impl Into<Vec<u8>>) -> Self {
        Self {
            name,
            begins: begins.into(),
            then: Then::Silence,
            reads: Reads::All,
        }
    }

    fn slow(
        name: &'static str,
        begins: impl Into<Vec<u8>>,
        pieces: impl Fn(usize) -> Vec<u8> + 'static,
    ) -> Self {
        Self {
            then: Then::Slowly(Box::new(pieces)),
            ..Self::silent(name, begins)
        }
    }

    fn flood(
        name: &'static str,
        begins: impl Into<Vec<u8>>,
        pieces: impl Fn(usize) -> Vec<u8> + 'static,
    ) -> Self {
        Self {
            then: Then::Flood(Box::new(pieces)),
            ..Self::silent(name, begins)
        }
    }

    fn without_reading(mut self) -> Self {
        self.reads = Reads::Nothing;
        self
    }

    fn reading_slowly(mut self) -> Self {
        self.reads = Reads::Slowly;
        self
    }
}

/// Name of the kind that the others are held against: the good client alone.
pub(crate) const NOBODY: &str = "nobody";

/// No attack.
pub(crate) fn nobody() -> Kind {
    Kind::silent(NOBODY, "")
}

const LINE: &str = "POST /input HTTP/1.1\r\n";
const FIELDS: &str = "Host: siege\r\nContent-Type: application/json\r\n";
/// Asks little and is told much: a 404 with the paths that there are.
const ASKS: &str = "GET /nowhere HTTP/1.1\r\nHost: siege\r\n\r\n";

/// Every kind.
pub(crate) fn all() -> Vec<Kind> {
    let header = format!("{LINE}{FIELDS}");
    let byte_of = |text: String| {
        move |n: usize| {
            text.as_bytes()
                .get(n)
                .map_or_else(Vec::new, |byte| vec![*byte])
        }
    };
    let with_length = |bytes: usize| format!("{LINE}{FIELDS}Content-Length: {bytes}\r\n\r\n");
    let whole = format!("{}{{}}", with_length(2));
    let chunked = format!("{LINE}{FIELDS}Transfer-Encoding: chunked\r\n\r\n");
    // 10,000 lines, of each of which is said what is wrong with it.
    let wrong = "x\n".repeat(10_000);
    let large = format!(
        "{LINE}Host: siege\r\nContent-Type: application/x-ndjson\r\nContent-Length: {}\r\n\r\n{wrong}",
        wrong.len()
    );
    // A ClientHello that says it has 512 bytes and has eleven.
    let hello = [0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
    vec![
        Kind::silent("nothing said", ""),
        Kind::slow("header, a byte a second", "", byte_of(header.clone())),
        Kind::slow("header, a line a second", LINE, |n| {
            format!("X-{n}: y\r\n").into_bytes()
        }),
        Kind::slow("body, a byte a second", with_length(10_000), |_| {
            b" ".to_vec()
        }),
        Kind::silent("body announced, silent", with_length(1_000_000)),
        Kind::slow("chunks of a byte, one a second", chunked.clone(), |_| {
            b"1\r\n \r\n".to_vec()
        }),
        Kind::silent("chunk announced, silent", format!("{chunked}fffff\r\n")),
        Kind::silent("idle after a request", whole),
        Kind::silent("pipelined, answers not read", ASKS.repeat(200)).without_reading(),
        Kind::silent("half a TLS ClientHello", hello),
        Kind::silent("answers of 1 MB, not read", large.clone()).without_reading(),
        Kind::silent("answers of 1 MB, a KiB/s", large).reading_slowly(),
        Kind::flood("requests, answers not read", "", |_| {
            ASKS.repeat(100).into_bytes()
        })
        .without_reading(),
        Kind::flood("chunks of a byte", chunked, |_| b"1\r\n \r\n".repeat(2000)),
        Kind::silent("h2 preface, silent", h2::PREFACE),
        Kind::slow("h2 preface, a byte a second", "", |n| {
            h2::PREFACE.get(n).map_or_else(Vec::new, |byte| vec![*byte])
        }),
        Kind::silent("h2 settings, silent", h2::begin(&[])),
        Kind::slow(
            "h2 header, a byte a second",
            [h2::begin(&[]), h2::headers_without_end(1)].concat(),
            |_| h2::continuation(1, &[0x82]),
        ),
        Kind::slow(
            "h2 data, a byte a second",
            [h2::begin(&[]), h2::post(1, Some(10_000))].concat(),
            |_| h2::data(1, b" "),
        ),
        Kind::silent(
            "h2 data announced, silent",
            [h2::begin(&[]), h2::post(1, Some(10_000))].concat(),
        ),
        Kind::silent(
            "h2 no window for answers",
            [
                h2::begin(&[h2::INITIAL_WINDOW_0]),
                (0..90).flat_map(|n| h2::ask(2 * n + 1)).collect(),
            ]
            .concat(),
        ),
        Kind::silent(
            "h2 90 streams, no bodies",
            [
                h2::begin(&[]),
                (0..90).flat_map(|n| h2::post(2 * n + 1, None)).collect(),
            ]
            .concat(),
        ),
        Kind::flood("h2 settings flood", h2::begin(&[]), |_| {
            h2::settings(&[]).repeat(500)
        })
        .without_reading(),
        Kind::flood("h2 ping flood", h2::begin(&[]), |_| h2::ping().repeat(500)).without_reading(),
        Kind::flood("h2 settings flood, read", h2::begin(&[]), |_| {
            h2::settings(&[]).repeat(500)
        }),
        Kind::flood("h2 ping flood, read", h2::begin(&[]), |_| {
            h2::ping().repeat(500)
        }),
        Kind::flood("h2 rapid reset", h2::begin(&[]), |n| {
            streams(n)
                .flat_map(|id| [h2::post(id, None), h2::reset(id)].concat())
                .collect()
        }),
        Kind::flood("h2 refused streams", h2::begin(&[]), |n| {
            streams(n).flat_map(h2::ask).collect()
        })
        .without_reading(),
        Kind::flood(
            "h2 continuation flood",
            [h2::begin(&[]), h2::headers_without_end(1)].concat(),
            |n| h2::continuation(1, &h2::field(n)),
        ),
        Kind::flood(
            "h2 empty data flood",
            [h2::begin(&[]), h2::post(1, None)].concat(),
            |_| h2::data(1, b"").repeat(1000),
        ),
        Kind::flood(
            "h2 window update flood",
            [h2::begin(&[]), h2::post(1, None)].concat(),
            |_| h2::window_update(1).repeat(500),
        ),
        Kind::flood("h2 priority flood", h2::begin(&[]), |n| {
            streams(n).flat_map(h2::priority).collect()
        }),
    ]
}

/// The numbers of the n-th hundred streams.
fn streams(n: usize) -> impl Iterator<Item = u32> {
    (0..100).map(move |i| (200 * n + 2 * i + 1) as u32 & 0x7fff_ffff)
}
