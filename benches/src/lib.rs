//! What the measuring programs share.

pub mod bare;
pub mod cpu;
pub mod events;
pub mod load;
pub mod null;
pub mod plot;
pub mod produce;
pub mod stages;
pub mod stats;
