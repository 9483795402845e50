//! What every process of Aguacero shares, in the order in which an event meets it.
//!
//! An event's bytes are decoded and accepted ([`accept`]) against a declared stream ([`config`]),
//! given an id ([`id`]), written as a Kafka record ([`record`]), counted ([`counts`]) and
//! settled ([`ledger`]). The rest is what a process needs to run: [`telemetry`], [`log_limiter`], [`admin`], [`shutdown`].

pub mod accept;
pub mod admin;
pub mod bootstrap;
pub mod cli;
pub mod config;
pub mod counts;
pub mod essential;
pub mod id;
pub mod kafka;
pub mod ledger;
pub mod log_limiter;
pub mod record;
mod refusal;
pub mod scalar;
pub mod shutdown;
pub mod socket;
pub mod telemetry;
