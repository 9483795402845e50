//! The files of the repository, as they stand.

use std::path::Path;

/// The text of a file, by its path from the root of the repository.
#[must_use]
pub fn repository(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    std::fs::read_to_string(root.join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// `toml` with other texts in the place of some that it has, each once.
#[must_use]
pub fn edited(toml: &str, edits: &[(&str, &str)]) -> String {
    let edit = |toml: String, (there, wanted): &(&str, &str)| {
        assert_eq!(toml.matches(there).count(), 1, "not once: {there}");
        toml.replace(there, wanted)
    };
    edits.iter().fold(toml.to_owned(), edit)
}

/// Edits for a topic on three brokers, two of which must have an event before its 200.
pub const ON_THREE_BROKERS: [(&str, &str); 2] = [
    ("replication = 1", "replication = 3"),
    ("min_insync  = 1", "min_insync  = 2"),
];
