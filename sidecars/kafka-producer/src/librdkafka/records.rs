//! The records of a slab into librdkafka, by its C call.
//!
//! rdkafka's safe call looks the topic up by its name, copies the value and makes a box and two C strings
//! for each record; here the topic is looked up once for a slab, the values stay where they are, and the
//! opaque is a number (`docs/decisions/0009`).

use std::{ffi::CString, mem, ptr};

use aguacero::record;
use aguacero_proto::produce::Slab;
use rdkafka::{
    bindings::{self as sys, rd_kafka_vtype_t as Kind},
    error::KafkaError,
    producer::{BaseProducer, Producer as _, ProducerContext},
    types::RDKafkaErrorCode,
};

use super::in_flight::Ticket;
use slab_records::columns::{Record, records};

/// The arguments of a call, in their order.
const TOPIC: usize = 0;
const PARTITION: usize = 1;
const TIMESTAMP: usize = 2;
const VALUE: usize = 3;
const OPAQUE: usize = 4;
const HEADERS: usize = 5;
const KEY: usize = 6;
const KINDS: [Kind; 7] = [
    Kind::RD_KAFKA_VTYPE_RKT,
    Kind::RD_KAFKA_VTYPE_PARTITION,
    Kind::RD_KAFKA_VTYPE_TIMESTAMP,
    Kind::RD_KAFKA_VTYPE_VALUE,
    Kind::RD_KAFKA_VTYPE_OPAQUE,
    Kind::RD_KAFKA_VTYPE_HEADERS,
    Kind::RD_KAFKA_VTYPE_KEY,
];

/// Gives every record of `slab` to librdkafka, with the tickets of slab number `number`; calls `refused`
/// for those that it does not take.
///
/// # Safety
/// The bytes of `slab.values` have to stay where they are until every record has its delivery report: they
/// are not copied.
#[allow(unsafe_code)]
pub(crate) unsafe fn produce<C: ProducerContext<DeliveryOpaque = usize>>(
    producer: &BaseProducer<C>,
    slab: &Slab,
    number: u32,
    mut refused: impl FnMut(Ticket, KafkaError),
) {
    let topic = Topic::of(producer, &slab.topic);
    // SAFETY: a union of numbers and pointers; zeros are none of either.
    let mut call: [sys::rd_kafka_vu_t; 7] = unsafe { mem::zeroed() };
    for (argument, kind) in call.iter_mut().zip(KINDS) {
        argument.vtype = kind;
    }
    call[TOPIC].u.rkt = topic.0;
    call[PARTITION].u.i32_ = slab.partition;
    let mut header = Vec::new();
    for record in records(slab) {
        let ticket = Ticket {
            slab: number,
            record: record.index,
        };
        let headers = Headers::of(&record, &mut header);
        call[TIMESTAMP].u.i64_ = record.request.arrived_ms;
        call[VALUE].u.mem = bytes(record.value);
        call[OPAQUE].u.ptr = ticket.into_opaque() as *mut _;
        call[HEADERS].u.headers = headers.0;
        let arguments = match record.key {
            Some(key) => {
                call[KEY].u.mem = bytes(key);
                call.len()
            }
            None => KEY,
        };
        // SAFETY: client and topic are alive; key and headers are the call's own copies, or become its
        // own; the value stays, as the caller has promised.
        let error = unsafe {
            sys::rd_kafka_produceva(producer.client().native_ptr(), call.as_ptr(), arguments)
        };
        if error.is_null() {
            mem::forget(headers); // librdkafka's now
            continue;
        }
        // SAFETY: the error is ours, and is not used after it was destroyed.
        let code: RDKafkaErrorCode = unsafe {
            let code = sys::rd_kafka_error_code(error);
            sys::rd_kafka_error_destroy(error);
            code.into()
        };
        refused(ticket, KafkaError::MessageProduction(code));
    }
}

fn bytes(bytes: &[u8]) -> sys::rd_kafka_vu_s__bindgen_ty_1__bindgen_ty_1 {
    sys::rd_kafka_vu_s__bindgen_ty_1__bindgen_ty_1 {
        ptr: bytes.as_ptr().cast_mut().cast(), // only read
        size: bytes.len(),
    }
}

/// A reference to librdkafka's topic.
struct Topic(*mut sys::rd_kafka_topic_t);

#[allow(unsafe_code)]
impl Topic {
    fn of<C: ProducerContext>(producer: &BaseProducer<C>, name: &str) -> Self {
        let name = CString::new(name).unwrap_or_default(); // one that Kafka knows has no zeros
        // SAFETY: the client is alive, and the name is copied. None without memory only, and then each
        // call says so.
        let topic = unsafe {
            sys::rd_kafka_topic_new(
                producer.client().native_ptr(),
                name.as_ptr(),
                ptr::null_mut(),
            )
        };
        Self(topic)
    }
}

#[allow(unsafe_code)]
impl Drop for Topic {
    fn drop(&mut self) {
        if !self.0.is_null() {
            // SAFETY: the reference is ours, and given back once.
            unsafe { sys::rd_kafka_topic_destroy(self.0) };
        }
    }
}

/// Headers of a record that librdkafka has not taken.
struct Headers(*mut sys::rd_kafka_headers_t);

#[allow(unsafe_code)]
impl Headers {
    /// `scratch` is where the value is written.
    fn of(record: &Record<'_>, scratch: &mut Vec<u8>) -> Self {
        record.header(scratch);
        let request = record.request;
        let traces = [
            (record::TRACE_HEADER, &request.traceparent),
            (record::TRACE_STATE_HEADER, &request.tracestate),
        ];
        let traces = traces.iter().filter(|(_, value)| !value.is_empty());
        // SAFETY: a fresh list, which nobody else has.
        let headers = Self(unsafe { sys::rd_kafka_headers_new(1 + traces.clone().count()) });
        headers.add(record::HEADER, scratch);
        traces.for_each(|(name, value)| headers.add(name, value));
        headers
    }

    fn add(&self, name: &str, value: &[u8]) {
        // SAFETY: the list is alive and ours; name and value are copied.
        unsafe {
            sys::rd_kafka_header_add(
                self.0,
                name.as_ptr().cast(),
                name.len() as isize,
                value.as_ptr().cast(),
                value.len() as isize,
            );
        }
    }
}

#[allow(unsafe_code)]
impl Drop for Headers {
    fn drop(&mut self) {
        // SAFETY: not taken, so still ours.
        unsafe { sys::rd_kafka_headers_destroy(self.0) };
    }
}
