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
    batch::{lane::Finished, verdict::Outcome},
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
    pub(crate) fn stored(&self, finished: Finished) {
        let Some((first, last)) = finished.offsets else {
            return;
        };
        let deltas = if finished.verdict.exceptions.is_empty() {
            finished.slab.deltas
        } else {
            self.recount(&finished)
        };
        let mut pending = self.pending.borrow_mut();
        for (stream, deltas) in deltas {
            let place = Place {
                stream,
                incarnation: finished.incarnation.clone(),
                partition: finished.partition,
            };
            pending.merge(
                place,
                Delta {
                    first,
                    last,
                    deltas,
                },
            );
        }
        drop(pending);
        self.stored.notify_one();
    }

    /// The deltas of a slab without the events that were not stored.
    fn recount(&self, finished: &Finished) -> SmallVec<[(usize, Deltas); 1]> {
        let mut decoder = Decoder::new(self.config.gateway.event_bytes_max);
        let mut counted: SmallVec<[(usize, Deltas); 1]> = finished
            .slab
            .deltas
            .iter()
            .map(|(s, _)| (*s, Deltas::none(&self.config.streams[*s])))
            .collect();
        let became = finished.verdict.events_from(0);
        for ((outcome, _), (stream, value)) in became.zip(finished.slab.events()) {
            if outcome != Outcome::Stored {
                continue;
            }
            let declared: &Stream = &self.config.streams[stream];
            let Some((_, deltas)) = counted.iter_mut().find(|(s, _)| *s == stream) else {
                continue;
            };
            _ = decoder.decode(&value, |event| {
                let fields = Fields::find(declared, event);
                deltas.count(declared, |field| fields.scalar(field));
            });
        }
        counted
    }

    /// What is to be sent, as bytes; taken for sent and acknowledged.
    pub(crate) fn take_frame(&self) -> Option<Vec<u8>> {
        let mut pending = self.pending.borrow_mut();
        let frame = pending.next_frame(&self.config)?;
        pending.sent = None;
        Some(frame.encode_to_vec())
    }
}
