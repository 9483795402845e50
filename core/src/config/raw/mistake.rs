//! What is reported.

use std::{fmt, path::Path};

/// One thing to mend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Counted from 1; 0 where it is not in the file but in a variable of the environment.
    pub line: usize,
    /// In characters, counted from 1.
    pub column: usize,
    /// `topics.messages.partitions`, or the variable's name; empty where the TOML itself is broken.
    pub path: String,
    /// What is wrong and how to mend it.
    pub what: String,
}

/// Everything that is wrong with a file, in the order of its lines. Never empty.
#[derive(Debug, Clone)]
pub struct Mistakes {
    file: String,
    list: Vec<Mistake>,
}

impl Mistakes {
    pub(super) fn new(file: &str, mut list: Vec<Mistake>) -> Self {
        list.sort_by_key(|mistake| (mistake.line, mistake.column));
        Self {
            file: file.to_owned(),
            list,
        }
    }

    /// The only mistake of a file that could not be read at all.
    #[must_use]
    pub fn unreadable(path: &Path, error: &std::io::Error) -> Self {
        let what = format!(
            "cannot be read: {error}; name the file with --config or the variable AGUACERO_CONFIG"
        );
        Self::of_all_of(&path.display().to_string(), what)
    }

    /// The only mistake of a file of keys that could not be read at all.
    #[must_use]
    pub fn unreadable_keys(file: &str, error: &std::io::Error) -> Self {
        let what = format!(
            "cannot be read: {error}; gateway.keys names it, and `gateway keys make` makes it"
        );
        Self::of_all_of(file, what)
    }

    fn of_all_of(file: &str, what: String) -> Self {
        let mistake = Mistake {
            line: 0,
            column: 0,
            path: String::new(),
            what,
        };
        Self::new(file, vec![mistake])
    }

    /// The mistakes, sorted by line; those of the environment come first.
    pub fn iter(&self) -> std::slice::Iter<'_, Mistake> {
        self.list.iter()
    }
}

impl<'a> IntoIterator for &'a Mistakes {
    type Item = &'a Mistake;
    type IntoIter = std::slice::Iter<'a, Mistake>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl std::error::Error for Mistakes {}

/// One line each: `aguacero.toml:12:14: topics.messages.partitions: must be …`
impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, mistake) in self.list.iter().enumerate() {
            if i > 0 {
                writeln!(f)?;
            }
            let Mistake {
                line,
                column,
                path,
                what,
            } = mistake;
            match (line, path.as_str()) {
                (0, "") => write!(f, "{}: {what}", self.file)?,
                (0, variable) => write!(f, "{variable}: {what}")?,
                (_, "") => write!(f, "{}:{line}:{column}: {what}", self.file)?,
                (_, path) => write!(f, "{}:{line}:{column}: {path}: {what}", self.file)?,
            }
        }
        Ok(())
    }
}
