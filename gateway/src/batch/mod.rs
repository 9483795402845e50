//! Events travel to a producer together, and come back as receipts.
//!
//! Events are appended ([`append`], as far as the [`budget`] allows) to the open slab of their topic-partition
//! ([`slab`], [`slot`]), for whose receipt their requests wait ([`ticket`]). A worker's slabs are its lane ([`lane`]):
//! pure state that decides what may be appended, sent, and sent again, at the [`pace`] at which each partition stores.
//! The [`link`] drives it: a gRPC stream on which frames of slabs leave and receipts arrive, which become verdicts
//! ([`verdict`]). A worker has one link, with a lane of its own, to each process that routes take ([`links`]).

pub(crate) mod append;
pub(crate) mod budget;
pub(crate) mod lane;
pub(crate) mod link;
pub(crate) mod links;
pub(crate) mod pace;
pub(crate) mod slab;
mod slot;
pub(crate) mod ticket;
pub(crate) mod verdict;
