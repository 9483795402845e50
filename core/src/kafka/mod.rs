//! What gateway, kafka-producer and consumer need of Kafka beyond producing and consuming.
//!
//! In reading order: the settings of every client ([`client`]) and its way back to a broker ([`bootstrap`]);
//! the declared topics ([`topics`]), what the broker says of them ([`describe`]), what their settings do to what is
//! promised ([`settings`]) and why it may let nobody in ([`refusal`]); and the partitioner of the Java client ([`partitioner`]).
//!
//! An *incarnation* is the id that Kafka gives to a topic when it is created. A topic that was deleted
//! and created again has another one, and offsets that mean other records.

mod admin_call;
mod bootstrap;
mod client;

mod describe;
mod offsets;
mod refusal;
mod settings;
mod topics;

mod partitioner;

use std::time::Duration;

pub use bootstrap::Bootstrap;
pub use client::{client_config, code};
pub use describe::Described;
pub use offsets::{End, TopicPartition};
pub use partitioner::partition_of;
pub use settings::{ENDANGERS, Effect, LOOK_EVERY, Setting, conditions, explain};
pub use topics::{TopicError, Topics};

/// How long one call to the broker may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
