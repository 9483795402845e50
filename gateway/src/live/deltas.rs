//! What the stored events of a slab add to the counters.

use std::{cell::RefCell, sync::Arc};

use aguacero::{
    accept::{Decoder, fit::Fields},
    config::{Config, Stream},
    counts::Deltas,
};
use bytes::Bytes;
use prost::Message as _;
use smallvec::SmallVec;
use tokio::sync::Notify;

use crate::{
    batch::{lane::Finished, slab::Share, verdict::Outcome},
    live::pending::{Delta, Pending, Place},
};

/// The deltas of one worker.
pub(crate) struct Live {
    pub(super) config: Arc<Config>,
    /// Names this worker's frames: new for each start.
    pub(super) run: Bytes,
    pub(super) pending: RefCell<Pending>,
    pub(super) stored: Notify,
}

impl Live {
    pub(crate) fn new(config: &Arc<Config>) -> Self {
        Self {
            config: Arc::clone(config),
            run: Bytes::copy_from_slice(&uuid::Uuid::new_v4().into_bytes()),
            pending: RefCell::default(),
            stored: Notify::new(),
        }
    }

    /// 16 bytes that name this worker.
    pub(crate) fn run_id(&self) -> Bytes {
        self.run.clone()
    }

    /// Counts the stored events of a slab. Those whose offsets nobody knows are left to the settling.
    ///
    /// Each stream has offsets of its own. Those of the slab follow each other unless others' records came
    /// in between: then a stream's are within what is told.
    pub(crate) fn stored(&self, finished: Finished) {
        let Some((first, last)) = finished.offsets else {
            return;
        };
        let (events, shares) = if finished.verdict.exceptions.is_empty() {
            (finished.slab.len() as u32, finished.slab.shares)
        } else {
            self.recount(&finished)
        };
        let mut pending = self.pending.borrow_mut();
        for share in shares.into_iter().filter(|s| s.deltas.events > 0) {
            let place = Place {
                stream: share.stream,
                incarnation: finished.incarnation.clone(),
                partition: finished.partition,
            };
            let after = events.saturating_sub(share.last + 1);
            let delta = Delta {
                first: first + i64::from(share.first),
                last: last - i64::from(after),
                deltas: share.deltas,
            };
            pending.merge(place, delta);
        }
        drop(pending);
        self.stored.notify_one();
    }

    /// How many events of a slab were stored, and the shares of those alone.
    fn recount(&self, finished: &Finished) -> (u32, SmallVec<[Share; 1]>) {
        let mut decoder = Decoder::new(self.config.gateway.event_bytes_max);
        let mut counted: SmallVec<[Share; 1]> = SmallVec::new();
        let became = finished.verdict.events_from(0);
        let mut stored = 0;
        for ((outcome, _), (stream, value)) in became.zip(finished.slab.events()) {
            if outcome != Outcome::Stored {
                continue;
            }
            let declared: &Stream = &self.config.streams[stream];
            let known = counted.iter().position(|s| s.stream == stream);
            let at = known.unwrap_or_else(|| {
                counted.push(Share {
                    stream,
                    deltas: Deltas::none(declared),
                    first: stored,
                    last: stored,
                });
                counted.len() - 1
            });
            let share = &mut counted[at];
            share.last = stored;
            stored += 1;
            _ = decoder.decode(&value, |event| {
                let fields = Fields::find(declared, event);
                share.deltas.count(declared, |field| fields.scalar(field));
            });
        }
        (stored, counted)
    }

    /// What is to be sent, as bytes; taken for sent and acknowledged.
    pub(crate) fn take_frame(&self) -> Option<Vec<u8>> {
        let mut pending = self.pending.borrow_mut();
        let frame = pending.next_frame(&self.config)?;
        pending.sent = None;
        Some(frame.encode_to_vec())
    }
}
