//! The promises of the ledger, on a real Redis.
//!
//! Each test has streams of its own, so they may run at the same time and on a Redis that others use.
//! `history` does what chance comes up with, and `expected` says what must come of it; the tests here
//! each name one thing that can go wrong.

mod damage;
mod expected;
mod fixture;
mod history;
mod keys;
mod live;
mod settle;
