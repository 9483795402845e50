//! What every measuring program shares, whatever it measures: sides that take turns, medians and spreads of them, processor
//! time, and pages with tables and plots. It knows nothing of what is measured, so that whoever uses it compiles nothing else.

pub mod cpu;
pub mod machine;
pub mod page;
pub mod plot;
pub mod stats;
pub mod turns;
