//! What the redis-writer has not acknowledged yet, merged by where it belongs.

use std::collections::{HashMap, hash_map::Entry as MapEntry};

use aguacero::{
    config::{Config, Stream},
    counts::Deltas,
};
use aguacero_proto::deltas::{CounterDeltas, DeltaFrame, Entry, StreamDeltas};

use crate::metric;

/// What is kept while nobody takes it; beyond, it is dropped. All of it goes into one frame, and the
/// redis-writer takes twice as much.
const UNSENT_BYTES_MAX: usize = 8 << 20;
/// What a place takes in a frame beside its keys.
const PLACE_OVERHEAD: usize = 128;

/// What the redis-writer has not acknowledged.
#[derive(Default)]
pub(super) struct Pending {
    /// Merged, and not yet in a frame.
    pub(super) unsent: HashMap<Place, Delta>,
    /// What `unsent` takes in a frame, at most.
    pub(super) bytes: usize,
    /// Sent; repeated unchanged until it is acknowledged.
    pub(super) sent: Option<DeltaFrame>,
    pub(super) sequence: u64,
}

/// Where the entries of a ledger stand.
#[derive(PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub(super) stream: usize,
    pub(super) incarnation: String,
    pub(super) partition: i32,
}

pub(super) struct Delta {
    pub(super) first: i64,
    pub(super) last: i64,
    pub(super) deltas: Deltas,
}

impl Pending {
    pub(super) fn merge(&mut self, place: Place, delta: Delta) {
        if self.bytes + delta.deltas.bytes() > UNSENT_BYTES_MAX {
            metric::deltas_dropped(self.unsent.len() + 1);
            self.unsent.clear();
            self.bytes = 0;
            return;
        }
        self.bytes += match self.unsent.entry(place) {
            MapEntry::Vacant(vacant) => PLACE_OVERHEAD + vacant.insert(delta).deltas.bytes(),
            MapEntry::Occupied(mut occupied) => {
                let merged = occupied.get_mut();
                merged.first = merged.first.min(delta.first);
                merged.last = merged.last.max(delta.last);
                merged.deltas.merge(delta.deltas)
            }
        };
    }

    /// The frame to send: the one before, if it was not acknowledged, or what has come since.
    pub(super) fn next_frame(&mut self, config: &Config) -> Option<DeltaFrame> {
        if self.sent.is_none() && !self.unsent.is_empty() {
            self.sequence += 1;
            self.bytes = 0;
            let mut streams: HashMap<usize, Vec<Entry>> = HashMap::new();
            for (place, delta) in self.unsent.drain() {
                let entry = entry(&config.streams[place.stream], &place, delta);
                streams.entry(place.stream).or_default().push(entry);
            }
            let streams = streams.into_iter().map(|(stream, entries)| StreamDeltas {
                stream: config.streams[stream].name.clone(),
                counters_fingerprint: config.streams[stream].counters_fingerprint,
                entries,
            });
            self.sent = Some(DeltaFrame {
                sequence: self.sequence,
                streams: streams.collect(),
            });
        }
        self.sent.clone()
    }
}

fn entry(stream: &Stream, place: &Place, delta: Delta) -> Entry {
    let counters = stream
        .counters
        .iter()
        .zip(delta.deltas.counters)
        .map(|(counter, counts)| {
            let (keys, counts) = counts.into_iter().unzip();
            CounterDeltas {
                counter: counter.name.clone(),
                keys,
                counts,
            }
        });
    Entry {
        incarnation: place.incarnation.clone(),
        partition: place.partition,
        first: delta.first,
        last: delta.last,
        events: delta.deltas.events,
        counters: counters.collect(),
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;

    fn config() -> Config {
        let toml = r#"
[topics.t]
partitions = 1
replication = 1
min_insync = 1
[streams.s]
topic = "t"
fields = [{ name = "a", type = "string" }, { name = "b", type = "string" }]
counters = [{ name = "by_a", by = ["a"] }, { name = "by_both", by = ["a", "b"] }]
[[streams.s.routes]]
path = "/s"
"#;
        Config::parse(toml, "a test's file", []).unwrap()
    }

    fn add(pending: &mut Pending, config: &Config, partition: i32, keys: std::ops::Range<usize>) {
        let mut deltas = Deltas::none(&config.streams[0]);
        for n in keys {
            let key = format!("{n}-{}", "k".repeat(n % 3000));
            deltas.count_keys(&[Some(&key), Some("x")]);
        }
        let place = Place {
            stream: 0,
            incarnation: "an-incarnation-of-22-b".into(),
            partition,
        };
        let (first, last) = (0, i64::MAX);
        let delta = Delta {
            first,
            last,
            deltas,
        };
        pending.merge(place, delta);
    }

    #[test]
    fn whatever_is_kept_fits_one_frame_and_the_rest_is_dropped() {
        let config = config();
        let (mut pending, mut kept) = (Pending::default(), 0);
        for n in 0..400 {
            add(
                &mut pending,
                &config,
                n % 7,
                n as usize * 60..n as usize * 60 + 90,
            );
            assert!(pending.bytes <= UNSENT_BYTES_MAX);
            kept = kept.max(pending.bytes);
            if n % 50 == 49 {
                let estimated = pending.bytes;
                let frame = pending.next_frame(&config).unwrap();
                assert!(
                    frame.encoded_len() <= estimated,
                    "{} of {estimated}",
                    frame.encoded_len()
                );
                pending.sent = None;
                assert_eq!(pending.bytes, 0);
            }
        }
        assert!(kept > UNSENT_BYTES_MAX / 2, "nothing was kept: {kept}");
    }

    #[test]
    fn keys_that_come_again_take_no_further_room() {
        let config = config();
        let mut pending = Pending::default();
        add(&mut pending, &config, 0, 0..50);
        let once = pending.bytes;
        for _ in 0..100_000 {
            add(&mut pending, &config, 0, 0..1);
        }
        assert_eq!(pending.bytes, once);
        assert_eq!(pending.unsent.len(), 1);
    }
}
