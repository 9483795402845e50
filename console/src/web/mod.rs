//! HTTP for browsers.
//!
//! [`serve`] takes connections, [`route`] finds what a request is for, [`answer`] has the headers of every answer, and
//! [`events`] is a stream of updates.

mod answer;
mod events;
mod host;
mod route;
mod serve;

pub use route::Site;
pub use serve::serve;
