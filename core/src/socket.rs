//! The Unix sockets between the containers of a pod.

use std::{io, path::Path};

use tokio::net::UnixListener;

/// Listens on `path`: creates its folder and replaces a socket that nobody answers on any more, but
/// not one that another process still serves.
pub async fn listen(path: &Path) -> io::Result<UnixListener> {
    let explain =
        |e: io::Error| io::Error::new(e.kind(), format!("socket {}: {e}", path.display()));
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(explain)?;
    }
    if tokio::net::UnixStream::connect(path).await.is_ok() {
        let detail = "another process serves it; stop that one, or configure another socket";
        return Err(explain(io::Error::new(io::ErrorKind::AddrInUse, detail)));
    }
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(explain(e)),
        _ => {}
    }
    UnixListener::bind(path).map_err(explain)
}
