//! The Unix sockets between the containers of a pod.

use std::{io, os::unix::fs::FileTypeExt as _, path::Path};

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
    match std::fs::symlink_metadata(path) {
        Ok(file) if file.file_type().is_socket() => std::fs::remove_file(path).map_err(explain)?,
        Ok(_) => {
            let detail = "a file that is no socket stands there; configure another path";
            return Err(explain(io::Error::new(
                io::ErrorKind::AlreadyExists,
                detail,
            )));
        }
        Err(_) => {} // nothing there, or `bind` will say what is wrong
    }
    UnixListener::bind(path).map_err(explain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_a_socket_that_nobody_serves_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sub/a.sock");
        let first = listen(&path).await.unwrap();
        assert_eq!(
            listen(&path).await.unwrap_err().kind(),
            io::ErrorKind::AddrInUse
        );
        drop(first);
        assert!(listen(&path).await.is_ok());

        let file = folder.path().join("precious");
        std::fs::write(&file, "kept").unwrap();
        assert_eq!(
            listen(&file).await.unwrap_err().kind(),
            io::ErrorKind::AlreadyExists
        );
        assert_eq!(std::fs::read(&file).unwrap(), b"kept");
    }
}
