//! Whether the counters that are shown are what was added to them: slow, and rarely asked.

use std::collections::HashMap;

use redis::{FromRedisValue, aio::ConnectionLike};

use super::{
    LedgerError, pack,
    script::{CHECK, fingerprint, tag},
};
use crate::config::{Counter, Stream};

/// Fields that one call reads, in about a millisecond.
const FIELDS_MAX: usize = 2000;

/// As `common.lua` has it.
const MODULUS: i128 = 2_147_483_647;

/// The first counter of the stream whose keys are not what was added to them, if there is one.
///
/// The checksum of a counter with more than 2,000 keys is read step by step, and holds only if
/// nothing was added meanwhile: such a counter is compared in a quiet moment, and passed over otherwise.
pub async fn check(
    con: &mut impl ConnectionLike,
    stream: &Stream,
) -> Result<Option<String>, LedgerError> {
    for counter in &stream.counters {
        let ours = fingerprint(stream);
        let answer: Vec<String> = CHECK
            .key(tag(stream))
            .arg(&ours)
            .arg(pack::counters(stream))
            .arg(&counter.name)
            .arg(FIELDS_MAX)
            .invoke_async(con)
            .await?;
        let words: Vec<_> = answer.iter().map(String::as_str).collect();
        let agrees = match words[..] {
            ["fingerprint", found] => {
                return Err(LedgerError::Fingerprint {
                    stream: stream.name.clone(),
                    found: found.to_owned(),
                    ours,
                });
            }
            ["large", sum, changes] => large(con, stream, counter, sum, changes).await?,
            ["differs"] => false,
            _ => true,
        };
        if !agrees {
            return Ok(Some(counter.name.clone()));
        }
    }
    Ok(None)
}

/// Whether the sum of a large counter agrees; also if something was added meanwhile.
async fn large(
    con: &mut impl ConnectionLike,
    stream: &Stream,
    counter: &Counter,
    sum: &str,
    changes: &str,
) -> Result<bool, LedgerError> {
    let (mut cursor, mut all) = ("0".to_owned(), HashMap::new());
    loop {
        let (next, page): (String, Vec<(Vec<u8>, i64)>) = redis::cmd("HSCAN")
            .arg(format!("{}:{}", tag(stream), counter.name))
            .arg(&cursor)
            .arg("COUNT")
            .arg(FIELDS_MAX)
            .query_async(con)
            .await?;
        all.extend(page); // a field may come twice
        let now = redis::cmd("HGET")
            .arg(format!("{}:meta", tag(stream)))
            .arg("changes")
            .query_async(con)
            .await?;
        let now: Option<String> = FromRedisValue::from_redis_value(now).unwrap_or_default();
        if now.as_deref() != Some(changes) {
            return Ok(true);
        }
        if next == "0" {
            return Ok(sum.parse() == Ok(checksum(&all)));
        }
        cursor = next;
    }
}

fn checksum(fields: &HashMap<Vec<u8>, i64>) -> i128 {
    let one = |(key, n): (&Vec<u8>, &i64)| i128::from(*n).rem_euclid(MODULUS) * weight(key);
    fields.iter().map(one).sum::<i128>() % MODULUS
}

fn weight(key: &[u8]) -> i128 {
    let (Some(first), Some(last)) = (key.first(), key.last()) else {
        return 1;
    };
    let middle = key[key.len().div_ceil(2) - 1];
    let bytes = 3 * i128::from(*first) + 31 * i128::from(middle) + 7 * i128::from(*last);
    1 + (key.len() % 1024) as i128 + bytes
}
