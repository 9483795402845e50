//! The top keys of a counter, found without ever reading all of a large one at once.
//!
//! A counter's hash is read in steps (HSCAN), a step at a time. The best that a pass has seen so far, and the best of the
//! pass before, are candidates; their figures are read again with each step, so that what is shown is of this moment. Only
//! which keys are the greatest is, for a hash of several steps, as old as a pass.

use std::collections::HashMap;

/// Keys that are shown.
pub const SHOWN: usize = 10;
/// Keys that are kept in mind beside them: one of these may overtake.
const CANDIDATES: usize = 3 * SHOWN;
/// Bytes of a key up to which its figure is read again by name; longer ones wait for the next pass.
const KEY_BYTES_MAX: usize = 8192;

/// How far a counter has been read.
#[derive(Debug, Default)]
pub struct Top {
    cursor: u64,
    /// Whether `cursor` stands within a pass.
    is_within: bool,
    /// The best of the pass so far.
    found: HashMap<String, i64>,
    /// The best of the last whole pass, as they were last.
    best: HashMap<String, i64>,
}

impl Top {
    /// Where the next step begins.
    #[must_use]
    pub fn cursor(&self) -> u64 {
        self.cursor
    }

    /// Keys whose figures are to be read with it: none where a step is the whole.
    #[must_use]
    pub fn again(&self) -> Vec<String> {
        match self.is_within {
            true => {
                let keys = self.best.keys();
                keys.filter(|key| key.len() <= KEY_BYTES_MAX)
                    .cloned()
                    .collect()
            }
            false => Vec::new(),
        }
    }

    /// What a step has read, and where the next begins; `again` are the figures of [`Top::again`].
    pub fn step(&mut self, next: u64, read: Vec<(String, i64)>, again: Vec<(String, Option<i64>)>) {
        for (key, figure) in again {
            match figure {
                Some(figure) => _ = self.best.insert(key, figure),
                None => _ = self.best.remove(&key),
            }
        }
        self.found.extend(read);
        cut(&mut self.found);
        self.cursor = next;
        self.is_within = next != 0;
        if next == 0 {
            self.best = std::mem::take(&mut self.found);
        }
    }

    /// Begins anew: the connection was another one.
    pub fn forget(&mut self) {
        *self = Self::default();
    }

    /// The greatest, the greatest first; equal ones by name.
    #[must_use]
    pub fn shown(&self) -> Vec<(&str, i64)> {
        let both = self.best.iter().chain(
            self.found
                .iter()
                .filter(|(key, _)| !self.best.contains_key(*key)),
        );
        let mut all: Vec<_> = both.map(|(key, figure)| (key.as_str(), *figure)).collect();
        all.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
        all.truncate(SHOWN);
        all
    }
}

fn cut(found: &mut HashMap<String, i64>) {
    if found.len() <= CANDIDATES {
        return;
    }
    let mut all: Vec<_> = found.drain().collect();
    all.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    all.truncate(CANDIDATES);
    found.extend(all);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(range: std::ops::Range<i64>) -> Vec<(String, i64)> {
        range.map(|n| (format!("k{n}"), n)).collect()
    }

    #[test]
    fn a_small_counter_is_whole_with_each_step() {
        let mut top = Top::default();
        top.step(0, keys(0..20), Vec::new());
        assert!(top.again().is_empty());
        assert_eq!(top.shown()[..2], [("k19", 19), ("k18", 18)]);
        assert_eq!(top.shown().len(), SHOWN);
        top.step(0, keys(0..3), Vec::new());
        assert_eq!(top.shown(), [("k2", 2), ("k1", 1), ("k0", 0)]);
    }

    #[test]
    fn a_large_counter_is_read_in_steps_and_its_best_again_with_each() {
        let mut top = Top::default();
        top.step(7, keys(0..1000), Vec::new());
        assert_eq!(top.shown()[0], ("k999", 999), "before the pass ends");
        top.step(0, keys(1000..2000), Vec::new());
        assert_eq!(top.shown()[0], ("k1999", 1999));
        top.step(7, keys(0..1000), Vec::new());
        let again: Vec<_> = top
            .again()
            .into_iter()
            .map(|key| match &*key {
                "k1999" => (key, None),
                "k1998" => (key, Some(5000)),
                _ => (key, Some(1)),
            })
            .collect();
        assert_eq!(again.len(), CANDIDATES);
        top.step(9, Vec::new(), again);
        assert_eq!(top.shown()[0], ("k1998", 5000));
        assert!(!top.shown().iter().any(|(key, _)| *key == "k1999"));
    }
}
