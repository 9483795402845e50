//! A slab's receipt: complete when the last of its records has its delivery report.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aguacero_proto::produce::{Exception, MESSAGE_BYTES_MAX, Outcome, Receipt, Receipts, Slab};
use bytes::Bytes;
use prost::Message as _;
use tokio::sync::mpsc::UnboundedSender;

use crate::{metric, topics::Known};

/// Which record of which slab a delivery report belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ticket {
    /// The slab's number in [`InFlight`].
    pub(crate) slab: u32,
    /// The record's position in it.
    pub(crate) record: u32,
}

/// The slabs of all streams that are on their way. Cheap to clone.
#[derive(Clone)]
pub(crate) struct InFlight {
    slabs: Arc<Mutex<slab::Slab<Flight>>>,
    topics: Known,
}

/// A slab on its way.
struct Flight {
    slab: u64,
    topic: String,
    /// Of the topic when the slab came.
    incarnation: String,
    receipts: UnboundedSender<Receipt>,
    /// librdkafka reads the records' values here.
    _values: Bytes,
    on_its_way: metric::OnItsWay,
    outstanding: usize,
    stored: usize,
    /// Lowest and highest offset so far.
    offsets: Option<(i64, i64)>,
    exceptions: Vec<Exception>,
    /// Why the first of them is one.
    detail: String,
    /// The offset of each record, or [`NOWHERE`]; only if somebody asked.
    each: Option<Vec<i64>>,
}

/// Bytes of receipts after which a message takes no further one.
const RECEIPTS_BYTES_MAX: usize = MESSAGE_BYTES_MAX / 4;
/// What a receipt takes in a message beside its own bytes.
const RECEIPT_OVERHEAD: usize = 8;

/// In the place of the offset of a record that was not stored.
const NOWHERE: i64 = -1;

/// What became of one record.
pub(crate) enum Report {
    /// Stored at this offset, as the broker says.
    Stored(i64),
    /// Anything else, and why.
    Failed(Outcome, String),
}

impl Ticket {
    /// Both numbers in one, as librdkafka carries it.
    pub(crate) fn into_opaque(self) -> usize {
        const { assert!(usize::BITS >= 64) }
        (self.slab as usize) << 32 | self.record as usize
    }

    /// The reverse.
    pub(crate) fn from_opaque(opaque: usize) -> Self {
        Self {
            slab: (opaque >> 32) as u32,
            record: opaque as u32,
        }
    }
}

impl InFlight {
    pub(crate) fn new(topics: Known) -> Self {
        Self {
            slabs: Arc::default(),
            topics,
        }
    }

    /// `slab` as `records` records, none of them reported yet, whose values are kept until all are; its number.
    pub(crate) fn begin(
        &self,
        slab: &Slab,
        records: usize,
        receipts: &UnboundedSender<Receipt>,
    ) -> u32 {
        let flight = Flight {
            slab: slab.id,
            incarnation: self.topics.incarnation(&slab.topic),
            topic: slab.topic.clone(),
            receipts: receipts.clone(),
            _values: slab.values.clone(), // the same bytes, counted
            on_its_way: metric::OnItsWay::begin(slab.values.len()),
            outstanding: records,
            stored: 0,
            offsets: None,
            exceptions: Vec::new(),
            detail: String::new(),
            each: slab.tell_offsets.then(|| vec![NOWHERE; records]),
        };
        // What a gateway may have in flight is far below four thousand million slabs.
        self.lock().insert(flight) as u32
    }

    /// Takes the report of a record; with the last one the receipt leaves.
    pub(crate) fn report(&self, ticket: Ticket, report: Report) {
        let number = ticket.slab as usize;
        let mut slabs = self.lock();
        let Some(flight) = slabs.get_mut(number) else {
            tracing::error!(?ticket, "a delivery report for no slab: this is a bug");
            return;
        };
        flight.note(ticket.record, report);
        if flight.outstanding == 0 {
            let flight = slabs.remove(number);
            drop(slabs);
            flight.send(&self.topics);
        }
    }

