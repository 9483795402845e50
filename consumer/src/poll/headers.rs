//! A record's headers as bytes.

use std::{ffi::CStr, ptr};

use rdkafka::{bindings as sys, message::BorrowedMessage};

/// Names and values of the record's headers; a record whose headers librdkafka cannot read (it reads up
/// to 100,000) has none.
///
/// rdkafka's own `Headers` panics at a name that is not UTF-8, and anybody who may write to the topic
/// can send one. librdkafka ends a name at its first NUL.
#[allow(unsafe_code)]
pub(crate) fn headers<'a>(
    message: &'a BorrowedMessage<'_>,
) -> impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)> {
    let mut list = ptr::null_mut();
    // SAFETY: the message is alive for as long as `message` is borrowed; it owns the list.
    let error = unsafe { sys::rd_kafka_message_headers(message.ptr(), &raw mut list) };
    let has_any = error == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR && !list.is_null();
    let mut index = 0;
    std::iter::from_fn(move || {
        if !has_any {
            return None;
        }
        let (mut name, mut value, mut len) = (ptr::null(), ptr::null(), 0);
        // SAFETY: the list belongs to the message and lives as long as it, which outlives `'a`; nobody
        // changes it. Without an error, the name ends with a NUL, and the value is null or has `len`
        // bytes; both are parts of the list.
        let header = unsafe {
            let error = sys::rd_kafka_header_get_all(
                list,
                index,
                &raw mut name,
                &raw mut value,
                &raw mut len,
            );
            if error != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
                return None;
            }
            let name = CStr::from_ptr(name).to_bytes();
            let value =
                (!value.is_null()).then(|| std::slice::from_raw_parts(value.cast::<u8>(), len));
            (name, value)
        };
        index += 1;
        Some(header)
    })
}
