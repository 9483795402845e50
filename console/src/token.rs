//! The operator's token: who has it may replay and discard dead letters.

use aguacero::config::Console;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::metric;

/// What a token is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is the operator's.
    Operator,
    /// It is not, or there is none.
    Wrong,
    /// Nobody may: no token is configured, or its file cannot be read.
    Nobody,
}

/// Judges what stands in `Authorization`. The file is read each time: a token that was changed needs no restart.
#[must_use]
pub fn judge(console: &Console, authorization: Option<&[u8]>) -> Verdict {
    let token = match console.token() {
        Ok(Some(token)) => token,
        Ok(None) => return Verdict::Nobody,
        Err(error) => {
            tracing::warn!(%error, "the operator's token");
            return Verdict::Nobody;
        }
    };
    let given = authorization.and_then(|value| value.strip_prefix(b"Bearer "));
    match given.is_some_and(|given| is_same(given, token.expose().as_bytes())) {
        true => Verdict::Operator,
        false => {
            metric::token_refused();
            Verdict::Wrong
        }
    }
}

/// In a time that tells nothing of where they differ, nor of the length.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    let (one, other) = (Sha256::digest(one), Sha256::digest(other));
    one.as_slice().ct_eq(other.as_slice()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_the_same_or_not() {
        assert!(is_same(b"secret", b"secret"));
        for other in [&b"secre"[..], b"secrets", b"", b"Secret"] {
            assert!(!is_same(other, b"secret"));
        }
    }
}
