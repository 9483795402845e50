//! Room for open files: each connection is one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the bound of open files as far as the system lets us, and warns if that is less than the `needed` ones; `what`
/// needs them.
pub fn raise_limit(needed: u64, what: &str) {
    let limit = getrlimit(Resource::Nofile);
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
            "the system allows fewer open files than {what}: raise its hard limit (ulimit -Hn, LimitNOFILE)"
        );
    }
}
