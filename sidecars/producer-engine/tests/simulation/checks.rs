//! What has to hold, whatever happens.

use std::collections::BTreeMap;

use kafka_protocol::records;
use producer_engine::{Outcome, Receipt, Slab as _, receipt::codes};

use crate::{
    cluster::Place,
    events::{Mark, Number, Shared},
    log::Entry,
    seen::Seen,
    world::World,
};

/// What a record was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Nothing,
    /// In which of its topic's lives, if that is known, and where.
    Stored(Option<usize>, i64),
    NotStored,
    Unknown,
}

struct Fate {
    slab: Shared,
    submitted_at: u64,
    is_received: bool,
    told: Vec<Told>,
    /// How often each record was ever appended to a leader's log.
    appended: Vec<u32>,
}

/// A topic's place, a partition's number, a producer's id, its epoch, the number of a record.
type Numbered = (usize, i32, i64, i16, i32);

#[derive(Default)]
pub(crate) struct Checks {
    fates: Vec<Fate>,
    open: usize,
    open_bytes: usize,
    /// Slabs from here on came when everything had recovered.
    pub(crate) probes_from: Number,
    /// Which record was ever sent under a number.
    numbers: BTreeMap<Numbered, (Number, usize)>,
}

/// 2^31: numbers begin anew after the one before.
const NUMBERS: i64 = 1 << 31;

impl Checks {
    pub(crate) fn count(&self) -> Number {
        self.fates.len()
    }

    pub(crate) fn topic(&self, slab: Number) -> usize {
        self.fates[slab].slab.0.topic
    }

    pub(crate) fn is_all_told(&self) -> bool {
        self.open == 0
    }

    pub(crate) fn submitted(&mut self, slab: &Shared, now: u64) {
        let records = slab.records();
        self.open += 1;
        self.open_bytes += slab.bytes();
        self.fates.push(Fate {
            slab: slab.clone(),
            submitted_at: now,
            is_received: false,
            told: vec![Told::Nothing; records],
            appended: vec![0; records],
        });
    }

    /// A record on the wire has to be what its slab has.
    pub(crate) fn is_of(&self, mark: Mark, record: &records::Record, partition: i32) {
        let slab = &self.fates[mark.slab].slab.0;
        assert!(
            slab.is(mark, record),
            "another record than that of the slab"
        );
        assert_eq!(slab.partition, partition, "another partition");
    }

    /// A batch is on the wire: its numbers are those of its records only.
    pub(crate) fn sent(&mut self, batch: &Entry, partition: i32) {
        let topic = self.topic(batch.slab);
        assert!(batch.sequence >= 0 && batch.epoch >= 0 && batch.producer >= 0);
        for nth in 0..batch.records {
            let number = (i64::from(batch.sequence) + nth as i64) % NUMBERS;
            let key = (topic, partition, batch.producer, batch.epoch, number as i32);
            let record = (batch.slab, batch.first + nth);
            let before = *self.numbers.entry(key).or_insert(record);
            assert_eq!(before, record, "the number {key:?} of two records");
        }
    }

    /// A batch is in a leader's log.
    pub(crate) fn appended(&mut self, batch: &Entry, place: Place) {
        let fate = &mut self.fates[batch.slab];
        for index in batch.first..batch.first + batch.records {
            fate.appended[index] += 1;
            assert_ne!(
                fate.told[index],
                Told::NotStored,
                "slab {} was told not stored, and is appended to {place:?}",
                batch.slab
            );
        }
    }

    pub(crate) fn is_held(&self, held: usize, bytes: usize) {
        assert_eq!(held, self.open, "slabs that are held");
        assert_eq!(bytes, self.open_bytes, "bytes that are held");
    }
}

