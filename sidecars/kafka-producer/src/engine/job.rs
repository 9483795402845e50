//! A slab as an engine takes it, and what becomes of its receipt.

use aguacero_proto::produce;
use base64::{Engine as _, prelude::BASE64_STANDARD_NO_PAD};
use producer_engine::{Outcome, Receipt, receipt::Reason};
use uuid::Uuid;

use crate::{metric, receipt::Flight, topics::Known};

/// A slab, and where its receipt goes.
pub type Job = slab_records::Job<Flight>;

/// `INVALID_RECORD` as `InvalidRecord`, as librdkafka has it: a metric's labels are the same with either client.
pub(super) fn camel(code: &str) -> String {
    let words = code.split('_').filter_map(|word| word.split_at_checked(1));
    words.fold(String::new(), |text, (first, rest)| {
        text + first + &rest.to_ascii_lowercase()
    })
}

/// Sends a slab's receipt.
pub(super) fn finish(receipt: Receipt<Job>, topics: &Known) {
    let Job {
        slab,
        carried: mut flight,
    } = receipt.slab;
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
