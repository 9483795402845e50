//! Room for connections: each is an open file.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files beside the connections: sockets of the sidecars, the admin port, the runtime's own.
const OTHERS: u64 = 128;

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
