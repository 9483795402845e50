//! Room for connections: each is an open file.

use std::os::fd::AsRawFd;

use aguacero::open_files;
use rustix::process::{Resource, getrlimit};

/// Files beside the connections: sockets of the sidecars, the admin port, the runtime's own.
const OTHERS: u64 = 128;
/// Of them, those that are left to the others however low the limit is.
const LEFT: u64 = 32;

/// Raises the bound of open files to what `connections` need; those beyond it would wait to be accepted until others
/// close.
pub(crate) fn raise_limit(connections: usize) {
    let what = "gateway.connections_max needs, which can be lowered";
    open_files::raise_limit(connections as u64 + OTHERS, what);
}

/// Whether a file that was opened just now has one of the last descriptors: the system gives the lowest that is free.
pub(crate) fn are_short(newest: &impl AsRawFd) -> bool {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    u64::try_from(newest.as_raw_fd()).is_ok_and(|number| number >= limit.saturating_sub(LEFT))
}
