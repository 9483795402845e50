//! Answers that wait for their clients to read them.
//!
//! A request of 20 KB, of records that are none, has an answer of a megabyte. Clients that send many of those
//! and read none would take all memory.

use std::{cell::Cell, rc::Rc};

use aguacero::config::Gateway;
use bytes::Bytes;
use hyper::Response;

use crate::answer::respond::Answer;

/// Bytes of an answer that are not counted: those of a connection's own buffers are as many.
const FREE: usize = 16 << 10;

/// The large answers of a worker.
pub(crate) struct PendingAnswers {
    held: Rc<Cell<usize>>,
    max: usize,
}

/// Bytes of an answer, until they are on their way.
pub(crate) struct PendingBytes {
    all: Rc<Cell<usize>>,
    bytes: usize,
}

/// An answer as it is sent.
pub(crate) struct OutgoingAnswer {
    pub(crate) response: Response<Bytes>,
    /// The connection ends with it.
    pub(crate) is_last: bool,
    /// Its request did not come whole.
    pub(crate) is_cut_off: bool,
    /// To be kept until it is written.
    pub(crate) held: Option<PendingBytes>,
}

impl PendingAnswers {
    /// As many bytes may wait to be read by clients as may be in flight to Kafka.
    pub(crate) fn new(gateway: &Gateway) -> Self {
        Self {
            held: Rc::default(),
            max: gateway.bytes_in_flight_max / gateway.workers,
        }
    }

    /// Writes an answer out. A large one that finds too much waiting tells less.
    pub(crate) fn send(&self, mut answer: Answer) -> OutgoingAnswer {
        let (mut body, mut held) = (answer.body(), None);
        if body.len() > FREE {
            held = self.hold(body.len());
            if held.is_none() {
                answer = answer.without_list();
                body = answer.body();
            }
        }
        OutgoingAnswer {
            is_last: answer.is_last(),
            is_cut_off: answer.is_cut_off(),
            response: answer.into_response(body),
            held,
        }
    }

    fn hold(&self, bytes: usize) -> Option<PendingBytes> {
        let all = self.held.get() + bytes;
        if all > self.max {
            return None;
        }
        self.held.set(all);
        Some(PendingBytes {
            all: Rc::clone(&self.held),
            bytes,
        })
    }
}

impl Drop for PendingBytes {
    fn drop(&mut self) {
        self.all.set(self.all.get() - self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use aguacero::accept::Refusal;
    use smallvec::SmallVec;

    use super::*;
    use crate::{
        answer::{
            outcomes::{Outcomes, RecordOutcome},
            respond,
        },
        intake::ids::{Base, IDEMPOTENCY_KEY},
    };

    /// Of a batch with one good record or none, and a thousand that are refused.
    fn large(is_mixed: bool) -> Answer {
        let refused = RecordOutcome::Refused(Box::new(Refusal::unfit(None, "it is none")));
        let mut records = SmallVec::from_elem(refused, 1_000);
        if is_mixed {
            records[0] = RecordOutcome::Stored;
        }
        let outcomes = Outcomes {
            is_batch: true,
            records,
            is_dry_run: false,
            places: None,
        };
        respond::answer(&outcomes, &Base::new(None, "", ""), "topic")
    }

    fn pending(max: usize) -> PendingAnswers {
        PendingAnswers {
            held: Rc::default(),
            max,
        }
    }

    #[test]
    fn large_answers_tell_less_while_too_much_waits_to_be_read() {
        let pending = pending(64 << 10);
        let first = pending.send(large(false));
        let bytes = first.response.body().len();
        assert!(first.held.is_some() && bytes > FREE, "{bytes}");
        for (is_mixed, status) in [(false, 422), (true, 504)] {
            let second = pending.send(large(is_mixed));
            let body = String::from_utf8_lossy(second.response.body()).into_owned();
            assert_eq!(second.response.status(), status);
            assert!(body.len() < 500 && !body.contains("errors"), "{body}");
            let has_key = second.response.headers().contains_key(&IDEMPOTENCY_KEY);
            assert_eq!(has_key, is_mixed, "a 504 says how to send it again");
        }
        drop(first);
        assert_eq!(pending.send(large(true)).response.status(), 207);
        assert_eq!(
            pending.held.get(),
            0,
            "everything that was sent is given back"
        );
    }
}
