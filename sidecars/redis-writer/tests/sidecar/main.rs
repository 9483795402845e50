//! The promises of the redis-writer, kept by a whole one in this process, on a real Redis.

mod fixture;
mod frames;
mod outage;
mod protocol;
mod redis_problems;
mod shutdown;
