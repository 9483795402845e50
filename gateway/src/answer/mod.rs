//! Answers: what became of each record ([`outcomes`]) decides the status and the body ([`respond`], written by
//! [`json`]; [`refusals`] has those that refuse a request as a whole), every answer to a request carries the same
//! fields ([`response_headers`]), and large ones are bounded until their clients have read them ([`pending`]).

mod json;
pub(crate) mod outcomes;
pub(crate) mod pending;
mod refusals;
pub(crate) mod respond;
pub(crate) mod response_headers;
