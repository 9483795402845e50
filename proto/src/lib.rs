//! The two wire contracts inside the gateway's pod. The `.proto` files beside this crate document them.

#[cfg(feature = "transport")]
pub mod pod;

/// gateway ⇄ kafka-producer (gRPC, `aguacero/produce.proto`).
#[allow(missing_docs, unreachable_pub, clippy::all)]
pub mod produce {
    include!(concat!(env!("OUT_DIR"), "/aguacero.produce.v1.rs"));

    /// What a hello carries. An end accepts its own version and the one before: the first had runs in the place of
    /// requests.
    pub const PROTOCOL: u32 = 2;

    /// Bytes that a message may have at most, in either direction.
    pub const MESSAGE_BYTES_MAX: usize = 16 << 20;
}

/// gateway ⇄ redis-writer (binary WebSocket messages, `aguacero/deltas.proto`).
#[allow(missing_docs, unreachable_pub, clippy::all)]
pub mod deltas {
    include!(concat!(env!("OUT_DIR"), "/aguacero.deltas.v1.rs"));

    /// What a hello carries. An end accepts its own version and the one before.
    pub const PROTOCOL: u32 = 1;
}
