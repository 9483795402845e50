//! The inputs and words that are kept.

use std::{fs, path::PathBuf};

use crate::Target;

impl Target {
    /// The inputs that are kept, by the names of their files.
    ///
    /// # Panics
    /// If the corpus cannot be read.
    #[must_use]
    pub fn corpus(&self) -> Vec<(String, Vec<u8>)> {
        let folder = here("corpus").join(self.name);
        let entries = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
        let mut inputs: Vec<_> = entries
            .map(|entry| {
                let path = entry.expect("a folder of files").path();
                let input = fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
                (
                    path.file_name()
                        .unwrap_or_default()
                        .to_string_lossy()
                        .into_owned(),
                    input,
                )
            })
            .collect();
        inputs.sort();
        inputs
    }

    /// The words of its dictionary, which is written as libFuzzer and AFL have it: `"one"` a line, `\xNN` for a byte.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn words(&self) -> Vec<Vec<u8>> {
        let path = here("dictionaries").join(self.words);
        let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let quoted = text
            .lines()
            .filter_map(|line| line.strip_prefix('"')?.strip_suffix('"'));
        quoted.map(unescape).collect()
    }
}

fn here(folder: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(folder)
}

fn unescape(word: &str) -> Vec<u8> {
    let (mut bytes, mut rest) = (Vec::new(), word.as_bytes());
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        let hex = |hex: &[u8]| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok();
        match (first, after) {
            (b'\\', [b'x', a, b, after @ ..]) => {
                bytes.push(hex(&[*a, *b]).expect("two hexadecimal digits"));
                rest = after;
            }
            (b'\\', [escaped, after @ ..]) => {
                bytes.push(*escaped);
                rest = after;
            }
            _ => bytes.push(*first),
        }
    }
    bytes
}
