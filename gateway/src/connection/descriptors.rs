//! Room for connections: each is an open file.

use std::os::fd::AsRawFd;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files beside the connections: sockets of the sidecars, the admin port, the runtime's own.
const OTHERS: u64 = 128;
/// Of them, those that are left to the others however low the limit is.
const LEFT: u64 = 32;

/// Raises the bound of open files as far as the system lets us, and warns if that is less than
/// `connections` need: those beyond it would wait to be accepted until others close.
pub(crate) fn raise_limit(connections: usize) {
    let limit = getrlimit(Resource::Nofile);
    let needed = connections as u64 + OTHERS;
    if limit.current.is_none_or(|current| current >= needed) {
        return;
    }
    let raised = Rlimit {
        current: limit
            .maximum
            .map_or(Some(needed), |max| Some(max.min(needed))),
        ..limit
    };
    let open_files = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => raised.current,
        Err(_) => limit.current,
    };
    let open_files = open_files.unwrap_or(u64::MAX);
    if open_files < needed {
        tracing::warn!(
            open_files,
            needed,
            "the system allows fewer open files than gateway.connections_max needs: raise its hard limit (ulimit -Hn, LimitNOFILE), or lower connections_max"
        );
    }
}

/// Whether a file that was opened just now has one of the last descriptors: the system gives the lowest that is free.
pub(crate) fn are_short(newest: &impl AsRawFd) -> bool {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    u64::try_from(newest.as_raw_fd()).is_ok_and(|number| number >= limit.saturating_sub(LEFT))
}
