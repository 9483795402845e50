//! Choices by chance that can be made again.

use std::{
    io::Write as _,
    time::{SystemTime, UNIX_EPOCH},
};

/// A source of choices. Its seed is printed, past the capture of a test's output, and E2E_SEED sets it.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// For the test called `name`.
    #[must_use]
    pub fn for_test(name: &str) -> Self {
        let given = std::env::var("E2E_SEED")
            .ok()
            .and_then(|seed| seed.parse().ok());
        let now = || {
            SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default()
                .as_micros() as u64
        };
        let seed = given.unwrap_or_else(now);
        _ = writeln!(std::io::stderr(), "{name}: E2E_SEED={seed}");
        Self(seed)
    }

    /// From a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `sides`.
    pub fn below(&mut self, sides: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }

    /// The seed of a generator with a larger one.
    #[must_use]
    pub fn bytes(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&self.0.to_le_bytes());
        bytes
    }
}
