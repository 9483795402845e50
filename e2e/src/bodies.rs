//! Bodies that are made to cost more than they are worth: of the greatest sizes that are allowed, and beyond.

use std::io::Write as _;

use flate2::{
    Compression,
    write::{GzEncoder, ZlibEncoder},
};

use crate::{Request, seed::Dice};

/// `gateway.body_bytes_max` unless told otherwise.
const BODY_BYTES: usize = 8 << 20;
/// `gateway.event_bytes_max` unless told otherwise.
const EVENT_BYTES: usize = 900 << 10;

/// A body, and what it is to be told.
pub struct Attack {
    /// What it is.
    pub name: &'static str,
    /// How it is sent.
    pub request: Request,
    /// Bytes as they are sent.
    pub bytes: usize,
    /// The status that it deserves.
    pub status: u16,
}

/// Every such body, for a gateway that has the weather and the default bounds.
#[must_use]
pub fn attacks() -> Vec<Attack> {
    let zeros = array("0", 1_000_000);
    let bomb = array("0", BODY_BYTES / 2 - 1);
    let mut all = vec![
        json("a million zeros", 413, zeros.clone()),
        json("8 MiB of zeros", 413, bomb.clone()),
        json("8 MiB of [], in []", 413, array("[]", BODY_BYTES / 3 - 1)),
        json("8 MiB of {}, in []", 413, array("{}", BODY_BYTES / 3 - 1)),
        json(
            "8 MiB of commas",
            400,
            format!("[{}]", ",".repeat(BODY_BYTES - 2)),
        ),
        json("8 MiB of spaces", 422, " ".repeat(BODY_BYTES)),
        lines("8 MiB of newlines", 422, "\n".repeat(BODY_BYTES)),
        lines("8 MiB of 0 and newline", 413, "0\n".repeat(BODY_BYTES / 2)),
        lines(
            "8 MiB of blank lines, one event",
            422,
            format!("{}{{}}", " \n".repeat(BODY_BYTES / 2 - 1)),
        ),
        json("10,000 zeros", 422, array("0", 10_000)),
        json(
            "10,000 texts that end nowhere",
            400,
            format!("[{}", "\"\\\"\",".repeat(10_000)),
        ),
        lines("10,000 lines that are no JSON", 400, "x\n".repeat(10_000)),
        lines(
            "10,000 good events",
            200,
            "{\"texto\":\"\",\"país\":\"x\"}\n"
                .replace("\"\"", "\"a\"")
                .repeat(10_000),
        ),
        lines("10,000 names given twice, long", 422, twice()),
        json("one event of 900 KiB", 422, event("x", EVENT_BYTES)),
        json("one event of a byte more", 413, event("x", EVENT_BYTES + 1)),
        json("a text of 4 MiB", 413, event("x", 4 << 20)),
        json("4 MiB of \\u0000", 413, event("\\u0000", 4 << 20)),
        json("900 KiB of \\u0000", 422, event("\\u0000", EVENT_BYTES)),
        json(
            "1 MiB of digits",
            413,
            format!("{{\"a\":{}}}", "9".repeat(1 << 20)),
        ),
        json(
            "800 KiB of digits",
            422,
            format!("{{\"a\":{}}}", "9".repeat(800 << 10)),
        ),
        json(
            "800 KiB of decimals",
            422,
            format!("{{\"a\":0.{}}}", "9".repeat(800 << 10)),
        ),
        json("100,000 [", 400, "[".repeat(100_000)),
        json("8 MiB of [", 400, "[".repeat(BODY_BYTES)),
        json("100,000 {\"a\":", 422, "{\"a\":".repeat(100_000)),
        json("100,000 {\"a\":[", 422, "{\"a\":[".repeat(100_000)),
        json("80,000 names", 422, names(80_000, |n| format!("{n:x}"))),
        json("100,000 equal names", 422, names(100_000, |_| "a".into())),
        json(
            "100,000 times {\"a\":1} in an array",
            422,
            format!("{{\"a\":{}}}", array("{\"a\":1}", 100_000)),
        ),
        json(
            "300,000 [] in an event",
            422,
            format!("{{\"a\":{}}}", array("[]", 300_000)),
        ),
    ];
    let zstd = |body: &[u8]| zstd::encode_all(body, 3).expect("in memory");
    for (coding, pack) in [
        ("gzip", gzip as fn(&[u8]) -> Vec<u8>),
        ("deflate", deflate),
        ("zstd", zstd),
    ] {
        let name = |what: &str| &*format!("{what}, {coding}").leak();
        let bomb = pack(bomb.as_bytes());
        all.push(packed(name("8 MiB of zeros"), 413, coding, bomb));
        // What packs so badly is let in, and is then too large an event.
        let mut dice = Dice::new(1);
        let noise = (0..BODY_BYTES / 2).map(|_| b"0123456789abcdef"[dice.below(16) as usize]);
        let body = [&b"{\"a\":\""[..], &noise.collect::<Vec<_>>(), b"\"}"].concat();
        all.push(packed(name("a text of 4 MiB"), 413, coding, pack(&body)));
        let far = vec![b' '; 16 * BODY_BYTES];
        all.push(packed(name("128 MiB of spaces"), 413, coding, pack(&far)));
    }
    let nothing = [
        ("gzip", gzip(b"").repeat(400_000)),
        (
            "deflate",
            [&[0x78, 1][..], &[0, 0, 0, 255, 255].repeat(1_600_000)].concat(),
        ),
        (
            "zstd",
            zstd::encode_all(&b""[..], 1)
                .expect("in memory")
                .repeat(600_000),
        ),
        ("br", [&[0x0c][..], &vec![0x06; BODY_BYTES - 1]].concat()),
    ];
    for (coding, mut body) in nothing {
        body.truncate(BODY_BYTES);
        let name = &*format!("8 MiB that make nothing, {coding}").leak();
        all.push(packed(name, 400, coding, body));
    }
    // RFC 7932's beginning of a stream that asks for a window of 1 GiB, which is no part of it.
    let window = vec![0x11, 0x1e, 0x00, 0x00, 0x02, 0x0a, 0x06, 0x03];
    all.push(packed("a window of 1 GiB, br", 400, "br", window));
    all
}

