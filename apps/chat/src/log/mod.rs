//! `log.txt`: every client and every message, a line each, which people can read and the server starts from.
//!
//! ```text
//! 2026-11-30T08:33:58.000Z log 6f1c2d0a-…
//! 2026-11-30T08:34:00.000Z client 1:ana 0d5ef6ae-…
//! 2026-11-30T08:34:05.120Z message 0193a7c1-… 1:ana -> 2:ben Are you there?\nIt rains.
//! 2026-11-30T08:34:07.004Z delivered 2:ben 1
//! ```
//!
//! The id of the `log` is made with the file, and clients keep it: ids and positions mean nothing in another log. A `client` line ends in the registration that its client keeps. The time of a message is its sender's. `delivered` says up
//! to which position messages have come to a client (over gRPC it has acknowledged them, over RabbitMQ they are in its
//! queue); this line alone is not waited for, as what is missing of it is only delivered again, and told to be so.
//!
//! What is in [`line`] is pure; [`file`] reads and appends.

pub mod file;
pub mod line;
