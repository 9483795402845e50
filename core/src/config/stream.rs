//! A stream: which events it takes, where they go and what is counted. Declared, not programmed.

use std::time::Duration;

use super::table::Table;
use crate::scalar::Scalar;

/// `[streams.NAME]`
#[derive(Debug, Clone)]
pub struct Stream {
    /// Position in `Config::streams`.
    pub index: usize,
    /// Name, also in the Kafka record's header and in Redis' keys.
    pub name: String,
    /// Position in `Config::topics`.
    pub topic: usize,
    /// MongoDB collection.
    pub archive: String,
    /// How a partition is chosen.
    pub spread: Spread,
    /// Position in `fields` of the client's own event id.
    pub id: Option<usize>,
    /// Declared fields. Others are kept as they are.
    pub fields: Vec<Field>,
    /// Their names.
    pub names: FieldNames,
    /// What is counted beside the total.
    pub counters: Vec<Counter>,
    /// Of `counters`: the ledger refuses to mix two definitions.
    pub counters_fingerprint: u64,
    /// Where its events come in.
    pub routes: Vec<Route>,
    /// Who may write.
    pub access: Access,
    /// Whose pages may write from a browser; none unless declared.
    pub cors: Option<Cors>,
    /// What a body of the media type `text/plain` holds; 415 unless declared.
    pub text_plain: Option<TextPlain>,
    /// What becomes of an event under whose id the archive has another one.
    pub on_id_conflict: OnIdConflict,
    /// The table of PostgreSQL that its events become rows of, if it declares one.
    pub table: Option<Table>,
}

/// `on_id_conflict = "dead-letter" | "first"`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnIdConflict {
    /// A dead letter.
    #[default]
    DeadLetter,
    /// It is counted in a metric and not kept: for clients that put something new, such as the time, into every
    /// attempt to send an event.
    First,
}

/// `text_plain = "json" | "ndjson"`: a page's `navigator.sendBeacon` sends texts so, and without asking first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextPlain {
    /// As `application/json`: an event, or an array of them.
    Json,
    /// As `application/x-ndjson`: an event a line.
    Ndjson,
}

/// `access = "open" | "keys"`. Without it: `Keys` if `gateway.keys` names a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Anyone who can reach the gateway.
    Open,
    /// Who sends a token of a key for this stream.
    Keys,
}

/// `cors = { origins = ["https://a.example"], headers = ["x-page"], max_age_s = 600 }`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cors {
    /// As a browser sends them, `scheme://host[:port]`; or `*` alone: any.
    pub origins: Vec<String>,
    /// Names of fields that a page may send beside those that mean something here, in lower case; without it, any.
    pub headers: Option<Vec<String>>,
    /// How long a browser may remember the answer to a preflight.
    pub max_age: Duration,
}

impl Cors {
    /// Whether pages of any origin may write.
    #[must_use]
    pub fn is_any(&self) -> bool {
        self.origins == ["*"]
    }
}

/// How a stream's events choose their partition.
#[derive(Debug, Clone)]
pub struct Spread {
    /// Tried in order; the first that holds decides.
    pub rules: Vec<Rule>,
    /// What holds otherwise.
    pub otherwise: Partitioning,
}

/// The part of `spread` that has no conditions.
#[derive(Debug, Clone)]
pub enum Partitioning {
    /// Any ordinary partition: the worker stays with one until its frame leaves.
    Sticky,
    /// murmur2 of this field (position in `fields`) over the ordinary partitions, as Kafka's Java
    /// client does it. The field is also the record's key.
    Key(usize),
}

/// `{ when = { field = "…", is = […] }, partition = "…" }`; without `when` it always holds.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Position in `fields`, and the values that make the rule hold.
    pub when: Option<(usize, Vec<Scalar<'static>>)>,
    /// Number of the reserved partition.
    pub partition: i32,
}

/// A declared field.
#[derive(Debug, Clone)]
pub struct Field {
    /// The name used in errors and for the archive's index.
    pub name: String,
    /// `name` and its aliases: an event may use any one of them.
    pub names: Vec<String>,
    /// What its value may be; empty in the file means anything.
    pub types: Types,
    /// Neither absent nor null.
    pub required: bool,
    /// Bytes of a string, as UTF-8. For a required string 1 unless declared: an empty one does not fit.
    pub min_bytes: usize,
    /// Bytes of a string, as UTF-8; at most `gateway.event_bytes_max`.
    pub max_bytes: usize,
    /// Least number.
    pub min: Option<f64>,
    /// Greatest number.
    pub max: Option<f64>,
    /// The only values allowed, if any are listed.
    pub values: Vec<Scalar<'static>>,
}

