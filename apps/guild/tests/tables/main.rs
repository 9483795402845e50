//! The processors on a real PostgreSQL, each test in a database of its own; Kafka is played by batches that are given to
//! the sink, which is dropped at every step that it waits at, as a process that is killed.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod daily_sales;
mod stock;
mod world;
