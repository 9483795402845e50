//! The way of a frame up to Redis, for `benches/` to measure.

use aguacero::{config::Config, ledger::Entry};
use aguacero_proto::deltas::to_redis_writer;
use bytes::Bytes;
use tokio_tungstenite::tungstenite::Message;

use crate::{frame::Frame, wire};

/// What a gateway's message adds, for each stream by its position in the configuration; nothing if it
/// holds no frame.
#[must_use]
pub fn decode(config: &Config, message: Bytes) -> Vec<(usize, Vec<Entry>)> {
    match wire::decode(Some(Ok(Message::Binary(message)))) {
        Ok(Some(to_redis_writer::Kind::Frame(frame))) => Frame::check(config, frame).parts,
        _ => Vec::new(),
    }
}
