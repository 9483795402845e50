//! The two wire contracts inside the gateway's pod. The `.proto` files beside this crate document them.

pub mod pod;

/// What every hello carries. An end accepts its own version and the one before.
pub const PROTOCOL: u32 = 1;

/// gateway ⇄ kafka-producer (gRPC, `aguacero/produce.proto`).
#[allow(missing_docs, unreachable_pub, clippy::all)]
pub mod produce {
    tonic::include_proto!("aguacero.produce.v1");
}

/// gateway ⇄ redis-writer (binary WebSocket messages, `aguacero/deltas.proto`).
#[allow(missing_docs, unreachable_pub, clippy::all)]
pub mod deltas {
    tonic::include_proto!("aguacero.deltas.v1");
}
