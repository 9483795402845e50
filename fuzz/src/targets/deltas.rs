//! A message of a gateway's, as the redis-writer reads it: whatever enters the ledger is possible.

use aguacero_proto::deltas::{ToRedisWriter, to_redis_writer};
use bytes::Bytes;
use prost::Message as _;

use super::CONFIG;

pub(super) fn run(message: &[u8]) {
    let message = known(message).unwrap_or_else(|| Bytes::copy_from_slice(message));
    for (stream, entries) in redis_writer::stages::decode(&CONFIG, message) {
        assert!(stream < CONFIG.streams.len());
        for entry in entries {
            let offsets = (entry.last - entry.first + 1).unsigned_abs();
            assert!(entry.first >= 0 && entry.first <= entry.last, "{entry:?}");
            assert!(entry.position.partition >= 0, "{entry:?}");
            assert!(entry.deltas.events <= offsets, "{entry:?}");
            for counter in &entry.deltas.counters {
                let counted: u64 = counter.values().sum();
                assert!(counted <= entry.deltas.events, "{entry:?}");
            }
        }
    }
}

/// The message with the fingerprint that is expected in place of 0, which no input could guess.
fn known(message: &[u8]) -> Option<Bytes> {
    let mut message = ToRedisWriter::decode(message).ok()?;
    let Some(to_redis_writer::Kind::Frame(frame)) = &mut message.kind else {
        return None;
    };
    for deltas in &mut frame.streams {
        if let (0, Some(stream)) = (deltas.counters_fingerprint, CONFIG.stream(&deltas.stream)) {
            deltas.counters_fingerprint = stream.counters_fingerprint;
        }
    }
    Some(message.encode_to_vec().into())
}
