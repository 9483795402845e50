//! What the measuring programs share.

pub mod bare;
pub mod cpu;
pub mod deltas;
pub mod events;
pub mod hincrby;
pub mod insert;
pub mod load;
pub mod locust;
pub mod machine;
pub mod null;
pub mod page;
#[cfg(feature = "krafka")]
pub mod peer;
pub mod plot;
pub mod produce;
pub mod service;
pub mod sides;
pub mod stages;
pub mod stats;
pub mod turns;
