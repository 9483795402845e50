//! A packed body: the first byte says how, the others are it.

use std::io::Read as _;

use bytes::Bytes;
use gateway::fuzzing::expand;
use tokio::runtime::{Builder, Runtime};

use super::CONFIG;

const CODINGS: [&str; 4] = ["gzip", "deflate", "zstd", "br"];
/// Bytes to which any body may expand, however short it is: `gateway/src/request/expand.rs`.
const FREE: usize = 64 << 10;

thread_local! {
    static RUNTIME: Runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
}

pub(super) fn run(input: &[u8]) {
    let Some((how, packed)) = input.split_first() else {
        return;
    };
    let coding = CODINGS[usize::from(*how) % CODINGS.len()];
    let expanding = expand(&CONFIG, coding, Bytes::copy_from_slice(packed));
    let expanded = RUNTIME.with(|runtime| runtime.block_on(expanding));
    let gateway = &CONFIG.gateway;
    match expanded {
        Ok(body) => {
            let by_growth = FREE.max(packed.len() * gateway.expansion_max);
            assert!(
                body.len() <= gateway.body_bytes_max.min(by_growth),
                "{coding}: {} bytes",
                body.len()
            );
            if let Some(expected) = by_itself(coding, packed) {
                assert!(body == expected, "{coding}: another body");
            }
        }
        Err(status) => assert!([400, 413].contains(&status), "{coding}: {status}"),
    }
}

/// By the library alone, all at once: only for what the gateway has found to be within bounds.
fn by_itself(coding: &str, packed: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    let read = match coding {
        "gzip" => flate2::read::MultiGzDecoder::new(packed).read_to_end(&mut body),
        "deflate" => {
            let mut decoder = flate2::read::ZlibDecoder::new(packed);
            let read = decoder.read_to_end(&mut body);
            assert_eq!(decoder.total_in(), packed.len() as u64, "something follows");
            read
        }
        "zstd" => return Some(zstd::decode_all(packed).expect("what the gateway has read")),
        _ => return None,
    };
    read.expect("what the gateway has read");
    Some(body)
}