/// So few names are found quickest one after the other, as they are declared; more are sorted.
const NAMES_UNSORTED_MAX: usize = 8;

/// The names of a stream's fields and their aliases, as each key of an event is looked up in them.
#[derive(Debug, Clone, Default)]
pub struct FieldNames(Vec<(String, usize, usize)>);

impl FieldNames {
    /// Those of `fields`.
    #[must_use]
    pub fn of(fields: &[Field]) -> Self {
        let each = fields.iter().enumerate().flat_map(|(field, declared)| {
            let names = declared.names.iter().enumerate();
            names.map(move |(rank, name)| (name.clone(), field, rank))
        });
        let mut names: Vec<_> = each.collect();
        if names.len() > NAMES_UNSORTED_MAX {
            names.sort();
        }
        Self(names)
    }

    /// Position of the field that `name` stands for, and which of its names that is.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<(usize, usize)> {
        let at = match self.0.len() > NAMES_UNSORTED_MAX {
            true => self.0.binary_search_by(|(n, ..)| n.as_str().cmp(name)).ok(),
            false => self.0.iter().position(|(n, ..)| n == name),
        };
        let (_, field, rank) = &self.0[at?];
        Some((*field, *rank))
    }
}

/// What a field's value may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// `"…"`
    String,
    /// A number without fraction or exponent.
    Integer,
    /// Any number.
    Number,
    /// `true` or `false`
    Boolean,
    /// `{…}`
    Object,
    /// `[…]`
    Array,
    /// `{"lat": -33.4, "lon": -70.6}` (also `latitud`/`longitud`), `[-33.4, -70.6]` or `"-33.4,-70.6"`,
    /// in degrees.
    Coordinates,
}

/// A set of [`Type`]s; empty allows any.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Types(pub Vec<Type>);

/// `{ name = "by_country", by = ["país"], max_distinct = 10000 }`
#[derive(Debug, Clone)]
pub struct Counter {
    /// Redis hash `{stream}:NAME`.
    pub name: String,
    /// Positions in `fields`; several make one key, joined by `|`.
    pub by: Vec<usize>,
    /// Keys with a field of their own; others count as overflow.
    pub max_distinct: usize,
    /// The only keys that get a field of their own, if any are listed.
    pub values: Vec<String>,
}

/// `[[streams.NAME.routes]]`
#[derive(Debug, Clone)]
pub struct Route {
    /// Path of the URL, exactly.
    pub path: String,
    /// How its frames reach Kafka.
    pub via: Via,
}

/// The transport between gateway and Kafka: the process that produces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Via {
    /// The kafka-producer.
    Grpc,
    /// The wasm-producer: the same stream of gRPC, the producer in WebAssembly.
    Wasm,
}

impl Via {
    /// Every one.
    pub const ALL: [Self; 2] = [Self::Grpc, Self::Wasm];

    /// As the file has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
            Self::Wasm => "wasm",
        }
    }

    /// The process that produces.
    #[must_use]
    pub fn process(self) -> &'static str {
        match self {
            Self::Grpc => "kafka-producer",
            Self::Wasm => "wasm-producer",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_among_few_and_among_many() {
        for count in [1, NAMES_UNSORTED_MAX / 2, NAMES_UNSORTED_MAX, 80] {
            let field = |n: usize| Field {
                name: format!("f{n}"),
                names: vec![format!("f{n}"), format!("alias of {n}")],
                types: Types::default(),
                required: false,
                min_bytes: 0,
                max_bytes: 1,
                min: None,
                max: None,
                values: Vec::new(),
            };
            let fields: Vec<_> = (0..count).map(field).collect();
            let names = FieldNames::of(&fields);
            for (field, declared) in fields.iter().enumerate() {
                for (rank, name) in declared.names.iter().enumerate() {
                    assert_eq!(names.find(name), Some((field, rank)), "{name} of {count}");
                }
            }
            assert_eq!(names.find("f"), None);
        }
    }
}
