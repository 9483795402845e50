//! The processes of the pipeline: each is asked at its admin port, and what they say makes a picture.
//!
//! In reading order: [`ask`] asks all of them, [`prometheus`] reads what they tell, [`judge`] says what is shown of each
//! and where the way of an event stands still.

mod ask;
mod judge;
mod prometheus;

pub use ask::Reader;
