//! A replica's log, and what it knows of producers: as `ProducerStateManager` and `ProducerAppendInfo` of Kafka 3 and 4.

use crate::events::Number;

/// Batches of a producer of which a replica knows the numbers.
const REMEMBERED: usize = 5;

/// A record batch, as far as anybody cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Which of all appends in this history it comes from.
    pub(crate) append: u64,
    pub(crate) offset: i64,
    pub(crate) records: usize,
    pub(crate) producer: i64,
    pub(crate) epoch: i16,
    pub(crate) sequence: i32,
    /// The slab, and the position in it of the batch's first record.
    pub(crate) slab: Number,
    pub(crate) first: usize,
    pub(crate) at: u64,
}

impl Entry {
    fn last_sequence(&self) -> i32 {
        incremented(self.sequence, self.records - 1)
    }

    pub(crate) fn end(&self) -> i64 {
        self.offset + self.records as i64
    }
}

/// `DefaultRecordBatch.incrementSequence`
fn incremented(sequence: i32, by: usize) -> i32 {
    let by = by as i32;
    match sequence > i32::MAX - by {
        true => by - (i32::MAX - sequence) - 1,
        false => sequence + by,
    }
}

struct Producer {
    id: i64,
    epoch: i16,
    /// The first number, the last one, and the offset of the batch.
    batches: Vec<(i32, i32, i64)>,
    at: u64,
}

/// What a replica has to say of a batch.
pub(crate) enum Check {
    /// It is the next one.
    Next,
    /// It has it, at this offset.
    Has(i64),
    /// An error's code.
    Refused(i16),
}

pub(crate) const OUT_OF_ORDER: i16 = 45;
pub(crate) const INVALID_PRODUCER_EPOCH: i16 = 47;

#[derive(Default)]
pub(crate) struct Log {
    pub(crate) entries: Vec<Entry>,
    producers: Vec<Producer>,
    pub(crate) high_watermark: i64,
}

impl Log {
    pub(crate) fn end(&self) -> i64 {
        self.entries.last().map_or(0, Entry::end)
    }

    /// `expires_after`: when a producer that writes nothing is forgotten. `wants_zero`: one that is not known has to
    /// begin with 0, as from Kafka 4.5 on.
    pub(crate) fn check(
        &mut self,
        batch: &Entry,
        expires_after: u64,
        wants_zero: bool,
    ) -> (Check, bool) {
        let known = self.producers.len();
        self.producers.retain(|p| batch.at < p.at + expires_after);
        let is_forgotten = self.producers.len() < known;
        (self.judge(batch, wants_zero), is_forgotten)
    }

    fn judge(&self, batch: &Entry, wants_zero: bool) -> Check {
        let Some(known) = self.producers.iter().find(|p| p.id == batch.producer) else {
            return match wants_zero && batch.sequence != 0 {
                true => Check::Refused(OUT_OF_ORDER),
                false => Check::Next,
            };
        };
        if known.epoch == batch.epoch {
            let numbers = (batch.sequence, batch.last_sequence());
            let same = known.batches.iter().find(|b| (b.0, b.1) == numbers);
            if let Some((.., offset)) = same {
                return Check::Has(*offset);
            }
        }
        if batch.epoch < known.epoch {
            return Check::Refused(INVALID_PRODUCER_EPOCH);
        }
        let expected = match known.epoch == batch.epoch {
            true => known.batches.last().map_or(0, |b| incremented(b.1, 1)),
            false => 0,
        };
        match batch.sequence == expected {
            true => Check::Next,
            false => Check::Refused(OUT_OF_ORDER),
        }
    }

    pub(crate) fn append(&mut self, entry: Entry) {
        self.entries.push(entry);
        self.remember(entry);
    }

    fn remember(&mut self, entry: Entry) {
        let known = self.producers.iter_mut().find(|p| p.id == entry.producer);
        let batch = (entry.sequence, entry.last_sequence(), entry.offset);
        match known {
            Some(known) => {
                if known.epoch != entry.epoch {
                    known.epoch = entry.epoch;
                    known.batches.clear();
                }
                if known.batches.len() == REMEMBERED {
                    known.batches.remove(0);
                }
                known.batches.push(batch);
                known.at = entry.at;
            }
            None => self.producers.push(Producer {
                id: entry.producer,
                epoch: entry.epoch,
                batches: vec![batch],
                at: entry.at,
            }),
        }
    }

    /// Only so many batches are left.
    pub(crate) fn truncate(&mut self, entries: usize) {
        if entries >= self.entries.len() {
            return;
        }
        self.entries.truncate(entries);
        self.high_watermark = self.high_watermark.min(self.end());
        self.producers.clear();
        for at in 0..self.entries.len() {
            self.remember(self.entries[at]);
        }
    }

    /// Takes over what `leader` has and this has not, at most `entries` batches; whether it has all of it then.
    pub(crate) fn follow(&mut self, leader: &Log, entries: usize) -> bool {
        let missing = leader.entries.iter().skip(self.entries.len());
        let missing: Vec<_> = missing.take(entries).copied().collect();
        for entry in missing {
            self.append(entry);
        }
        self.high_watermark = leader.high_watermark.min(self.end());
        self.entries.len() == leader.entries.len()
    }

    /// Drops what `leader` does not have; whether there was anything.
    pub(crate) fn diverge(&mut self, leader: &Log) -> bool {
        let mut same = self.entries.len().min(leader.entries.len());
        while same > 0 && self.entries[same - 1].append != leader.entries[same - 1].append {
            same -= 1;
        }
        let is_longer = same < self.entries.len();
        self.truncate(same);
        is_longer
    }
}
