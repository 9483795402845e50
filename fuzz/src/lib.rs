//! What strangers send, invented: each target takes any bytes at all, and panics if what reads them breaks a promise.
//!
//! They run in two ways, over the same corpus (`corpus/TARGET/`) and the same words (`dictionaries/`): as ordinary
//! tests, which read the corpus and some thousand [`mutate`]d inputs, the same ones every time; and under libFuzzer,
//! led by coverage, for as long as one likes (`make fuzz`). `docs/fuzzing.md` says how.

pub mod corpus;
pub mod mutate;
mod oracle;
mod targets;

pub use targets::TARGETS;

/// One thing that is fuzzed.
pub struct Target {
    /// Its name, which is that of its corpus.
    pub name: &'static str,
    /// Words that its inputs are made of: a file of `dictionaries/`.
    pub words: &'static str,
    /// Panics if `input` is not read as it should be.
    pub run: fn(input: &[u8]),
}
