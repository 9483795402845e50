//! A slab's receipt: complete when the last of its records has its delivery report.

use std::sync::{Arc, Mutex, PoisonError};

use aguacero_proto::produce::{Exception, Outcome, Receipt};
use tokio::sync::mpsc::UnboundedSender;

use crate::{metric, topics::Known};

/// The records of one slab that are on their way.
pub(crate) struct InFlight {
    slab: u64,
    topic: String,
    /// Of the topic when the slab came.
    incarnation: String,
    topics: Known,
    receipts: UnboundedSender<Receipt>,
    tally: Mutex<Tally>,
}

#[derive(Default)]
struct Tally {
    outstanding: usize,
    stored: usize,
    /// Lowest and highest offset so far.
    offsets: Option<(i64, i64)>,
    /// A record was stored at an offset that librdkafka was not told.
    offset_unknown: bool,
    exceptions: Vec<Exception>,
}

/// What became of one record.
pub(crate) enum Report {
    /// Stored at an offset, if that is known (it is not after a duplicate sequence number).
    Stored(Option<i64>),
    /// Anything else, and why.
    Failed(Outcome, String),
}

impl InFlight {
    /// A slab of `records`, none of them reported yet.
    pub(crate) fn new(
        slab: u64,
        topic: String,
        records: usize,
        topics: Known,
        receipts: UnboundedSender<Receipt>,
    ) -> Arc<Self> {
        let tally = Mutex::new(Tally {
            outstanding: records,
            ..Tally::default()
        });
        Arc::new(Self {
            slab,
            incarnation: topics.incarnation(&topic),
            topic,
            topics,
            receipts,
            tally,
        })
    }

    /// Takes the report of record `index`; with the last one the receipt leaves.
    pub(crate) fn report(&self, index: u32, report: Report) {
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        match report {
            Report::Stored(offset) => {
                tally.stored += 1;
                match (offset, tally.offsets) {
                    (None, _) => tally.offset_unknown = true,
                    (Some(o), None) => tally.offsets = Some((o, o)),
                    (Some(o), Some((low, high))) => tally.offsets = Some((low.min(o), high.max(o))),
                }
            }
            Report::Failed(outcome, detail) => {
                tally.exceptions.push(Exception {
                    index,
                    outcome: outcome.into(),
                    detail,
                });
            }
        }
        tally.outstanding -= 1;
        if tally.outstanding == 0 {
            let tally = std::mem::take(&mut *tally);
            self.send(tally);
        }
    }

    fn send(&self, tally: Tally) {
        metric::slab(tally.stored, tally.exceptions.len());
        // Where the topic was made again meanwhile, nobody can tell whose offsets these are: offsets of
        // the old one in the ledger of the new one would wait there for records that may never come.
        let same = self.topics.incarnation(&self.topic) == self.incarnation;
        let offsets = tally.offsets.filter(|_| same && !tally.offset_unknown);
        let mut receipt = Receipt {
            slab: self.slab,
            outcome: Outcome::Stored.into(),
            first: offsets.map(|(low, _)| low),
            last: offsets.map(|(_, high)| high),
            incarnation: self.incarnation.clone(),
            exceptions: tally.exceptions,
            detail: String::new(),
        };
        if tally.stored == 0 {
            simplify(&mut receipt);
        }
        // An error means that the gateway has left: it will send the slab again on its next stream.
        _ = self.receipts.send(receipt);
    }
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
        receipt.detail.clone_from(&first.detail);
        receipt.exceptions.clear();
    }
}
