//! The consumer on real Kafka, MongoDB and Redis.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod archiving;
mod attempts;
mod counters;
mod dropped;
mod histories;
mod logs;
mod origins;
mod outages;
mod panics;
#[allow(dead_code, reason = "the tests of tables share it, and use more of it")]
mod proxy;
mod replicas;
mod rules;
mod same_id;
#[allow(dead_code, reason = "the tests of tables share it, and use more of it")]
mod world;
