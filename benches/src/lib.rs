//! What the measuring programs share.

pub mod bare;
pub mod client;
pub mod cpu;
pub mod events;
pub mod load;
pub mod machine;
pub mod null;
pub mod plot;
pub mod produce;
pub mod stages;
pub mod stats;
