//! What an operator runs by hand, beside the process that archives.
//!
//! [`dead_letters`] looks at what could not be archived, and [`replay`] puts it into its topic again;
//! [`rebuild`] counts a stream's archive anew.

pub mod dead_letters;
pub mod rebuild;
mod replay;
