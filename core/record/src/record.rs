//! The Kafka record, as `docs/record.md` describes it to other consumers.
//!
//! Value: the event's JSON as it was sent. Key: the text of the stream's key field, or none.
//! Timestamp: arrival. One header, [`HEADER`]:
//!
//! | bytes | |
//! |---|---|
//! | 1 | version, 1 |
//! | 16 | event id |
//! | 1 | length of the stream's name |
//! | that many | the stream's name, UTF-8 |
//! | the rest | what the client called the event, if it did |

use crate::id::EventId;

/// Name of the header that every record has.
pub const HEADER: &str = "aguacero";

/// Name of the header that carries the request's trace context (W3C), only if it had one.
pub const TRACE_HEADER: &str = "traceparent";

/// Name of the header that carries the rest of it, only if the request had it.
pub const TRACE_STATE_HEADER: &str = "tracestate";

/// Bytes of a stream's name: what the configuration allows, and far below what the header has room for.
pub const STREAM_BYTES_MAX: usize = 64;

/// What a record batch of one record adds to value and key: the batch's head, the record's varints,
/// the header `aguacero` with a stream's name and a client's key of the greatest length, `traceparent`, and a
/// `tracestate` of the 512 bytes that it may have.
pub const OVERHEAD: usize = 1536;

/// The version that is written.
pub const VERSION: u8 = 1;

/// What the header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header<'a> {
    /// Id of the event.
    pub id: EventId,
    /// Name of its stream.
    pub stream: &'a str,
    /// What the client called it, or empty.
    pub client_key: &'a [u8],
}

/// Why a header cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// Written by a later release: upgrade before reading on.
    #[error("the record's version is {0}, this release knows versions up to {VERSION}")]
    Newer(u8),
    /// Not written by Aguacero.
    #[error("the header `{HEADER}` is damaged")]
    Damaged,
}

impl<'a> Header<'a> {
    /// Writes the header to `out`, which is cleared. A stream's name has at most [`STREAM_BYTES_MAX`].
    pub fn write(&self, out: &mut Vec<u8>) {
        out.clear();
        out.push(VERSION);
        out.extend_from_slice(&self.id.0);
        out.push(self.stream.len() as u8);
        out.extend_from_slice(self.stream.as_bytes());
        out.extend_from_slice(self.client_key);
    }

    /// Reads a header.
    pub fn read(bytes: &'a [u8]) -> Result<Self, HeaderError> {
        let (&version, rest) = bytes.split_first().ok_or(HeaderError::Damaged)?;
        match version {
            0 => return Err(HeaderError::Damaged),
            1..=VERSION => {}
            newer => return Err(HeaderError::Newer(newer)),
        }
        let (id, rest) = rest.split_first_chunk::<16>().ok_or(HeaderError::Damaged)?;
        let (&len, rest) = rest.split_first().ok_or(HeaderError::Damaged)?;
        let (stream, client_key) = rest
            .split_at_checked(len.into())
            .ok_or(HeaderError::Damaged)?;
        let stream = std::str::from_utf8(stream).map_err(|_| HeaderError::Damaged)?;
        Ok(Self {
            id: EventId(*id),
            stream,
            client_key,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_header_is_read_as_it_was_written(id: [u8; 16], stream in "[a-z0-9_-]{1,64}", client_key: Vec<u8>) {
            let header = Header { id: EventId(id), stream: &stream, client_key: &client_key };
            let mut bytes = Vec::new();
            header.write(&mut bytes);
            prop_assert_eq!(Header::read(&bytes), Ok(header));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            _ = Header::read(&bytes);
        }
    }

    #[test]
    fn a_newer_version_is_told_apart_from_damage() {
        assert_eq!(Header::read(&[2, 0]), Err(HeaderError::Newer(2)));
        assert_eq!(Header::read(&[1, 0]), Err(HeaderError::Damaged));
        assert_eq!(Header::read(&[]), Err(HeaderError::Damaged));
    }
}
