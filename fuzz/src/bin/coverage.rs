//! One target under libFuzzer, which looks for inputs that reach code no other has reached. `scripts/fuzz` builds
//! it with the instruments and starts it.
#![no_main]

use std::sync::LazyLock;

use fuzz::Target;

/// The one that is asked for.
static TARGET: LazyLock<&Target> = LazyLock::new(|| {
    let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
    let found = fuzz::TARGETS.iter().find(|target| target.name == name);
    found.unwrap_or_else(|| panic!("FUZZ_TARGET={name}: no such target"))
});

libfuzzer_sys::fuzz_target!(|input: &[u8]| (TARGET.run)(input));
