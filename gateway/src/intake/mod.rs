//! A whole body becomes events on their way.
//!
//! It is split into events ([`split`]), each of which is decoded and judged ([`judge`]) and given an id ([`ids`]).
//! Only when the last one is judged, the good ones are appended to the open slabs of their partitions ([`take`]).

pub(crate) mod ids;
pub(crate) mod judge;
pub(crate) mod split;
pub(crate) mod take;
