//! The live counters: what was stored is told to the redis-writer, merged while it is busy or away.
//!
//! What a slab adds to the counters ([`deltas`]) is merged until it can leave ([`pending`]) over the WebSocket to the
//! redis-writer ([`session`]). Nothing here is needed for exactness: what never arrives, the consumer's settling counts.

pub(crate) mod deltas;
mod pending;
mod session;

#[cfg(test)]
mod session_tests;
