//! Event ids and the Kafka record's header: what is shared with code that runs without an operating system.

pub mod id;
pub mod record;
