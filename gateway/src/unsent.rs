//! Answers that wait for their clients to read them.
//!
//! A request of 20 KB, of records that are none, has an answer of a megabyte. Clients that send many of those
//! and read none would take all memory.

use std::{cell::Cell, rc::Rc};

use aguacero::config::Gateway;
use bytes::Bytes;
use hyper::Response;

use crate::respond::Answer;

/// Bytes of an answer that are not counted: those of a connection's own buffers are as many.
const FREE: usize = 16 << 10;

/// The large answers of a worker.
pub(crate) struct Unsent {
    held: Rc<Cell<usize>>,
    max: usize,
}

/// Bytes of an answer, until they are on their way.
pub(crate) struct Held {
    all: Rc<Cell<usize>>,
    bytes: usize,
}

/// An answer as it is sent.
pub(crate) struct Sent {
    pub(crate) response: Response<Bytes>,
    /// The connection ends with it.
    pub(crate) is_last: bool,
    /// To be kept until it is written.
    pub(crate) held: Option<Held>,
}

impl Unsent {
    /// As many bytes may wait to be read by clients as may be in flight to Kafka.
    pub(crate) fn new(gateway: &Gateway) -> Self {
        Self {
            held: Rc::default(),
            max: gateway.bytes_in_flight_max / gateway.workers,
        }
    }

    /// Writes an answer out. A large one that finds too much waiting tells less.
    pub(crate) fn send(&self, answer: Answer) -> Sent {
        let is_last = answer.is_last();
        let body = answer.body();
        let bytes = body.len();
        if bytes <= FREE {
            let response = answer.into_response(body);
            return Sent {
                response,
                is_last,
                held: None,
            };
        }
        if self.held.get() + bytes > self.max {
            let answer = answer.without_list();
            let body = answer.body();
            let response = answer.into_response(body);
            return Sent {
                response,
                is_last,
                held: None,
            };
        }
        let response = answer.into_response(body);
        self.held.set(self.held.get() + bytes);
        let all = Rc::clone(&self.held);
        Sent {
            response,
            is_last,
            held: Some(Held { all, bytes }),
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.all.set(self.all.get() - self.bytes);
    }
}
