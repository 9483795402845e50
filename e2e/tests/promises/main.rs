//! The promises of Aguacero, each shown on the real processes and the real services.

mod contract;
mod hostile;
mod pipeline;
mod streams;
