//! Event ids: 16 bytes under which the archive holds an event once, however often it is sent.

use std::time::Duration;

use sha2::{Digest, Sha256};

/// Most bytes of a string in a stream's id field. An `Idempotency-Key` has fewer, and so has the text of a number.
pub const ID_BYTES_MAX: usize = 512;

/// An event's id. Its text is that of a UUID, as MongoDB shows it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventId(pub [u8; 16]);

impl EventId {
    /// The id of the event that the client called `key`: the first 16 bytes of SHA-256 over the
    /// length-prefixed stream, owner of the bearer key (empty if the stream is open), client key
    /// and, behind the first record of a body, the record's position. So an event that is sent alone is the one
    /// that begins an array.
    #[must_use]
    pub fn of_client_key(stream: &str, owner: &str, key: &[u8], position: u64) -> Self {
        let mut hash = parts(CLIENT_KEY, [stream.as_bytes(), owner.as_bytes(), key]);
        if position > 0 {
            hash.update(8_u64.to_be_bytes());
            hash.update(position.to_be_bytes());
        }
        Self(first_16(&hash.finalize()))
    }

    /// The id of the event whose id field has a value of this type and text: as
    /// [`EventId::of_client_key`], in a space of its own for each type. Values that the archive tells apart are
    /// two ids, such as 77, 77.0 and "77".
    #[must_use]
    pub fn of_id_field(stream: &str, owner: &str, of: IdType, text: &[u8]) -> Self {
        let hash = parts(of as u8, [stream.as_bytes(), owner.as_bytes(), text]);
        Self(first_16(&hash.finalize()))
    }

    /// A new base for the ids of one request: a UUIDv7.
    #[cfg(feature = "new")]
    #[must_use]
    pub fn new_base() -> Self {
        Self(uuid::Uuid::now_v7().into_bytes())
    }

    /// The id `i` after this one.
    #[must_use]
    pub fn plus(self, i: u64) -> Self {
        Self(
            u128::from_be_bytes(self.0)
                .wrapping_add(u128::from(i))
                .to_be_bytes(),
        )
    }

    /// Its first and its last eight bytes, as the wire carries them.
    #[must_use]
    pub fn halves(self) -> (u64, u64) {
        let all = u128::from_be_bytes(self.0);
        ((all >> 64) as u64, all as u64)
    }

    /// The reverse of [`EventId::halves`].
    #[must_use]
    pub fn from_halves(high: u64, low: u64) -> Self {
        Self((u128::from(high) << 64 | u128::from(low)).to_be_bytes())
    }

    /// The base of a request of `owner` to `stream` that goes by this one as its key: the last eight bytes are a
    /// hash of all three. So an id does not tell the key, and under somebody else's name the key makes other ids; the
    /// first eight, which order the archive by time, stay. Where anyone may write (no owner), the base itself.
    #[must_use]
    pub fn for_owner(self, stream: &str, owner: &str) -> Self {
        if owner.is_empty() {
            return self;
        }
        let Self(mut base) = self;
        let Self(hash) = Self::of_client_key(stream, owner, &base, 0);
        base[8..].copy_from_slice(&hash[..8]);
        // A UUIDv8 (RFC 9562, section 5.8), which is never taken for a key.
        base[6] = base[6] & 0x0f | 0x80;
        base[8] = base[8] & 0x3f | 0x80;
        Self(base)
    }

    /// The key that a client may send to repeat a request whose base this is, or is made from this.
    #[must_use]
    pub fn retry_key(self) -> String {
        format!("{RETRY_PREFIX}{}", uuid::Uuid::from_bytes(self.0).simple())
    }

    /// The base that [`EventId::retry_key`] was made from. Only what can be one of ours is: the ids of a client's
    /// keys are hashes that anybody can compute, and one of them under this prefix would be somebody else's event.
    #[must_use]
    pub fn from_retry_key(key: &[u8]) -> Option<Self> {
        let hex = key.strip_prefix(RETRY_PREFIX.as_bytes())?;
        let exact = hex.len() == 32 && hex.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let id = uuid::Uuid::try_parse_ascii(hex).ok().filter(|_| exact)?;
        let is_ours = id.get_version_num() == 7 && id.get_variant() == uuid::Variant::RFC4122;
        is_ours.then(|| Self(id.into_bytes()))
    }

