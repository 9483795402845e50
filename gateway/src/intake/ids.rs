//! The ids of a request's events: from the client's key, or made here.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aguacero::id::{EventId, IdType};
use bytes::Bytes;
use hyper::header::{HeaderName, HeaderValue};

use crate::answer::respond::Answer;

/// The header by which a client names its request.
pub(crate) static IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Most characters of a key.
const KEY_MAX: usize = 255;

/// How long a key that an answer gave can be used.
const REPEATED_WITHIN: Duration = Duration::from_secs(7 * 86_400);
/// By how much the clocks of two gateways may differ.
const CLOCKS_APART: Duration = Duration::from_secs(86_400);

/// A valid `Idempotency-Key`, without quotes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClientKey(Bytes);

impl ClientKey {
    /// The key of a request: bare or a quoted string, 1 to 255 visible ASCII characters.
    pub(crate) fn from_values(values: &[&HeaderValue]) -> Result<Option<Self>, Box<Answer>> {
        let value = match values {
            [] => return Ok(None),
            [value] => value,
            _ => {
                let detail = "Idempotency-Key is given more than once";
                return Err(Answer::bad_request(detail.into()).into());
            }
        };
        let Some(key) = unquote(value.as_bytes()) else {
            let detail = "Idempotency-Key is not a quoted string: inside, write \\\" and \\\\";
            return Err(Answer::bad_request(detail.into()).into());
        };
        let visible = key.iter().all(|b| matches!(b, b'!'..=b'~'));
        if key.is_empty() || key.len() > KEY_MAX || !visible {
            let detail =
                format!("Idempotency-Key must have 1 to {KEY_MAX} visible ASCII characters");
            return Err(Answer::bad_request(detail).into());
        }
        if EventId::from_retry_key(&key).is_some_and(|base| !may_be_repeated(base)) {
            let days = REPEATED_WITHIN.as_secs() / 86_400;
            let detail = format!(
                "Idempotency-Key was given by an answer of more than {days} days ago: send under a new one what is still not stored"
            );
            return Err(Answer::bad_request(detail).into());
        }
        Ok(Some(Self(key)))
    }
}

/// Whether a gateway can have given this base away lately. Of the hashes that are the ids of other clients' events,
/// which have any bytes, one in thirty million is such a base.
fn may_be_repeated(base: EventId) -> bool {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    base.made_at() <= now + CLOCKS_APART && now <= base.made_at() + REPEATED_WITHIN
}

/// The inside of a quoted string (RFC 8941), or the value itself; none if the quoting is wrong.
fn unquote(value: &[u8]) -> Option<Bytes> {
    let Some(inside) = value.strip_prefix(b"\"") else {
        return Some(Bytes::copy_from_slice(value));
    };
    let (mut key, mut bytes) = (Vec::new(), inside.iter());
    loop {
        match bytes.next()? {
            b'"' => return bytes.as_slice().is_empty().then(|| key.into()),
            b'\\' => match bytes.next()? {
                escaped @ (b'"' | b'\\') => key.push(*escaped),
                _ => return None,
            },
            byte => key.push(*byte),
        }
    }
}

/// A key as it is read back to the same: in quotes, if it has any.
fn quoted(key: &str) -> String {
    if !key.contains(['"', '\\']) {
        return key.to_owned();
    }
    format!("\"{}\"", key.replace('\\', "\\\\").replace('"', "\\\""))
}

/// What the ids of one request's events are made from.
#[derive(Debug, Clone)]
pub(crate) enum Base {
    /// Record i has the id base + i. The key is made here, or given back by a client that repeats a request.
    Counted { key: EventId, base: EventId },
    /// The hash of the key and the position.
    Named { key: Bytes },
}

impl Base {
    /// Of a request to `stream` by `owner`, who is nobody where anyone may write.
    pub(crate) fn new(client_key: Option<ClientKey>, stream: &str, owner: &str) -> Self {
        let key = match client_key {
            None => EventId::new_base(),
            Some(ClientKey(key)) => match EventId::from_retry_key(&key) {
                Some(key) => key,
                None => return Self::Named { key },
            },
        };
        let base = key.for_owner(stream, owner);
        Self::Counted { key, base }
    }

    /// The key under which a request that was not read may be sent again.
    pub(crate) fn retry_key_of(client_key: Option<ClientKey>) -> String {
        Self::new(client_key, "", "").retry_key()
    }

    /// The id of record `index` of `owner` (empty where anyone may write), whose id field has the value
    /// `client_id`: that one wins.
    pub(crate) fn id_of(
        &self,
        stream: &str,
        owner: &str,
        client_id: Option<(IdType, &[u8])>,
        index: u32,
    ) -> EventId {
        match (client_id, self) {
            (Some((of, text)), _) => EventId::of_id_field(stream, owner, of, text),
            (None, Self::Counted { base, .. }) => base.plus(index.into()),
            (None, Self::Named { key }) => EventId::of_client_key(stream, owner, key, index.into()),
        }
    }

