//! The scripts as Redis is given them.

use std::sync::LazyLock;

use redis::Script;

use crate::config::Stream;

macro_rules! with_common {
    ($name:ident, $file:literal) => {
        pub(super) static $name: LazyLock<Script> =
            LazyLock::new(|| Script::new(concat!(include_str!("common.lua"), include_str!($file))));
    };
}

with_common!(LIVE, "live.lua");
with_common!(SETTLE, "settle.lua");
with_common!(LOOK, "look.lua");
with_common!(CHECK, "check.lua");

pub(super) static CLEAR: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("clear.lua")));

/// What every key of the stream begins with.
pub(super) fn tag(stream: &Stream) -> String {
    format!("{{{}}}", stream.name)
}

/// As it is kept in `meta`.
pub(super) fn fingerprint(stream: &Stream) -> String {
    format!("{:016x}", stream.counters_fingerprint)
}