    /// When a base of [`EventId::new_base`] was made, since the Unix epoch.
    #[must_use]
    pub fn made_at(self) -> Duration {
        let [a, b, c, d, e, f, ..] = self.0;
        Duration::from_millis(u64::from_be_bytes([0, 0, a, b, c, d, e, f]))
    }
}

/// The type of an id field's value, as the archive has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum IdType {
    /// A string.
    String = 1,
    /// A number written without fraction or exponent.
    Integer = 2,
    /// Any other number.
    Number = 3,
    /// `true` or `false`.
    Boolean = 4,
}

/// The space of the ids of `Idempotency-Key`s, beside those of [`IdType`].
const CLIENT_KEY: u8 = 0;

/// SHA-256 over the parts, each behind its length. The space is the first byte, which is 0 in any length.
fn parts(space: u8, parts: [&[u8]; 3]) -> Sha256 {
    let mut hash = Sha256::new();
    let mut space = u64::from(space) << 56;
    for part in parts {
        hash.update((space | part.len() as u64).to_be_bytes());
        hash.update(part);
        space = 0;
    }
    hash
}

/// What begins a key that the gateway made.
const RETRY_PREFIX: &str = "ag-";

/// The hash by which two values under one id are told apart: the first 16 bytes of SHA-256.
#[must_use]
pub fn value_hash(value: &[u8]) -> [u8; 16] {
    first_16(&Sha256::digest(value))
}

fn first_16(hash: &[u8]) -> [u8; 16] {
    let mut first = [0; 16];
    first.copy_from_slice(&hash[..16]);
    first
}

impl std::fmt::Display for EventId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        uuid::Uuid::from_bytes(self.0).fmt(f)
    }
}

impl std::fmt::Debug for EventId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_key_gives_the_same_id_only_for_the_same_stream_owner_key_and_position() {
        let id = EventId::of_client_key("s", "o", b"k", 0);
        assert_eq!(id, EventId::of_client_key("s", "o", b"k", 0));
        for other in [
            EventId::of_client_key("so", "", b"k", 0),
            EventId::of_client_key("s", "", b"ok", 0),
            EventId::of_client_key("s", "o", b"k", 1),
            EventId::of_client_key("s", "o", b"k2", 0),
        ] {
            assert_ne!(id, other);
        }
    }

    #[test]
    fn ids_from_keys_are_the_same_in_every_release() {
        let id = |position| EventId::of_client_key("weather", "alice", b"x-1001", position);
        assert_eq!(id(0).to_string(), "d197b736-4905-478c-36bb-cd905ca5367b");
        assert_eq!(id(7).to_string(), "b47527c5-40e8-03a6-6815-1d4b504a7d30");
        let id = EventId::of_id_field("weather", "alice", IdType::String, b"x-1001");
        assert_eq!(id.to_string(), "a6919787-a504-35cd-4d68-caf249343b7e");
    }

    #[test]
    fn a_retry_key_leads_back_to_its_base_and_nothing_else_does() {
        let base = EventId(*b"\x01\x9f\0\0\0\0\x70\x01\x80\x02\0\0\0\0\0\x07");
        assert_eq!(
            EventId::from_retry_key(base.retry_key().as_bytes()),
            Some(base)
        );
        for wrong in [
            "",
            "ag-",
            "ag-0",
            "x",
            "ag-zz000000000000000000000000000000",
            "ag-8902acd5f42eb8a5162c13615633a305", // a hash
            "ag-019f0000000047008000000000000000", // a random UUID
            &base.retry_key()[3..],
        ] {
            assert_eq!(EventId::from_retry_key(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn the_wire_carries_an_id_in_halves() {
        let id = EventId(*b"\x01\x9f\0\0\0\0\x70\x01\x80\x02\0\0\0\0\0\x07");
        let (high, low) = id.halves();
        assert_eq!(EventId::from_halves(high, low), id);
        let id = EventId(*b"0123456789abcdef");
        assert_eq!(id.halves().0.to_be_bytes(), *b"01234567");
    }

    #[test]
    fn ids_of_a_request_follow_its_base_across_a_carry() {
        let base = EventId([0xff; 16]);
        assert_eq!(base.plus(1), EventId([0; 16]));
        assert_eq!(EventId([0; 16]).plus(258).0[14..], [1, 2]);
    }
}
