//! The beginning of a new count: everything that Redis holds of a stream is forgotten.

use redis::aio::ConnectionLike;

use super::{
    LedgerError,
    script::{CLEAR, fingerprint, tag},
};
use crate::config::Stream;

/// Any generation.
pub(super) const ANY: &str = "*";

/// Keys that are asked for in one step of a search.
const SCAN_COUNT: usize = 1000;

/// Removes everything that Redis holds under the stream's tag (figures, pending entries, watermarks,
/// runs) and claims what comes for the caller's counters and `origin`: the beginning of a count, which then
/// settles every position from none. Deltas that arrive meanwhile are settled like any others.
///
/// With a `generation`, as [`super::look()`] has told it, only if that is still there: of several callers
/// that have seen the same damage, one clears. Says whether it did.
pub async fn clear(
    con: &mut impl ConnectionLike,
    stream: &Stream,
    generation: Option<&str>,
    origin: Option<&str>,
) -> Result<bool, LedgerError> {
    let found = keys(con, stream).await?;
    let mut call = CLEAR.key(tag(stream));
    call.arg(fingerprint(stream))
        .arg(generation.unwrap_or(ANY))
        .arg(uuid::Uuid::new_v4().simple().to_string())
        .arg(origin.unwrap_or_default());
    for counter in &stream.counters {
        call.arg(format!("{}:{}", tag(stream), counter.name));
        call.arg(format!("{}:settled:{}", tag(stream), counter.name));
    }
    let cleared: String = call.arg(found).invoke_async(con).await?;
    Ok(cleared == "cleared")
}

/// Every key under the tag, also of counters that are declared no more, in steps that keep nobody waiting.
async fn keys(con: &mut impl ConnectionLike, stream: &Stream) -> Result<Vec<Vec<u8>>, LedgerError> {
    let mut pattern = String::new();
    for c in tag(stream).chars() {
        if "*?[]^\\".contains(c) {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern.push_str(":*");
    let (mut cursor, mut keys) = ("0".to_owned(), Vec::new());
    loop {
        let (next, page): (String, Vec<Vec<u8>>) = redis::cmd("SCAN")
            .arg(&cursor)
            .arg("MATCH")
            .arg(&pattern)
            .arg("COUNT")
            .arg(SCAN_COUNT)
            .query_async(con)
            .await?;
        keys.extend(page);
        if next == "0" {
            return Ok(keys);
        }
        cursor = next;
    }
}
