//! What an operator runs by hand, beside the process that archives.
//!
//! [`dead_letters`] looks at what could not be archived, [`replay`] puts it into its topic again, and [`pass_over`]
//! makes a dead letter of the record at which a partition has stopped;
//! [`rebuild`] counts a stream's archive anew.

pub mod dead_letters;
mod pass_over;
pub mod rebuild;
pub mod replay;
mod retry;
pub mod tables;
