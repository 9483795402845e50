//! The gateway, in the order of an event's way through it.
//!
//! A worker ([`worker`]) is one thread with a runtime of its own; it owns its connections ([`listen`],
//! [`connection`], [`http2`]; [`descriptors`] sees to it that there may be enough, [`addresses`] that nobody
//! has them all; [`socket`], [`tls`] and [`patience`] are what lies beneath), its open slabs and its
//! stream to the kafka-producer, so that an event crosses no thread in here. A request is routed to a
//! stream ([`route`], as far as its key ([`keys`], [`follow`]ed in their file) and that one's [`rate`] let it; what it asks for beside are its
//! [`wishes`], and what every answer to it carries is its [`letterhead`], for browsers by [`cors`]), its body is
//! read under limits ([`body`], [`expand`], [`deadlines`]; of what waits, each client has its share of the [`room`]) and taken in ([`intake`]): split into events ([`split`]), each of which is judged ([`judge`]) and given an id ([`ids`]). Only when the last one is
//! judged, the good ones are appended to the open slabs of their partitions ([`slab`]), which leave in
//! frames as soon as the frames before are answered ([`lane`], at the [`pace`] of each partition, over
//! [`link`]). The receipt of a slab decides the answer of every request with events in it ([`respond`], [`unsent`]),
//! and what was stored is told to the counters ([`live`]).
//!
//! **A 200 means that every event of the request is in Kafka, written by all in-sync replicas.** 4xx
//! and 503 mean that it certainly is not, 504 that nobody can know; the answer carries the
//! `Idempotency-Key` under which sending the same body again is harmless.

mod addresses;
pub mod app;
mod body;
mod connection;
mod cors;
mod deadlines;
mod descriptors;
mod expand;
mod follow;
#[doc(hidden)]
pub mod hostile;
mod http2;
mod ids;
mod intake;
mod judge;
pub mod key_commands;
mod keys;
mod lane;
mod letterhead;
mod link;
mod listen;
mod live;
mod metric;
mod pace;
mod patience;
mod rate;
mod respond;
mod room;
mod route;
mod slab;
mod socket;
mod split;
#[doc(hidden)]
pub mod stages;
mod tls;
mod unsent;
mod wishes;
mod worker;

pub use app::App;
