//! A slab as the producer engine takes it.

use aguacero_proto::produce::{self, Slab};
use aguacero_record::record;
use producer_engine::Record;

use crate::columns::records;

/// A slab whose columns agree, and what whoever submits it wants back with its receipt.
#[derive(Debug)]
pub struct Job<T> {
    /// The slab.
    pub slab: Slab,
    /// Where its receipt goes, or the like.
    pub carried: T,
}

/// What a record takes in a batch beside its value, its key, the names in its headers and what a request gives it: lengths,
/// deltas, and the header's own bytes.
const RECORD_OVERHEAD: usize = 96;

impl<T> producer_engine::Slab for Job<T> {
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
