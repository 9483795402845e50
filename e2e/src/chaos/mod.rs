//! Faults under load, alone and in mixtures, and what they cost: what the oracle says of each round,
//! and how long it takes from the end of a fault to normal service.

mod begun;
mod fault;
mod figures;
mod probe;
mod round;

pub use fault::{Fault, Rule, Service};
pub use figures::Figures;
pub use round::{Mix, round};
