//! The ids of a request's events: from the client's key, or made here.

use aguacero::id::EventId;
use bytes::Bytes;
use hyper::header::HeaderMap;

use crate::respond::Answer;

/// The header by which a client names its request.
pub(crate) const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// Most characters of a key.
const KEY_MAX: usize = 255;

/// A valid `Idempotency-Key`, without quotes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClientKey(Bytes);

impl ClientKey {
    /// The key of a request: bare or a quoted string, 1 to 255 visible ASCII characters.
    pub(crate) fn from_headers(headers: &HeaderMap) -> Result<Option<Self>, Box<Answer>> {
        let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
        let Some(value) = values.next() else {
            return Ok(None);
        };
        if values.next().is_some() {
            return Err(
                Answer::bad_request("Idempotency-Key is given more than once".into()).into(),
            );
        }
        let key = unquote(value.as_bytes());
        let visible = key.iter().all(|b| matches!(b, b'!'..=b'~'));
        if key.is_empty() || key.len() > KEY_MAX || !visible {
            let detail =
                format!("Idempotency-Key must have 1 to {KEY_MAX} visible ASCII characters");
            return Err(Answer::bad_request(detail).into());
        }
        Ok(Some(Self(key)))
    }
}

/// The inside of a quoted string (RFC 8941), or the value itself.
fn unquote(value: &[u8]) -> Bytes {
    let inside = value
        .strip_prefix(b"\"")
        .and_then(|v| v.strip_suffix(b"\""));
    let Some(inside) = inside else {
        return Bytes::copy_from_slice(value);
    };
    let mut escaped = false;
    let kept = inside.iter().copied().filter(|&b| {
        escaped = b == b'\\' && !escaped;
        !escaped
    });
    kept.collect()
}

/// What the ids of one request's events are made from.
#[derive(Debug, Clone)]
pub(crate) enum Base {
    /// Record i has the id base + i. Made here, or given back by a client that repeats a request.
    Counted(EventId),
    /// The hash of the key, and of the position if it is a batch.
    Named { key: Bytes, is_batch: bool },
}

impl Base {
    pub(crate) fn new(client_key: Option<ClientKey>, is_batch: bool) -> Self {
        match client_key {
            None => Self::Counted(EventId::new_base()),
            Some(ClientKey(key)) => match EventId::from_retry_key(&key) {
                Some(base) => Self::Counted(base),
                None => Self::Named { key, is_batch },
            },
        }
    }

    /// The id of record `index`, whose id field has the value `client_id`: that one wins.
    pub(crate) fn id_of(&self, stream: &str, client_id: Option<&[u8]>, index: u32) -> EventId {
        match (client_id, self) {
            (Some(client_id), _) => EventId::of_client_key(stream, "", client_id, None),
            (None, Self::Counted(base)) => base.plus(index.into()),
            (None, Self::Named { key, is_batch }) => {
                EventId::of_client_key(stream, "", key, is_batch.then_some(index.into()))
            }
        }
    }

    /// What the client called the request, if that made the ids.
    pub(crate) fn client_key(&self) -> Option<&[u8]> {
        match self {
            Self::Counted(_) => None,
            Self::Named { key, .. } => Some(key),
        }
    }

    /// The key under which sending the same body again is harmless.
    pub(crate) fn retry_key(&self) -> String {
        match self {
            Self::Counted(base) => base.retry_key(),
            Self::Named { key, .. } => String::from_utf8_lossy(key).into_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    fn key(values: &[&[u8]]) -> Result<Option<ClientKey>, Box<Answer>> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(IDEMPOTENCY_KEY, HeaderValue::from_bytes(value).unwrap());
        }
        ClientKey::from_headers(&headers)
    }

    #[test]
    fn a_key_is_the_same_bare_or_quoted() {
        let bare = key(&[b"a\"b"]).ok().flatten();
        assert!(bare.is_some());
        assert_eq!(bare, key(&[b"\"a\\\"b\""]).ok().flatten());
    }

    #[test]
    fn a_key_that_is_empty_long_invisible_or_repeated_is_refused() {
        let long = [b'x'; 256];
        let wrong: [&[&[u8]]; 6] = [
            &[b""],
            &[b"\"\""],
            &[&long],
            &[b"a b"],
            &[b"\xc3\xa9"],
            &[b"a", b"a"],
        ];
        for values in wrong {
            assert_eq!(
                key(values).err().map(|answer| answer.status),
                Some(400),
                "{values:?}"
            );
        }
        assert!(key(&[&long[1..]]).is_ok_and(|k| k.is_some()));
    }

    #[test]
    fn the_key_that_an_answer_carries_gives_the_same_ids_again() {
        for first in [
            Base::new(None, true),
            Base::new(key(&[b"mine"]).unwrap(), true),
        ] {
            let again = Base::new(key(&[first.retry_key().as_bytes()]).unwrap(), true);
            for index in [0, 1, 77] {
                assert_eq!(first.id_of("s", None, index), again.id_of("s", None, index));
            }
        }
    }

    #[test]
    fn the_id_field_wins_over_the_header() {
        let ids = |base: Base| base.id_of("s", Some(b"x"), 3);
        assert_eq!(
            ids(Base::new(None, true)),
            ids(Base::new(key(&[b"k"]).unwrap(), false))
        );
    }
}
