//! The way of a call of librdkafka's admin API that the safe API of rdkafka does not have.

use std::time::Duration;

use rdkafka::{bindings as sys, error::KafkaError, types::RDKafkaErrorCode};

/// How much longer than the call itself its answer is waited for.
const GRACE: Duration = Duration::from_secs(1);

/// Puts a question by `call`, waits for its answer for up to `timeout`, and has it `read`: what that returns must not
/// point into it. Asks `broker` (whichever librdkafka chooses, if it is negative). Blocks.
///
/// # Safety
/// The client must be alive for the duration of the call; `call` must enqueue one answer, and `read` it.
#[allow(unsafe_code)]
pub(super) unsafe fn admin_call<T>(
    client: *mut sys::rd_kafka_t,
    (operation, broker): (sys::rd_kafka_admin_op_t, i32),
    timeout: Duration,
    call: impl FnOnce(*const sys::rd_kafka_AdminOptions_t, *mut sys::rd_kafka_queue_t),
    read: impl FnOnce(*mut sys::rd_kafka_event_t) -> Result<T, RDKafkaErrorCode>,
) -> Result<T, KafkaError> {
    let millis = |time: Duration| i32::try_from(time.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: the client is alive, as the caller promises. Queue, options and event are destroyed below and not used
    // afterwards; `read` looks at the event while it lives.
    unsafe {
        let queue = sys::rd_kafka_queue_new(client);
        let options = sys::rd_kafka_AdminOptions_new(client, operation);
        let no_text = std::ptr::null_mut();
        sys::rd_kafka_AdminOptions_set_request_timeout(options, millis(timeout), no_text, 0);
        if broker >= 0 {
            sys::rd_kafka_AdminOptions_set_broker(options, broker, no_text, 0);
        }
        call(options, queue);
        let event = sys::rd_kafka_queue_poll(queue, millis(timeout + GRACE));
        let answer = if event.is_null() {
            Err(RDKafkaErrorCode::OperationTimedOut)
        } else {
            match sys::rd_kafka_event_error(event) {
                sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR => read(event),
                error => Err(error.into()),
            }
        };
        if !event.is_null() {
            sys::rd_kafka_event_destroy(event);
        }
        sys::rd_kafka_AdminOptions_destroy(options);
        sys::rd_kafka_queue_destroy(queue);
        answer.map_err(KafkaError::AdminOp)
    }
}
