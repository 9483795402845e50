//! What the measuring programs share.

pub mod bare;
pub mod client;
pub mod stats;
