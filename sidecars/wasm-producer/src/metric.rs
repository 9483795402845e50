//! The names of this process's metrics beside those of the kafka-producer. `docs/metrics.md` has them all.

use metrics::{Unit, counter, describe_counter, describe_gauge, gauge};

use crate::instance::{Reason, Stopped};

const INSTANCES: &str = "aguacero_wasm_instances_total";
const STOPPED: &str = "aguacero_wasm_stopped_total";
const MEMORY: &str = "aguacero_wasm_memory_bytes";
const MODULES_REFUSED: &str = "aguacero_wasm_modules_refused_total";

/// Tells Prometheus what they are, and begins at 0 what can be.
pub(crate) fn describe() {
    describe_counter!(INSTANCES, "Instances of the module that were begun");
    describe_counter!(
        STOPPED,
        "Instances of the module that were stopped, by reason"
    );
    describe_gauge!(MEMORY, Unit::Bytes, "Memory that the instance has");
    describe_counter!(
        MODULES_REFUSED,
        "Times that the module's files were changed into something that is not run"
    );
    counter!(INSTANCES).increment(0);
    counter!(MODULES_REFUSED).increment(0);
    for reason in Reason::ALL {
        counter!(STOPPED, "reason" => reason.name()).increment(0);
    }
}

/// An instance has begun.
pub(crate) fn begun() {
    counter!(INSTANCES).increment(1);
}

/// An instance was stopped.
pub(crate) fn stopped(stopped: &Stopped) {
    counter!(STOPPED, "reason" => stopped.reason.name()).increment(1);
}

/// What the instance has; only told where it has changed.
pub(crate) fn memory(bytes: usize) {
    gauge!(MEMORY).set(bytes as f64);
}

/// The files have become something that is not run.
pub(crate) fn module_refused() {
    counter!(MODULES_REFUSED).increment(1);
}
