//! The consumer on real Kafka, MongoDB and Redis.

mod archiving;
mod counters;
mod replicas;
mod world;