fn attack(name: &'static str, status: u16, bytes: usize, request: Request) -> Attack {
    Attack {
        name,
        request,
        bytes,
        status,
    }
}

fn json(name: &'static str, status: u16, body: String) -> Attack {
    attack(name, status, body.len(), Request::json("/input", body))
}

fn lines(name: &'static str, status: u16, body: String) -> Attack {
    attack(name, status, body.len(), Request::ndjson("/input", body))
}

fn packed(name: &'static str, status: u16, coding: &str, body: Vec<u8>) -> Attack {
    let bytes = body.len();
    let request = Request::json("/input", body).header("content-encoding", coding);
    attack(name, status, bytes, request)
}

fn array(element: &str, times: usize) -> String {
    format!("[{}{element}]", format!("{element},").repeat(times - 1))
}

/// An event of so many bytes, nearly all of which are the text of a field.
fn event(piece: &str, bytes: usize) -> String {
    let frame = r#"{"texto":"","país":"x"}"#.len();
    let times = (bytes - frame) / piece.len();
    format!("{{\"texto\":\"{}\",\"país\":\"x\"}}", piece.repeat(times))
}

fn names(times: usize, name: impl Fn(usize) -> String) -> String {
    let members = (0..times).map(|n| format!("\"{}\":1", name(n)));
    format!("{{{}}}", members.collect::<Vec<_>>().join(","))
}

/// Each answer repeats the name.
fn twice() -> String {
    let name = "n".repeat(380);
    format!("{{\"{name}\":1,\"{name}\":2}}\n").repeat(10_000)
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(body).expect("in memory");
    encoder.finish().expect("in memory")
}

fn deflate(body: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(body).expect("in memory");
    encoder.finish().expect("in memory")
}
