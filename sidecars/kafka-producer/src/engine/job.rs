//! A slab as the engine takes it, and what it makes of its receipt.

use aguacero::record;
use aguacero_proto::produce::{self, Slab};
use base64::{Engine as _, prelude::BASE64_STANDARD_NO_PAD};
use producer_engine::{Outcome, Receipt, Record, receipt::Reason};
use uuid::Uuid;

use crate::{columns::records, metric, receipt::Flight, topics::Known};

/// A slab whose columns agree, and where its receipt goes.
pub(super) struct Job {
    pub(super) slab: Slab,
    pub(super) flight: Flight,
}

/// What a record takes in a batch beside its value, its key, the names in its headers and what a request gives it: lengths,
/// deltas, and the header's own bytes.
const RECORD_OVERHEAD: usize = 96;

impl producer_engine::Slab for Job {
    fn topic(&self) -> &str {
        &self.slab.topic
    }

    fn partition(&self) -> i32 {
        self.slab.partition
    }

    fn records(&self) -> usize {
        self.slab.ends.len()
    }

    fn bytes(&self) -> usize {
        let slab = &self.slab;
        let columns = slab.keys.len() + slab.names.len() + slab.ids.len();
        slab.values.len() + columns + slab.ends.len() * size_of::<u32>() + size_of::<Self>()
    }

    fn encoded_bytes_max(&self) -> usize {
        let slab = &self.slab;
        let stream = slab.streams.iter().map(String::len).max().unwrap_or(0);
        let of_request = |r: &produce::Request| {
            let traces = r.traceparent.len() + r.tracestate.len();
            let traces = if traces > 0 {
                traces + RECORD_OVERHEAD
            } else {
                0
            };
            r.events as usize * (r.client_key.len() + traces)
        };
        let of_requests: usize = slab.requests.iter().map(of_request).sum();
        let each = slab.ends.len() * (RECORD_OVERHEAD + stream);
        slab.values.len() + slab.keys.len() + slab.names.len() + of_requests + each
    }

    fn each(&self, mut visit: impl FnMut(Record<'_>)) {
        let mut header = Vec::with_capacity(RECORD_OVERHEAD);
        for record in records(&self.slab) {
            record.header(&mut header);
            let request = record.request;
            let all = [
                (record::HEADER, &header[..]),
                (record::TRACE_HEADER, &request.traceparent[..]),
                (record::TRACE_STATE_HEADER, &request.tracestate[..]),
            ];
            let mut given = |headers: &[(&str, &[u8])]| {
                visit(Record {
                    timestamp: request.arrived_ms,
                    key: record.key,
                    value: record.value,
                    headers,
                });
            };
            match (
                request.traceparent.is_empty(),
                request.tracestate.is_empty(),
            ) {
                (true, true) => given(&all[..1]),
                (false, true) => given(&all[..2]),
                (false, false) => given(&all),
                (true, false) => given(&[all[0], all[2]]),
            }
        }
    }
}

/// `INVALID_RECORD` as `InvalidRecord`, as librdkafka has it: a metric's labels are the same with either client.
pub(super) fn camel(code: &str) -> String {
    let words = code.split('_').filter_map(|word| word.split_at_checked(1));
    words.fold(String::new(), |text, (first, rest)| {
        text + first + &rest.to_ascii_lowercase()
    })
}

/// Sends a slab's receipt.
pub(super) fn finish(receipt: Receipt<Job>, topics: &Known) {
    let Job { slab, mut flight } = receipt.slab;
    // Parts that went into a topic which was made again since are gone with it.
    let id_of = |outcome: &Outcome| match outcome {
        Outcome::Stored { topic, .. } => *topic,
        _ => None,
    };
    let latest = receipt
        .parts
        .iter()
        .rev()
        .find_map(|part| id_of(&part.outcome));
    for part in receipt.parts {
        let records = part.records.len();
        let (outcome, reason) = match part.outcome {
            Outcome::Stored { offset, topic } if topic == latest => {
                flight.stored(part.records, offset);
                continue;
            }
            Outcome::Stored { .. } => (produce::Outcome::Unknown, Reason::of("UNKNOWN_TOPIC_ID")),
            Outcome::NotStored(reason) => (produce::Outcome::NotStored, reason),
            Outcome::TooLarge(reason) => (produce::Outcome::TooLarge, reason),
            Outcome::Unknown(reason) => (produce::Outcome::Unknown, reason),
        };
        metric::failed(&slab.topic, &camel(reason.code), records, &reason);
        flight.failed(part.records, outcome, &reason.to_string());
    }
    flight.send(topics, latest.map(text_of));
}

/// As librdkafka prints an id, and with it the consumer: with `+` and `/`, where Kafka's own tools have `-` and `_`.
fn text_of(id: Uuid) -> String {
    BASE64_STANDARD_NO_PAD.encode(id.as_bytes())
}
