//! The files that a configuration names: who reads which, and what they hold.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

/// A table whose files a process reads. Those that are named in the others it need not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FilesOf {
    /// `[gateway]`, without the keys, which are read on their own
    Gateway,
    /// `[kafka]`
    Kafka,
    /// `[redis]`
    Redis,
    /// `[mongodb]`
    Mongodb,
    /// `[postgres]`
    Postgres,
    /// `[console]`
    Console,
}

impl FilesOf {
    /// The table's name in the file.
    pub(super) fn table(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Kafka => "kafka",
            Self::Redis => "redis",
            Self::Mongodb => "mongodb",
            Self::Postgres => "postgres",
            Self::Console => "console",
        }
    }
}

/// A file that should hold a secret or a certificate, and does not.
#[derive(Debug, thiserror::Error)]
#[error("{} {what}", file.display())]
pub struct AccessError {
    pub(super) file: PathBuf,
    pub(super) what: String,
}

/// What a file of ours holds.
pub(crate) fn read(file: &Path) -> Result<Vec<u8>, AccessError> {
    fs::read(file).map_err(|error: io::Error| AccessError {
        file: file.to_owned(),
        what: format!("cannot be read: {error}"),
    })
}

/// Who may do what with a file; 0 if there is none.
pub(super) fn mode(file: &Path) -> u32 {
    fs::metadata(file).map_or(0, |data| data.permissions().mode() & 0o777)
}
