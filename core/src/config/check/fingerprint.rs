//! What a definition comes down to, as 64 bits that stay the same from release to release.
//!
//! SHA-256 over the checked values, every text with its length before it. The order counts where it
//! has a meaning (topics, streams, fields and counters are known by their position), not where the
//! file lists a set (aliases, types, values).

use sha2::{Digest, Sha256};

use crate::{
    config::{Counter, Field, Partitioning, Rule, Stream, Topic},
    scalar::Scalar,
};

use super::fields::type_name;

/// Of topics and streams.
pub(super) fn of_config(topics: &[Topic], streams: &[Stream]) -> u64 {
    let mut hash = Fingerprint::new("config 1");
    hash.each(topics, topic);
    hash.each(streams, |hash, stream| {
        hash.text(topics.get(stream.topic).map_or("", |topic| &topic.name));
        self::stream(hash, stream);
    });
    hash.finish()
}

/// Of a stream's counters: whatever changes the meaning of what Redis shows.
pub(super) fn of_counters(counters: &[Counter], fields: &[Field]) -> u64 {
    let mut hash = Fingerprint::new("counters 1");
    hash.each(counters, |hash, counter| {
        hash.text(&counter.name);
        hash.each(&counter.by, |hash, by| hash.text(&fields[*by].name));
        hash.number(counter.max_distinct as u64);
        hash.set(&counter.values, String::clone);
    });
    hash.finish()
}

fn topic(hash: &mut Fingerprint, topic: &Topic) {
    hash.text(&topic.name);
    for number in [topic.partitions, topic.replication, topic.min_insync] {
        hash.number(number as u64);
    }
    hash.each(&topic.reserved, |hash, (name, number)| {
        hash.text(name);
        hash.number(*number as u64);
    });
}

fn stream(hash: &mut Fingerprint, stream: &Stream) {
    hash.text(&stream.name);
    hash.text(&stream.archive);
    hash.each(&stream.fields, field);
    hash.option(stream.id.map(|position| position as u64));
    hash.each(&stream.spread.rules, rule);
    hash.option(match stream.spread.otherwise {
        Partitioning::Sticky => None,
        Partitioning::Key(position) => Some(position as u64),
    });
    hash.number(stream.counters_fingerprint);
    hash.each(&stream.routes, |hash, route| {
        hash.text(&route.path);
        hash.text(route.via.name());
    });
}

fn field(hash: &mut Fingerprint, field: &Field) {
    hash.text(&field.name);
    hash.set(&field.names, String::clone);
    hash.set(&field.types.0, |of| type_name(*of).to_owned());
    hash.number(field.required.into());
    hash.number(field.min_bytes as u64);
    hash.number(field.max_bytes as u64);
    hash.option(field.min.map(f64::to_bits));
    hash.option(field.max.map(f64::to_bits));
    hash.set(&field.values, scalar);
}

fn rule(hash: &mut Fingerprint, rule: &Rule) {
    hash.number(rule.partition as u64);
    hash.each(rule.when.as_slice(), |hash, (position, is)| {
        hash.number(*position as u64);
        hash.set(is, scalar);
    });
}

/// The text of a value with its type before it, so that `"1"` and `1` differ.
fn scalar(value: &Scalar<'static>) -> String {
    let kind = match value {
        Scalar::Str(_) => "string",
        Scalar::Bool(_) => "boolean",
        Scalar::Int(_) | Scalar::Large(_) => "integer",
        Scalar::Float(_) => "float",
    };
    format!("{kind} {}", value.text())
}

struct Fingerprint(Sha256);

impl Fingerprint {
    fn new(kind: &str) -> Self {
        let mut hash = Self(Sha256::new());
        hash.text(kind);
        hash
    }

    fn number(&mut self, number: u64) {
        self.0.update(number.to_be_bytes());
    }

    fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.0.update(text);
    }

    fn option(&mut self, number: Option<u64>) {
        self.each(number.as_slice(), |hash, number| hash.number(*number));
    }

    fn each<T>(&mut self, items: &[T], mut add: impl FnMut(&mut Self, &T)) {
        self.number(items.len() as u64);
        for item in items {
            add(self, item);
        }
    }

    /// Items whose order means nothing.
    fn set<T>(&mut self, items: &[T], text: impl Fn(&T) -> String) {
        let mut texts: Vec<String> = items.iter().map(text).collect();
        texts.sort_unstable();
        self.each(&texts, |hash, text| hash.text(text));
    }

    fn finish(self) -> u64 {
        self.0.finalize()[..8]
            .iter()
            .fold(0, |bits, byte| bits << 8 | u64::from(*byte))
    }
}
