//! The files of the repository, as they stand.

use std::path::Path;

/// The text of a file, by its path from the root of the repository.
#[must_use]
pub fn repository(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    std::fs::read_to_string(root.join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}
