//! What waits for a partition, what is on its way, and under which numbers.

use std::{collections::VecDeque, ops::Range};

use crate::{ConnectionId, Time, batch::Stamp, receipt::Reason};

/// Numbers of records go up to here, and then on at 0.
const SEQUENCE_MAX: i32 = i32::MAX;
/// Batches of a producer of which a broker knows the numbers: if it has one of these already, it says where.
const REMEMBERED: u64 = 5;
/// A leader that has taken a batch still knows its producer so long after (`producer.id.expiration.ms` is a day).
const KNOWN_FOR: Time = Time::from_secs(60);

/// Records of a slab that travel as one record batch.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Which of all batches it is.
    pub id: u64,
    /// The slab's place among those that are held.
    pub slab: usize,
    /// Positions in the slab.
    pub records: Range<usize>,
    /// Bytes that it takes, or a little more.
    pub bytes_max: usize,
    /// When it is told what is known of it.
    pub deadline: Time,
    /// The number of its first record; none before its first attempt in this epoch.
    pub sequence: Option<i32>,
    /// Which of the partition's batches with a number it is.
    pub nth: u64,
    /// The connection on which it is on its way.
    pub on: Option<ConnectionId>,
    /// Some attempt may have appended it.
    pub perhaps_appended: bool,
    /// It has its outcome; it is kept for what the broker still says of it.
    pub is_told: bool,
    /// Why the last attempt failed.
    pub why: Option<Reason>,
}

/// A partition's batches, oldest first, and the numbers of their records.
#[derive(Debug, Default)]
pub struct Partition {
    /// Those that have numbers: on their way, or to be sent again.
    pub sent: VecDeque<Batch>,
    /// Those that have none yet.
    pub waiting: VecDeque<Batch>,
    /// The producer's id and its epoch here; none: not known yet.
    pub producer: Option<(i64, i16)>,
    /// The number of the next record that gets one.
    pub next_sequence: i32,
    /// How many batches have ever got a number.
    pub numbered: u64,
    /// The leader has taken a batch in this epoch on this connection, and not long ago: it knows this producer, and would
    /// refuse a batch whose predecessor it does not have. Before that, one batch is on its way at a time (KAFKA-15591).
    pub known_on: Option<ConnectionId>,
    /// When it last did.
    pub known_at: Time,
    /// A batch that had a number will not be sent again: those behind it would be refused for ever. A new epoch begins
    /// when nothing is on its way.
    pub is_broken: bool,
    /// Nothing is sent before.
    pub not_before: Time,
    /// Attempts in a row that failed.
    pub failures: u32,
    /// It stands in the queue of those that have something for their leader.
    pub is_queued: bool,
}

impl Partition {
    /// How many batches are on their way.
    pub fn in_flight(&self) -> usize {
        self.sent.iter().filter(|b| b.on.is_some()).count()
    }

    /// Whether there is anything that has not its outcome, or may still get an answer.
    pub fn is_idle(&self) -> bool {
        self.sent.is_empty() && self.waiting.is_empty()
    }

    /// Whether a batch may leave on `connection`, if `now` is late enough.
    pub fn is_ready(&self, connection: ConnectionId, in_flight_max: usize, now: Time) -> bool {
        if self.producer.is_none() || self.is_broken || now < self.not_before {
            return false;
        }
        let in_flight = self.in_flight();
        let is_recent = now.saturating_sub(self.known_at) < KNOWN_FOR;
        let is_known = self.known_on == Some(connection) && is_recent;
        let may_be = if is_known { in_flight_max } else { 1 };
        // One that is to be sent again has to be among those that the broker remembers, or its answer would be lost.
        let again = self.again();
        let next = again.map_or(self.numbered, |b| b.nth);
        let first = self.sent.front().map_or(next, |b| b.nth);
        let is_there = again.is_some() || !self.waiting.is_empty();
        in_flight < may_be && next - first < REMEMBERED && is_there
    }

    /// The batch to be sent next, which gets its number if it has none. Only if [`Self::is_ready`].
    pub fn next(&mut self, connection: ConnectionId) -> Option<(Stamp, &mut Batch)> {
        let (producer, epoch) = self.producer?;
        let again = self.sent.iter().position(|b| b.on.is_none());
        let place = match again {
            Some(place) => place,
            None => {
                let mut batch = self.waiting.pop_front()?;
                batch.sequence = Some(self.next_sequence);
                batch.nth = self.numbered;
                self.numbered += 1;
                self.next_sequence = after(self.next_sequence, batch.records.len());
                self.sent.push_back(batch);
                self.sent.len() - 1
            }
        };
        let batch = self.sent.get_mut(place)?;
        batch.on = Some(connection);
        let sequence = batch.sequence?;
        let stamp = Stamp {
            producer,
            epoch,
            sequence,
        };
        Some((stamp, batch))
    }

    /// What the batch to be sent next takes, or a little more, if there is one.
    pub fn next_bytes_max(&self) -> Option<usize> {
        Some(self.again().or(self.waiting.front())?.bytes_max)
    }

    /// The first batch that is to be sent again.
    fn again(&self) -> Option<&Batch> {
        self.sent.iter().find(|b| b.on.is_none())
    }

    /// The batch in flight of this id.
    pub fn find(&mut self, id: u64) -> Option<usize> {
        self.sent.iter().position(|b| b.id == id)
    }

    /// Begins a new epoch, only while nothing is on its way: the batches that may be appended already, or have their
    /// outcome, are returned, oldest first; the others will get new numbers, before those that wait. `fresh` is an id with
    /// its epoch, which is taken where the one in use has no epoch left; without it, there is none until it comes.
    pub fn renumber(&mut self, fresh: Option<(i64, i16)>) -> Vec<Batch> {
        let used = self.producer;
        let next = used.and_then(|(producer, epoch)| Some((producer, epoch.checked_add(1)?)));
        self.producer = next.or(fresh.filter(|fresh| used.is_none_or(|used| used.0 != fresh.0)));
        self.next_sequence = 0;
        self.known_on = None;
        self.is_broken = false;
        let mut out = Vec::new();
        while let Some(mut batch) = self.sent.pop_back() {
            if batch.perhaps_appended || batch.is_told {
                out.push(batch);
            } else {
                batch.sequence = None;
                self.waiting.push_front(batch);
            }
        }
        out.reverse();
        out
    }
}

/// The number after those of so many records from `sequence` on.
pub(crate) fn after(sequence: i32, records: usize) -> i32 {
    let next = i64::from(sequence) + records as i64;
    (next % (i64::from(SEQUENCE_MAX) + 1)) as i32
}
