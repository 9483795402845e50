//! The chat over gRPC: clients call the server (`proto/chat.proto`), and each has two streams on one connection of HTTP/2, one
//! of what it sends and the receipts for it, one of what comes for it.
//!
//! Nothing stands in between: what waits for a client that is away waits in the server's log, and a client that reads slowly
//! is held up by HTTP/2's windows alone, with some messages in the server's memory.

pub mod client;
pub mod server;

use std::time::Duration;

/// The metadata that says which log a call is about.
const LOG: &str = "chat-log-bin";

/// A connection that says nothing for so long is asked whether it still lives,
const KEEPALIVE: Duration = Duration::from_secs(10);
/// and is given up if it does not say so within this time.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);
