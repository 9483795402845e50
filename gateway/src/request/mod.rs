//! A request, from its header to the last byte of its body.
//!
//! The header leads to a stream ([`route`]), as far as its key ([`keys`]) and that key's rate ([`rate`]) allow; what
//! the client asks for beside are [`preferences`], what a browser's page may do is [`cors`], what is
//! passed on for tracing is [`trace`]. The body is read under limits and deadlines ([`body`]), within its client's
//! share of the memory for bodies ([`body_budget`]), and expanded if it is packed ([`expand`]; [`unpackable`] says why
//! it cannot be). What takes a worker long is done for one body at a time, in turns that go round by client
//! ([`turns`]).

pub(crate) mod body;
pub(crate) mod body_budget;
pub(crate) mod cors;
pub(crate) mod expand;
pub(crate) mod keys;
pub(crate) mod preferences;
pub(crate) mod rate;
pub(crate) mod route;
pub(crate) mod trace;
pub(crate) mod turns;
pub(crate) mod unpackable;
