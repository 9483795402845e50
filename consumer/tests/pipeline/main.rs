//! The consumer on real Kafka, MongoDB and Redis.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod archiving;
mod attempts;
mod counters;
mod histories;
mod origins;
mod outages;
mod panics;
mod proxy;
mod replicas;
mod world;
