//! `consumer tables` on real Kafka and PostgreSQL.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod commands;
mod cuts;
mod members;
mod migrations;
mod offsets;
mod outages;
#[allow(dead_code)] // some of it is for MongoDB
#[path = "../pipeline/proxy.rs"]
mod proxy;
mod refused;
mod rights;
mod rows;
mod tables;
mod types;
#[allow(
    dead_code,
    reason = "shared with the tests of the pipeline, which use more of it"
)]
#[path = "../pipeline/world.rs"]
mod world;
