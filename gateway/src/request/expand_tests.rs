use std::io::Write as _;

use aguacero::config::Config;
use flate2::{Compression, write};

use super::*;
use crate::fuzzing;

const LINES: &[u8] =
    b"{\"n\":1}\n{\"n\":1}\n{\"n\":1}\n{\"n\":1}\n{\"n\":1}\n{\"n\":1}\n{\"n\":1}\n{\"n\":1}\n";
/// `LINES` by Google's encoder.
const LINES_BR: &[u8] = &[
    27, 63, 0, 248, 141, 211, 21, 243, 35, 148, 187, 41, 69, 220, 246, 90, 33, 70, 167, 79, 252,
    19, 14, 144, 37, 7,
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
