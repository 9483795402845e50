//! What must hold between keys, often of different tables.

use std::{net::SocketAddr, time::Duration};

use ipnet::IpNet;

use crate::config::{ARCHIVES, Config, Type, raw::Source};

/// One side of a relation: the key and its value.
type Side = (&'static str, u64);

/// Reports every relation that does not hold.
pub(super) fn check(source: &Source, config: &Config) {
    deadlines(source, config);
    bytes(source, config);
    strings(source, config);
    proxies(source, config);
    addresses(source, config);
    sockets(source, config);
    collections(source, config);
    tokens(source, config);
}

/// Who has a token may write as its owner.
fn tokens(source: &Source, config: &Config) {
    let gateway = &config.gateway;
    if gateway.keys.is_some() && gateway.tls.is_none() && !gateway.listen.ip().is_loopback() {
        let what = "tokens are readable to everybody on the way, unless something in front speaks TLS; see tls_certificate";
        source.warn(&source.at("gateway.keys"), what);
    }
}

/// Deadlines nest, or an outcome that was about to be certain is answered with a guess.
fn deadlines(source: &Source, config: &Config) {
    let message = (
        "kafka.message_timeout_ms",
        millis(config.kafka.message_timeout),
    );
    let ack = ("gateway.ack_timeout_ms", millis(config.gateway.ack_timeout));
    let request = (
        "gateway.request_timeout_ms",
        millis(config.gateway.request_timeout),
    );
    below(
        source,
        message,
        ack,
        "the gateway must still be waiting when Kafka's outcome comes",
    );
    below(
        source,
        ack,
        request,
        "a request must outlive the wait for its receipt",
    );
    let slow = (
        "gateway.partition_slow_ms",
        millis(config.gateway.partition_slow),
    );
    at_most(
        source,
        slow,
        ack,
        "no receipt is waited for longer, so no partition would ever be slow",
    );
    let drain = (
        "gateway.drain_timeout_ms",
        millis(config.gateway.drain_timeout),
    );
    at_most(
        source,
        ack,
        drain,
        "what is on its way at SIGTERM must still get its answer",
    );
}

fn bytes(source: &Source, config: &Config) {
    let (gateway, consumer) = (&config.gateway, &config.consumer);
    let event = ("gateway.event_bytes_max", gateway.event_bytes_max as u64);
    let body = ("gateway.body_bytes_max", gateway.body_bytes_max as u64);
    let partition = (
        "gateway.partition_bytes_in_flight_max",
        gateway.partition_bytes_in_flight_max as u64,
    );
    let total = (
        "gateway.bytes_in_flight_max",
        gateway.bytes_in_flight_max as u64,
    );
    let batch = ("consumer.batch_bytes_max", consumer.batch_bytes_max as u64);
    let buffer = (
        "consumer.buffer_bytes_max",
        consumer.buffer_bytes_max as u64,
    );
    at_most(source, event, body, "the largest event comes in a body");
    at_most(
        source,
        event,
        partition,
        "the largest event must be able to leave",
    );
    at_most(
        source,
        event,
        batch,
        "the largest event must be able to be archived",
    );
    at_most(source, partition, total, "one partition is part of all");
    queue(source, config);
    at_most(source, batch, buffer, "a batch is gathered in the buffer");
}

/// A string that must be longer than it, or an event, can be never comes, nor strings that together must be.
fn strings(source: &Source, config: &Config) {
    let max = config.gateway.event_bytes_max;
    for stream in &config.streams {
        let mut required = 0_usize;
        for (i, field) in stream.fields.iter().enumerate() {
            let path = format!("streams.{}.fields[{i}].min_bytes", stream.name);
            let says = |what: String| source.report_absence(&source.at(&path), what);
            if field.required && field.types.0 == [Type::String] {
                required = required.saturating_add(field.min_bytes);
            }
            if !source.says(&path) || !source.sound("gateway.event_bytes_max") {
                continue;
            }
            let (least, most) = (field.min_bytes, field.max_bytes);
            let is_declared =
                source.says(&format!("streams.{}.fields[{i}].max_bytes", stream.name));
            if stream.id == Some(i) && least > most && !is_declared {
                says(format!(
                    "must be at most {most}, as the field names the event, is {least}"
                ));
            } else if least > max {
                says(format!(
                    "must be at most gateway.event_bytes_max ({max}), is {least}: no event could have it"
                ));
            } else if required > max {
                says(format!(
                    "makes it {required} bytes that each event must have, and gateway.event_bytes_max is {max}"
                ));
                break;
            }
        }
    }
}

/// The widest networks that anybody has for himself: 10.0.0.0/8, and fc00::/7.
const NETWORK_BITS_MIN: [u8; 2] = [8, 7];

/// Who trusts the word of everybody lets each client choose its own address.
fn proxies(source: &Source, config: &Config) {
    let path = "gateway.proxies";
    let merged = IpNet::aggregate(&config.gateway.proxies);
    let is_wide = |network: &&IpNet| match network {
        IpNet::V4(network) => network.prefix_len() < NETWORK_BITS_MIN[0],
        IpNet::V6(network) => network.prefix_len() < NETWORK_BITS_MIN[1],
    };
    if let Some(network) = merged.iter().find(is_wide)
        && source.sound(path)
    {
        let what = format!(
            "trusts {network}, and so whoever connects from there to say whose request it is; list the networks of \
             your own load balancers, like 10.0.0.0/8 or fd00::/8, or take proxies out if there are none"
        );
        source.report_absence(&source.at(path), what);
    }
}

/// What is on its way fits into librdkafka's queue. A request that finds anything left is taken whole, so one body may
/// be beyond the bound.
fn queue(source: &Source, config: &Config) {
    const KEYS: [&str; 3] = [
        "kafka_producer.queue_bytes_max",
        "gateway.bytes_in_flight_max",
        "gateway.body_bytes_max",
    ];
    let queue = config.kafka_producer.queue_bytes_max;
    let needed = config.gateway.bytes_in_flight_max + config.gateway.body_bytes_max;
    if needed < queue || !KEYS.iter().all(|key| source.sound(key)) {
        return;
    }
    let [first, total, body] = KEYS;
    let at = KEYS.iter().find(|key| source.says(key)).unwrap_or(&first);
    let what = format!(
        "{first} ({queue}) must be more than {total} and {body} together ({needed}): librdkafka's queue must never be what is full"
    );
    source.report_absence(&source.at(at), what);
}

fn below(source: &Source, lower: Side, upper: Side, why: &str) {
    if lower.1 >= upper.1 {
        out_of_order(source, lower, upper, ["less than", "more than"], why);
    }
}

fn at_most(source: &Source, lower: Side, upper: Side, why: &str) {
    if lower.1 > upper.1 {
        out_of_order(source, lower, upper, ["at most", "at least"], why);
    }
}

/// Points at the side that was declared; of two, at the upper one.
fn out_of_order(source: &Source, lower: Side, upper: Side, words: [&str; 2], why: &str) {
    if !source.sound(lower.0) || !source.sound(upper.0) {
        return;
    }
    let (at, other, word) = if source.says(upper.0) {
        (upper, lower, words[1])
    } else {
        (lower, upper, words[0])
    };
    let what = format!(
        "must be {word} {} ({}), is {}: {why}",
        other.0, other.1, at.1
    );
    source.report_absence(&source.at(at.0), what);
}

/// No two processes listen in the same place.
fn addresses(source: &Source, config: &Config) {
    let listeners = [
        ("gateway.listen", config.gateway.listen),
        ("gateway.admin", config.gateway.admin),
        ("kafka_producer.admin", config.kafka_producer.admin),
        ("redis_writer.admin", config.redis_writer.admin),
        ("consumer.admin", config.consumer.admin),
        ("wasm_producer.admin", config.wasm_producer.admin),
        ("console.listen", config.console.listen),
        ("console.admin", config.console.admin),
        ("tables.admin", config.tables.admin),
    ];
    for (i, (path, address)) in listeners.iter().enumerate() {
        if let Some((other, _)) = listeners[..i]
            .iter()
            .find(|(_, other)| clash(other, address))
        {
            differ(source, other, path, &address.to_string());
        }
    }
}

/// Port 0 is whatever is free.
fn clash(a: &SocketAddr, b: &SocketAddr) -> bool {
    let everywhere = a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() != 0 && a.port() == b.port() && (everywhere || a.ip() == b.ip())
}

fn sockets(source: &Source, config: &Config) {
    let sockets = [
        ("kafka_producer.socket", &config.kafka_producer.socket),
        ("redis_writer.socket", &config.redis_writer.socket),
        ("wasm_producer.socket", &config.wasm_producer.socket),
    ];
    for (i, (path, socket)) in sockets.iter().enumerate() {
        if let Some((other, _)) = sockets[..i].iter().find(|(_, other)| other == socket) {
            differ(source, other, path, &socket.display().to_string());
        }
    }
}

/// What cannot be archived does not go among what was.
fn collections(source: &Source, config: &Config) {
    if config.mongodb.dead_letters == ARCHIVES {
        let what = "is the collection that says whose the archives are: give it another name";
        source.report_absence(&source.at("mongodb.dead_letters"), what);
    }
    for stream in &config.streams {
        if stream.archive == ARCHIVES {
            let at = source.at(&format!("streams.{}.archive", stream.name));
            let what = "is the collection that says whose the archives are: give it another name";
            source.report_absence(&at, what);
        }
        if stream.archive == config.mongodb.dead_letters {
            let archive = format!("streams.{}.archive", stream.name);
            differ(source, "mongodb.dead_letters", &archive, &stream.archive);
        }
    }
}

/// Points at the second, unless only the first was declared.
fn differ(source: &Source, first: &str, second: &str, value: &str) {
    if !source.sound(first) || !source.sound(second) {
        return;
    }
    let (at, other) = if source.says(second) || !source.says(first) {
        (second, first)
    } else {
        (first, second)
    };
    let what = format!("must differ from {other}, which is {value} too");
    source.report_absence(&source.at(at), what);
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
