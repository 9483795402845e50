//! A slab's receipt: complete when it is known of each of its records what became of it.

use std::ops::Range;

use aguacero_proto::produce::{Exception, MESSAGE_BYTES_MAX, Outcome, Receipt, Receipts, Slab};
use bytes::Bytes;
use prost::Message as _;
use tokio::sync::mpsc::UnboundedSender;

use crate::{metric, topics::Known};

/// A slab on its way.
pub struct Flight {
    slab: u64,
    topic: String,
    /// Of the topic when the slab came.
    incarnation: String,
    receipts: UnboundedSender<Receipt>,
    /// Whoever is given the records' values may read them here.
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

impl Flight {
    /// `slab` as `records` records, of none of which anything is known yet.
    pub(crate) fn begin(
        slab: &Slab,
        records: usize,
        receipts: &UnboundedSender<Receipt>,
        topics: &Known,
    ) -> Self {
        Self {
            slab: slab.id,
            incarnation: topics.incarnation(&slab.topic),
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
        }
    }

    /// The records at these positions are stored, as the broker says: the first at `offset`, each other one after the one
    /// before.
    pub(crate) fn stored(&mut self, records: Range<usize>, offset: i64) {
        let count = records.len();
        if count == 0 {
            return;
        }
        self.stored += count;
        self.outstanding -= count;
        let last = offset + count as i64 - 1;
        if let Some(places) = self.each.as_mut().and_then(|each| each.get_mut(records)) {
            places
                .iter_mut()
                .zip(offset..)
                .for_each(|(place, offset)| *place = offset);
        }
        let (low, high) = self.offsets.unwrap_or((offset, last));
        self.offsets = Some((low.min(offset), high.max(last)));
    }

    /// The records at these positions are not stored, or not known to be, and why.
    pub(crate) fn failed(&mut self, records: Range<usize>, outcome: Outcome, detail: &str) {
        if self.exceptions.is_empty() {
            detail.clone_into(&mut self.detail);
        }
        self.outstanding -= records.len();
        let exception = |index| Exception {
            index: index as u32,
            outcome: outcome.into(),
            ..Exception::default()
        };
        self.exceptions.extend(records.map(exception));
    }

    /// Whether it is known of each record what became of it.
    pub(crate) fn is_complete(&self) -> bool {
        self.outstanding == 0
    }

    /// Sends the receipt. `incarnation` is that of the topic which the broker has confirmed; without one it is the topic's
    /// when the slab came, if it is still the same.
    pub(crate) fn send(self, topics: &Known, incarnation: Option<String>) {
        self.on_its_way.reported(self.stored, self.exceptions.len());
        // Where the topic was made again meanwhile, nobody can tell whose offsets these are: offsets of
        // the old one in the ledger of the new one would wait there for records that may never come.
        let same = incarnation.is_some() || topics.incarnation(&self.topic) == self.incarnation;
        let offsets = self.offsets.filter(|_| same);
        let mut receipt = Receipt {
            slab: self.slab,
            outcome: Outcome::Stored.into(),
            first: offsets.map(|(low, _)| low),
            last: offsets.map(|(_, high)| high),
            incarnation: incarnation.unwrap_or(self.incarnation),
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
