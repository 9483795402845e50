//! Slabs that came, cut into batches, until the last of these has its outcome.

use std::ops::Range;

use smallvec::{SmallVec, smallvec};

use super::{Action, Engine, Place};
use crate::{
    Outcome, Part, Receipt, Slab, Time,
    batch::{self, HEAD_BYTES},
    partition::Batch,
    receipt::{Reason, codes},
};

/// A slab whose receipt is still to come.
#[derive(Debug)]
pub(super) struct Held<S> {
    pub(super) slab: S,
    pub(super) place: Place,
    /// Which of all slabs it is.
    number: u64,
    bytes: usize,
    parts: Vec<Part>,
    /// Batches without an outcome.
    open: usize,
}

impl<S: Slab> Engine<S> {
    /// Takes a slab. Its receipt comes by [`Engine::action`], at the latest after `delivery_timeout`.
    pub fn submit(&mut self, slab: S, now: Time) {
        let bytes = slab.bytes();
        let place = match self.place(&slab) {
            Ok(place) if self.held_bytes + bytes <= self.settings.queue_bytes_max => place,
            Ok(_) => return self.refuse(slab, Reason::of(codes::QUEUE_FULL)),
            Err(reason) => return self.refuse(slab, reason),
        };
        let cuts = cuts(&slab, self.batch_bytes_max[place.0]);
        self.held_bytes += bytes;
        self.submitted += 1;
        let deadline = now + self.settings.delivery_timeout;
        let key = self.slabs.insert(Held {
            slab,
            place,
            number: self.submitted,
            bytes,
            parts: Vec::with_capacity(cuts.len()),
            open: cuts.len(),
        });
        self.deadlines.push_back((deadline, key, self.submitted));
        let waiting = &mut self.partitions[place.0][place.1].waiting;
        for (records, bytes_max) in cuts {
            self.batches += 1;
            waiting.push_back(Batch {
                id: self.batches,
                slab: key,
                records,
                bytes_max,
                deadline,
                sequence: None,
                nth: 0,
                on: None,
                perhaps_appended: false,
                is_told: false,
                why: None,
            });
        }
        self.enqueue(place, now);
    }

    fn place(&mut self, slab: &S) -> Result<Place, Reason> {
        let unknown = |what: String| Reason {
            code: codes::NOT_KNOWN,
            message: Some(what),
        };
        let name = slab.topic();
        let topic = self.cluster.topic(name);
        let topic = topic.ok_or_else(|| unknown(format!("topic {name}")))?;
        let partition = usize::try_from(slab.partition()).unwrap_or(usize::MAX);
        if slab.records() == 0 || partition >= self.partitions[topic].len() {
            return Err(unknown(format!(
                "partition {} of topic {name}",
                slab.partition()
            )));
        }
        Ok((topic, partition))
    }

    fn refuse(&mut self, slab: S, reason: Reason) {
        let part = Part {
            records: 0..slab.records(),
            outcome: Outcome::NotStored(reason),
        };
        let parts = vec![part];
        self.actions
            .push_back(Action::Receipt(Receipt { slab, parts }));
    }

    /// Notes the outcome of a batch that has none yet; with the last one the slab's receipt leaves.
    pub(super) fn tell(&mut self, slab: usize, records: Range<usize>, outcome: Outcome) {
        let Some(held) = self.slabs.get_mut(slab) else {
            return;
        };
        held.parts.push(Part { records, outcome });
        held.open -= 1;
        if held.open == 0 {
            let mut held = self.slabs.remove(slab);
            self.held_bytes -= held.bytes;
            held.parts.sort_by_key(|part| part.records.start);
            let (slab, parts) = (held.slab, held.parts);
            self.actions
                .push_back(Action::Receipt(Receipt { slab, parts }));
        }
    }

    /// A batch has become two.
    pub(super) fn cut(&mut self, slab: usize) {
        if let Some(held) = self.slabs.get_mut(slab) {
            held.open += 1;
        }
    }

    /// The partition of a slab that is still held, if it is the one of this number.
    pub(super) fn held_at(&self, slab: usize, number: u64) -> Option<Place> {
        let held = self.slabs.get(slab).filter(|held| held.number == number);
        held.map(|held| held.place)
    }
}

/// A slab as ranges whose batches have at most `bytes_max`, each of one record at least, and what each takes or a little
/// more.
fn cuts<S: Slab>(slab: &S, bytes_max: usize) -> SmallVec<[(Range<usize>, usize); 1]> {
    let (records, whole) = (slab.records(), HEAD_BYTES + slab.encoded_bytes_max());
    if whole <= bytes_max {
        return smallvec![(0..records, whole)];
    }
    let (mut start, mut index, mut bytes) = (0, 0, HEAD_BYTES);
    let mut cuts = SmallVec::new();
    batch::sizes(slab, |record| {
        if bytes + record > bytes_max && index > start {
            cuts.push((start..index, bytes));
            (start, bytes) = (index, HEAD_BYTES);
        }
        bytes += record;
        index += 1;
    });
    cuts.push((start..records, bytes));
    cuts
}