impl World {
    /// A receipt came; whether it says of everything that it is stored.
    pub(crate) fn receive(&mut self, receipt: &Receipt<Shared>) -> bool {
        let number = receipt.slab.0.number;
        let records = receipt.slab.records();
        let timeout = self.plan.settings.delivery_timeout.as_micros() as u64;
        {
            let fate = &mut self.checks.fates[number];
            assert!(!fate.is_received, "a second receipt of slab {number}");
            fate.is_received = true;
            let age = self.now - fate.submitted_at;
            assert!(
                age <= timeout + 2_000,
                "slab {number} is told after {age} us"
            );
        }
        self.checks.open -= 1;
        self.checks.open_bytes -= receipt.slab.bytes();
        let mut next = 0;
        for part in &receipt.parts {
            assert_eq!(part.records.start, next, "parts one after the other");
            assert!(part.records.end > next, "an empty part");
            next = part.records.end;
            let seen = match &part.outcome {
                Outcome::Stored { .. } => Seen::Stored,
                Outcome::NotStored(why) if why.code == codes::QUEUE_FULL => Seen::QueueFull,
                Outcome::NotStored(_) => Seen::NotStored,
                Outcome::TooLarge(_) => Seen::TooLarge,
                Outcome::Unknown(why) if why.code == codes::NOT_ANSWERED => Seen::NotAnswered,
                Outcome::Unknown(_) => Seen::Unknown,
            };
            self.saw(seen);
            let told = match &part.outcome {
                Outcome::Stored { offset, topic } => {
                    let life = topic.map(|id| {
                        let life = self.lives.iter().position(|l| l.id == id);
                        life.expect("the id of a topic that was there")
                    });
                    self.is_stored(
                        number,
                        part.records.start,
                        part.records.len(),
                        life,
                        *offset,
                    );
                    Told::Stored(life, *offset)
                }
                Outcome::NotStored(_) | Outcome::TooLarge(_) => {
                    let appended = &self.checks.fates[number].appended[part.records.clone()];
                    assert!(
                        appended.iter().all(|times| *times == 0),
                        "slab {number} is told not stored, and was appended"
                    );
                    Told::NotStored
                }
                Outcome::Unknown(_) => Told::Unknown,
            };
            self.checks.fates[number].told[part.records.clone()].fill(told);
            if self.checks.probes_from > 0 && number >= self.checks.probes_from {
                let is_full = matches!(&part.outcome, Outcome::NotStored(why) if why.code == codes::QUEUE_FULL);
                assert!(
                    matches!(told, Told::Stored(..)) || is_full,
                    "nothing goes wrong, and slab {number} is told {:?}",
                    part.outcome
                );
            }
        }
        assert_eq!(next, records, "parts of every record");
        if self.plan.is_gentle && self.topics[receipt.slab.0.topic].made == 1 {
            let is_fine = receipt.parts.iter().all(|part| match &part.outcome {
                Outcome::Stored { .. } | Outcome::TooLarge(_) => true,
                Outcome::NotStored(why) => {
                    [codes::QUEUE_FULL, codes::NOT_KNOWN].contains(&why.code)
                }
                Outcome::Unknown(_) => false,
            });
            assert!(
                is_fine,
                "nothing is lost here, and slab {number} is told {:?}",
                receipt.parts
            );
        }
        let mut told = self.checks.fates[number].told.iter();
        told.all(|told| matches!(told, Told::Stored(..)))
    }

    /// A batch has to be in the committed log of its partition at this offset.
    fn is_stored(&self, slab: Number, first: usize, records: usize, life: Option<usize>, at: i64) {
        let (topic, partition) = {
            let slab = &self.checks.fates[slab].slab.0;
            (slab.topic, slab.partition as usize)
        };
        let mut lives = self.lives.iter().enumerate();
        let is_there = lives.any(|(place, one)| {
            one.topic == topic
                && life.is_none_or(|life| life == place)
                && one.partitions.get(partition).is_some_and(|p| {
                    let found = p.committed.binary_search_by_key(&at, |entry| entry.offset);
                    found.is_ok_and(|nth| {
                        let entry = &p.committed[nth];
                        (entry.slab, entry.first, entry.records) == (slab, first, records)
                    })
                })
        });
        assert!(
            is_there,
            "slab {slab} is told stored at {at}, and is not there"
        );
    }

    /// Everything has recovered: what waits for partitions that are there has been told.
    pub(crate) fn check_progress(&self) {
        for fate in self.checks.fates.iter().filter(|f| !f.is_received) {
            let slab = &fate.slab.0;
            let life = self.topics[slab.topic].life.expect("a topic");
            let is_there = (slab.partition as usize) < self.lives[life].partitions.len();
            assert!(!is_there, "slab {} is stuck", slab.number);
        }
    }

    /// At the end of a history.
    pub(crate) fn check_all(&self) {
        let untold = self.checks.fates.iter().find(|f| !f.is_received);
        if let Some(fate) = untold {
            panic!("slab {} was never told anything", fate.slab.0.number);
        }
        let pause = self.plan.settings.backoff.as_micros() as u64;
        let may_be = 2 + self.now / pause + self.connections.len() as u64;
        assert!(self.asked <= may_be, "the cluster is asked without a pause");
        for (place, life) in self.lives.iter().enumerate() {
            for (number, partition) in life.partitions.iter().enumerate() {
                let told = |entry: &Entry| self.checks.fates[entry.slab].told[entry.first];
                let mut times = BTreeMap::new();
                let mut last = None;
                for entry in &partition.committed {
                    for index in entry.first..entry.first + entry.records {
                        *times.entry((entry.slab, index)).or_insert(0) += 1;
                    }
                    let is_here = match told(entry) {
                        Told::Stored(Some(life), offset) => (life, offset) == (place, entry.offset),
                        // Without ids nobody can tell one life of a topic from the next.
                        Told::Stored(None, offset) => {
                            offset == entry.offset && self.topics[life.topic].made == 1
                        }
                        _ => false,
                    };
                    if is_here {
                        let this = Some((entry.slab, entry.first));
                        assert!(
                            last < this,
                            "{place}-{number}: {this:?} after {last:?}, which was submitted later"
                        );
                        last = this;
                    }
                }
                for ((slab, index), times) in times {
                    let is_unknown = self.checks.fates[slab].told[index] == Told::Unknown;
                    assert!(
                        times == 1 || is_unknown,
                        "{place}-{number}: record {index} of slab {slab} is there {times} times"
                    );
                }
            }
        }
        if self.is_told {
            let told: Vec<_> = self.checks.fates.iter().flat_map(|f| &f.told).collect();
            let of = |what: fn(&Told) -> bool| told.iter().filter(|t| what(t)).count();
            eprintln!(
                "{} records: {} stored, {} not, {} unknown",
                told.len(),
                of(|t| matches!(t, Told::Stored(..))),
                of(|t| *t == Told::NotStored),
                of(|t| *t == Told::Unknown)
            );
        }
    }
}
