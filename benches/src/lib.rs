//! What the measuring programs of the pipeline share.

pub use figures::{cpu, machine, page, plot, stats, turns};

pub mod bare;
pub mod deltas;
pub mod events;
pub mod hincrby;
pub mod insert;
pub mod load;
pub mod locust;
pub mod null;
#[cfg(feature = "krafka")]
pub mod peer;
pub mod produce;
pub mod service;
pub mod sides;
pub mod stages;