    fn lock(&self) -> MutexGuard<'_, slab::Slab<Flight>> {
        self.slabs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Flight {
    fn note(&mut self, index: u32, report: Report) {
        match report {
            Report::Stored(offset) => {
                self.stored += 1;
                let each = self.each.as_mut();
                if let Some(place) = each.and_then(|each| each.get_mut(index as usize)) {
                    *place = offset;
                }
                let (low, high) = self.offsets.unwrap_or((offset, offset));
                self.offsets = Some((low.min(offset), high.max(offset)));
            }
            Report::Failed(outcome, detail) => {
                if self.exceptions.is_empty() {
                    self.detail = detail;
                }
                self.exceptions.push(Exception {
                    index,
                    outcome: outcome.into(),
                    ..Exception::default()
                });
            }
        }
        self.outstanding -= 1;
    }

    fn send(self, topics: &Known) {
        self.on_its_way.reported(self.stored, self.exceptions.len());
        // Where the topic was made again meanwhile, nobody can tell whose offsets these are: offsets of
        // the old one in the ledger of the new one would wait there for records that may never come.
        let same = topics.incarnation(&self.topic) == self.incarnation;
        let offsets = self.offsets.filter(|_| same);
        let mut receipt = Receipt {
            slab: self.slab,
            outcome: Outcome::Stored.into(),
            first: offsets.map(|(low, _)| low),
            last: offsets.map(|(_, high)| high),
            incarnation: self.incarnation,
            exceptions: self.exceptions,
            detail: self.detail,
            offsets: match (&self.each, offsets) {
                (Some(each), Some((first, _))) => unless_in_a_row(each, first),
                _ => Vec::new(),
            },
        };
        if self.stored == 0 {
            simplify(&mut receipt);
        }
        // An error means that the gateway has left: it will send the slab again on its next stream.
        _ = self.receipts.send(receipt);
    }
}

/// The offsets of the stored records, each as its distance from the one before; nothing if they are in a row.
fn unless_in_a_row(each: &[i64], first: i64) -> Vec<i64> {
    let stored = || each.iter().copied().filter(|&offset| offset != NOWHERE);
    if stored().zip(first..).all(|(offset, next)| offset == next) {
        return Vec::new();
    }
    let before = std::iter::once(first).chain(stored());
    stored().zip(before).map(|(o, before)| o - before).collect()
}

/// Receipts, in messages that can be sent whatever became of their records.
pub(crate) fn messages(receipts: Vec<Receipt>) -> Vec<Receipts> {
    let (mut messages, mut bytes) = (vec![Receipts::default()], 0);
    for receipt in receipts {
        let more = receipt.encoded_len() + RECEIPT_OVERHEAD;
        if bytes + more > RECEIPTS_BYTES_MAX && bytes > 0 {
            messages.push(Receipts::default());
            bytes = 0;
        }
        bytes += more;
        if let Some(message) = messages.last_mut() {
            message.receipts.push(receipt);
        }
    }
    messages
}

/// A slab of which nothing was stored usually failed as a whole: one outcome says it.
fn simplify(receipt: &mut Receipt) {
    let Some(first) = receipt.exceptions.first() else {
        return;
    };
    if receipt
        .exceptions
        .iter()
        .all(|e| e.outcome == first.outcome)
    {
        receipt.outcome = first.outcome;
        receipt.exceptions.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As many as a slab of 8 MiB can have, and more of them than one message can take.
    #[test]
    fn receipts_of_slabs_that_failed_in_part_leave_in_messages_that_can_be_sent() {
        let exception = |index| Exception {
            index,
            outcome: Outcome::TooLarge.into(),
            ..Exception::default()
        };
        let receipt = |slab, events| Receipt {
            slab,
            exceptions: (0..events).map(exception).collect(),
            detail: "a reason".into(),
            ..Receipt::default()
        };
        let mut receipts: Vec<_> = (0..20).map(|slab| receipt(slab, 200_000)).collect();
        receipts.push(receipt(20, 1_400_000));
        let messages = messages(receipts);
        let slabs = messages.iter().flat_map(|m| &m.receipts).map(|r| r.slab);
        assert_eq!(slabs.collect::<Vec<_>>(), (0..21).collect::<Vec<_>>());
        let bytes = messages.iter().map(|m| m.encoded_len()).max();
        assert!(bytes < Some(MESSAGE_BYTES_MAX - 64), "{bytes:?}");
    }

    #[test]
    fn offsets_are_told_only_where_they_are_not_in_a_row() {
        assert!(unless_in_a_row(&[7, 8, 9], 7).is_empty());
        assert!(unless_in_a_row(&[7, NOWHERE, 8], 7).is_empty());
        assert_eq!(unless_in_a_row(&[7, 8, 11, NOWHERE, 12], 7), [0, 1, 3, 1]);
        assert_eq!(unless_in_a_row(&[9, 7], 7), [2, -2]);
    }
}
