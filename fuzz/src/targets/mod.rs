//! The targets, in the order of an event's way.

mod answers;
mod config;
mod decode;
mod deltas;
mod header;
mod packed;
mod receipts;
mod record;
mod slab;
mod split;

use std::sync::LazyLock;

use aguacero::config::Config;

use crate::Target;

/// All of them.
pub const TARGETS: &[Target] = &[
    Target {
        name: "config",
        words: "toml.dict",
        run: config::run,
    },
    Target {
        name: "header",
        words: "header.dict",
        run: header::run,
    },
    Target {
        name: "packed",
        words: "packed.dict",
        run: packed::run,
    },
    Target {
        name: "split",
        words: "json.dict",
        run: split::run,
    },
    Target {
        name: "decode",
        words: "json.dict",
        run: decode::run,
    },
    Target {
        name: "slab",
        words: "wire.dict",
        run: slab::run,
    },
    Target {
        name: "receipts",
        words: "wire.dict",
        run: receipts::run,
    },
    Target {
        name: "deltas",
        words: "wire.dict",
        run: deltas::run,
    },
    Target {
        name: "answers",
        words: "kafka.dict",
        run: answers::run,
    },
    Target {
        name: "record",
        words: "json.dict",
        run: record::run,
    },
];

/// What the targets are configured with: a stream with every kind of field, and small bounds.
static CONFIG: LazyLock<Config> = LazyLock::new(|| {
    let text = include_str!("fuzz.toml");
    Config::parse(text, "fuzz.toml", []).unwrap_or_else(|mistakes| panic!("{mistakes}"))
});
