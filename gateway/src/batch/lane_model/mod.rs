//! The lane against a model of all that is behind it: connections that break, a kafka-producer that is
//! started again, a log for each partition, receipts that are late, lost or repeated, topics that are
//! made again. Random histories; nothing here is real but the lane, and its clock is a number.
//!
//! A failure prints the shortest history that proptest found, and the seed of it is kept in
//! `proptest-regressions/`, which the next run repeats first. `PROPTEST_RNG_SEED=n` makes the same choices
//! from the start, `PROPTEST_CASES=n` more of them.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    rc::Rc,
};

use aguacero_proto::produce::{Exception, Outcome as Wire};
use proptest::{prelude::*, sample::Index};
use tokio::sync::oneshot::{Receiver, error::TryRecvError};

use super::*;
use crate::batch::{
    append::{Append, Appending, Origin, Refused},
    slab::decoded,
};

mod checks;
mod world;

use world::World;

const FILE: &str = r#"
[topics.t]
partitions = 4
reserved = { apart = 3 }

[streams.s]
topic = "t"
spread = "sticky"
rules = [ { when = { field = "vip", is = [true] }, partition = "apart" } ]
fields = [ { name = "k", type = "string" }, { name = "vip", type = "boolean" } ]
counters = [ { name = "by_k", by = ["k"] } ]
[[streams.s.routes]]
path = "/s"
"#;
const APART: i32 = 3;
const BOUNDS: Bounds = Bounds {
    frames_max: 2,
    slab_bytes_max: 1200,
    partition_bytes_max: 4000,
    ack_timeout: Duration::from_secs(10),
    partition_slow: Duration::from_secs(1),
};

/// Of all that is on its way.
const BYTES_MAX: usize = 8000;

/// What the kafka-producer and the broker do with one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Stored,
    /// Stored at an offset that librdkafka was not told.
    StoredSomewhere,
    /// Appended, and the answer was lost.
    Appended,
    /// Not appended, and nobody knows.
    Lost,
    NotStored,
    TooLarge,
}

impl Fate {
    fn is_appended(self) -> bool {
        matches!(self, Self::Stored | Self::StoredSomewhere | Self::Appended)
    }

    fn told(self) -> Wire {
        match self {
            Self::Stored | Self::StoredSomewhere => Wire::Stored,
            Self::Appended | Self::Lost => Wire::Unknown,
            Self::NotStored => Wire::NotStored,
            Self::TooLarge => Wire::TooLarge,
        }
    }
}

/// A step of a history. What an index chooses from depends on what there is then.
#[derive(Debug, Clone)]
enum Step {
    /// A request with these events: key and padding.
    Append {
        events: Vec<(u8, usize)>,
        client_key: bool,
    },
    Frame,
    /// Some kafka-producer does its oldest slab of some partition.
    Produce {
        which: Index,
        fates: Vec<Fate>,
    },
    Receipt(Index),
    /// One that came already comes again.
    Repeat(Index),
    LoseReceipt(Index),
    /// The connection breaks when the kafka-producer had read so many slabs of what was on its way.
    Cut {
        read: Index,
        restarted: bool,
    },
    Connect {
        limit: Option<u32>,
    },
    Recreate,
    /// The clock goes on; a receipt or an event may come before deadlines are looked at.
    Later {
        ms: u64,
        looks: bool,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let fate = || {
        prop_oneof![
            4 => Just(Fate::Stored), 1 => Just(Fate::StoredSomewhere), 2 => Just(Fate::Appended),
            2 => Just(Fate::Lost), 2 => Just(Fate::NotStored), 1 => Just(Fate::TooLarge),
        ]
    };
    let fates = prop_oneof![
        3 => fate().prop_map(|fate| vec![fate]),
        1 => prop::collection::vec(fate(), 2..5),
    ];
    let index = any::<Index>;
    let event = || (0..6_u8, 0..60_usize);
    let requests = prop_oneof![
        3 => event().prop_map(|event| vec![event]),
        1 => prop::collection::vec(event(), 2..8),
    ];
    let limit = prop_oneof![4 => Just(None), 1 => (60..100_u32).prop_map(Some)];
    let ms = prop_oneof![4 => 1..100_u64, 2 => 100..1500_u64, 1 => 1500..12_000_u64];
    prop_oneof![
        12 => (requests, prop::bool::weighted(0.3))
            .prop_map(|(events, client_key)| Step::Append { events, client_key }),
        8 => Just(Step::Frame),
        8 => (index(), fates).prop_map(|(which, fates)| Step::Produce { which, fates }),
        8 => index().prop_map(Step::Receipt),
        1 => index().prop_map(Step::Repeat),
        1 => index().prop_map(Step::LoseReceipt),
        2 => (index(), any::<bool>()).prop_map(|(read, restarted)| Step::Cut { read, restarted }),
        4 => limit.prop_map(|limit| Step::Connect { limit }),
        1 => Just(Step::Recreate),
        4 => (ms, prop::bool::weighted(0.7)).prop_map(|(ms, looks)| Step::Later { ms, looks }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases.max(300)))]

    /// Every event has exactly one outcome, which is true and stays true; nothing overtakes, nothing is
    /// forgotten, every byte is given back.
    #[test]
    fn whatever_happens_behind_it_the_lane_keeps_its_promises(
        steps in prop::collection::vec(step(), 1..150)
    ) {
        let mut world = World::new();
        world.connect(None);
        for step in steps {
            world.step(step);
        }
        world.heal();
        world.assert_alive();
        world.assert_promises();
    }
}
