//! What every process of Aguacero shares, in the order in which an event meets it.
//!
//! An event's bytes are decoded and accepted ([`accept`]) against a declared stream ([`config`]),
//! given an id ([`id`]), written as a Kafka record ([`record`]) into a topic as it is declared ([`kafka`]),
//! counted ([`counts`]) and settled ([`ledger`]), in a Redis that is looked at ([`redis_check`]). The rest is what a process needs to run: [`cli`],
//! [`telemetry`], [`log_limiter`], [`conditions`], [`admin`], [`essential`] tasks, [`shutdown`], [`socket`].

pub mod config;

pub mod accept;
pub mod scalar;

pub use aguacero_record::{id, record};

pub mod kafka;

pub mod counts;
pub mod ledger;

pub mod admin;
pub mod cli;
pub mod conditions;
pub mod essential;
pub mod log_limiter;
pub mod open_files;
pub mod process;
pub mod redis_check;
pub mod shutdown;
pub mod socket;
pub mod telemetry;
