//! Connections, from the accept to the close.
//!
//! They are accepted up to a bound ([`listen`], for which the process may have enough open files:
//! [`descriptors`]), each address having its share ([`addresses`]); TLS is terminated ([`tls`], [`socket`]); then
//! each is served ([`serve`], [`handshake`], [`state`]) as [`http1`] ([`request_target`]) or [`http2`]
//! ([`header_watch`]) under the [`deadlines`] of its worker, and closed when its client takes nothing of an answer
//! ([`write_timeout`]).

pub(crate) mod addresses;
pub(crate) mod deadlines;
pub(crate) mod descriptors;
mod handshake;
mod header_watch;
mod http1;
pub(crate) mod http2;
pub(crate) mod listen;
pub(crate) mod request_target;
pub(crate) mod serve;
pub(crate) mod socket;
mod state;
pub(crate) mod tls;
pub(crate) mod write_timeout;
