//! Rolling restarts: gateways that are told to end one after the other, under clients that keep their
//! connections, and what these clients see of it.
//!
//! [`http1`] and [`http2`] are the clients' connections, which tell what became of each request;
//! [`clients`] go on sending; [`restart`] is what is done to a gateway; [`tally`] counts.

mod clients;
mod http1;
mod http2;
mod restart;
mod tally;

pub use clients::{Clients, Plan};
pub use restart::{Restart, restart};
pub use tally::Tally;

use std::net::SocketAddr;

/// One event that is to be sent.
#[derive(Debug, Clone)]
struct Post {
    /// The event's Idempotency-Key: an event is sent again under the same one.
    key: String,
    body: String,
    /// With a pause in the middle of its body, so that it is often the last one that a gateway has begun.
    is_split: bool,
}

/// What became of one attempt to send a [`Post`].
#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    /// An answer came, whole. `closes`: and with it `Connection: close`.
    Answered { status: u16, closes: bool },
    /// Nothing was sent: the connection had been closed between two requests, as it may be.
    ClosedBefore,
    /// Nobody listens.
    Refused,
    /// The connection was closed while the request was being sent, and the server has read nothing of it:
    /// the race that HTTP/1.1 has on connections that are kept (RFC 9112 §9.5), or a connection that was
    /// never accepted.
    Unread,
    /// HTTP/2's GOAWAY or REFUSED_STREAM: the server says that it has not looked at it.
    LeftOut,
    /// The request was on its way and got no answer, or half of one.
    Lost(String),
}

impl Outcome {
    /// Whether it is about a connection over which nothing was sent.
    fn is_of_connection(&self) -> bool {
        matches!(self, Self::ClosedBefore | Self::Refused)
    }
}

/// A connection of either kind, made when it is needed.
enum Connection {
    Http1(http1::Http1),
    Http2(http2::Http2),
}

impl Connection {
    /// Sends all of them at the same time (HTTP/1.1: one) and tells what became of each.
    async fn send(&mut self, server: SocketAddr, posts: &[Post]) -> Vec<Outcome> {
        match self {
            Self::Http1(connection) => {
                let mut outcomes = Vec::with_capacity(posts.len());
                for post in posts {
                    outcomes.push(connection.send(server, post).await);
                }
                outcomes
            }
            Self::Http2(connection) => connection.send(server, posts).await,
        }
    }

    /// How often it had to connect.
    fn connects(&self) -> usize {
        match self {
            Self::Http1(connection) => connection.connects,
            Self::Http2(connection) => connection.connects,
        }
    }
}