    /// What the client called the request, if that made the ids.
    pub(crate) fn client_key(&self) -> Option<Bytes> {
        match self {
            Self::Counted { .. } => None,
            Self::Named { key } => Some(key.clone()),
        }
    }

    /// The id of record 0, if those of the others follow it.
    pub(crate) fn counted(&self) -> Option<EventId> {
        match self {
            Self::Counted { base, .. } => Some(*base),
            Self::Named { .. } => None,
        }
    }

    /// The key under which sending the same body again is harmless.
    pub(crate) fn retry_key(&self) -> String {
        match self {
            Self::Counted { key, .. } => key.retry_key(),
            Self::Named { key } => quoted(&String::from_utf8_lossy(key)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(values: &[&[u8]]) -> Result<Option<ClientKey>, Box<Answer>> {
        let value = |bytes: &&[u8]| HeaderValue::from_bytes(bytes).unwrap();
        let values: Vec<_> = values.iter().map(value).collect();
        ClientKey::from_values(&values.iter().collect::<Vec<_>>())
    }

    fn base(key: Option<ClientKey>) -> Base {
        Base::new(key, "s", "o")
    }

    #[test]
    fn a_key_is_the_same_bare_or_quoted() {
        let bare = key(&[b"a\"b"]).ok().flatten();
        assert!(bare.is_some());
        assert_eq!(bare, key(&[b"\"a\\\"b\""]).ok().flatten());
    }

    #[test]
    fn a_key_is_given_back_so_that_it_is_read_as_the_same() {
        for sent in [
            "plain",
            "\"plain\"",
            "a\"b",
            r#""\"abc\"""#,
            r"back\slash",
            r#""\\""#,
        ] {
            let read = key(&[sent.as_bytes()]).ok().flatten();
            assert!(read.is_some(), "{sent}");
            let base = base(read.clone());
            assert_eq!(
                key(&[base.retry_key().as_bytes()]).ok().flatten(),
                read,
                "{sent}"
            );
        }
    }

    #[test]
    fn a_key_that_is_empty_long_invisible_or_repeated_is_refused() {
        let long = [b'x'; 256];
        let wrong: [&[&[u8]]; 10] = [
            &[b"\"a"],
            &[b"\"a\"b\""],
            &[b"\"a\\b\""],
            &[b"\"a\\\""],
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
        for first in [base(None), base(key(&[b"mine"]).unwrap())] {
            let again = base(key(&[first.retry_key().as_bytes()]).unwrap());
            for index in [0, 1, 77] {
                let id = |base: &Base| base.id_of("s", "o", None, index);
                assert_eq!(id(&first), id(&again));
            }
        }
    }

    #[test]
    fn two_owners_never_have_the_same_id_for_what_they_call_the_same() {
        let base = base(key(&[b"mine"]).unwrap());
        for client_id in [None, Some((IdType::String, &b"x"[..]))] {
            let id = |owner| base.id_of("s", owner, client_id, 0);
            assert_ne!(id("a"), id("b"));
            assert_ne!(id("a"), id(""));
        }
    }

    #[test]
    fn nobody_can_name_anothers_event_by_a_key_that_only_a_gateway_gives() {
        let theirs = base(key(&[b"1001"]).unwrap()).id_of("s", "alice", None, 0);
        let forged = format!("ag-{}", theirs.to_string().replace('-', ""));
        let ours = base(key(&[forged.as_bytes()]).unwrap());
        assert_ne!(ours.id_of("s", "bob", None, 0), theirs);

        // Not by the key that an answer gave to its owner either, nor by one that was made of an id.
        let of = |key: &[u8], owner: &str| Base::new(self::key(&[key]).unwrap(), "s", owner);
        let alices = Base::new(None, "s", "alice");
        let id = alices.id_of("s", "alice", None, 0);
        let given = alices.retry_key();
        let again = of(given.as_bytes(), "alice");
        assert_eq!(again.id_of("s", "alice", None, 0), id);
        assert_eq!(again.retry_key(), given);
        for forged in [given, id.retry_key()] {
            for owner in ["bob", ""] {
                let ids = of(forged.as_bytes(), owner);
                assert_ne!(ids.id_of("s", owner, None, 0), id, "{forged} of {owner:?}");
            }
        }

        let mut old = EventId::new_base();
        old.0[..6].copy_from_slice(&[1, 0x8f, 0, 0, 0, 0]);
        let old = key(&[old.retry_key().as_bytes()]);
        assert_eq!(
            old.err().map(|answer| answer.status),
            Some(400),
            "years ago"
        );
    }

    #[test]
    fn the_id_field_wins_over_the_header() {
        let ids = |base: Base| base.id_of("s", "o", Some((IdType::String, b"x")), 3);
        assert_eq!(ids(base(None)), ids(base(key(&[b"k"]).unwrap())));
    }
}
