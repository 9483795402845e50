//! What the wasm-producer and its module tell each other, as messages of Protocol Buffers in the module's memory.
//!
//! The module exports functions; it imports none. Numbers of connections and slabs are 64 bits, times are nanoseconds since
//! a moment that the host has chosen, and *place* is where bytes lie in the module's memory: the address in the upper 32
//! bits, the length in the lower.
//!
//! | export | parameters | result |
//! |---|---|---|
//! | `version` | | [`VERSION`] |
//! | `input` | bytes | address at which the host writes so many, for the next call that reads them |
//! | `start` | bytes of a [`Start`] | place of the words in which it is refused; length 0: it is not |
//! | `submit` | slab's number, bytes of the slab, time | |
//! | `opened` | connection, time | |
//! | `received` | connection, bytes, time | |
//! | `lost` | connection, bytes of the words why, time | |
//! | `advance` | time | place of a [`Turn`] |
//! | `sent` | connection, how many bytes | place of what is unsent then |
#![forbid(unsafe_code)]

use std::time::Duration;

use producer_engine::{
    Action, Address, Compression, ConnectionId, Notice, Outcome, Part, Settings, error,
    receipt::{Reason, codes},
    settings::{Mechanism, Sasl},
};
use prost::{Enumeration, Message, Oneof};
use uuid::Uuid;

/// Of this interface; host and module have to agree on it.
pub const VERSION: u32 = 1;

/// Exported names, in the order of the table above.
pub const EXPORTS: [&str; 9] = [
    "version", "input", "start", "submit", "opened", "received", "lost", "advance", "sent",
];

/// Address and length as one number.
#[must_use]
pub fn place(address: u32, bytes: u32) -> u64 {
    u64::from(address) << 32 | u64::from(bytes)
}

/// The reverse of [`place`].
#[must_use]
pub fn address_and_bytes(place: u64) -> (usize, usize) {
    (
        (place >> 32) as usize,
        (place & u64::from(u32::MAX)) as usize,
    )
}

/// [`Settings`], and how many bytes a batch of each topic may have.
#[derive(Clone, PartialEq, Message)]
pub struct Start {
    /// `client.id`
    #[prost(string, tag = "1")]
    pub client_id: String,
    /// Where the cluster is asked for first.
    #[prost(message, repeated, tag = "2")]
    pub bootstrap: Vec<Broker>,
    /// Topics that slabs may be of.
    #[prost(message, repeated, tag = "3")]
    pub topics: Vec<Topic>,
    /// `delivery_timeout`, `request_timeout`, `connect_timeout`, `backoff`, `backoff_max`, `metadata_max_age`.
    #[prost(uint64, repeated, tag = "4")]
    pub times_ns: Vec<u64>,
    /// `in_flight_max`, `request_bytes_max`, `queue_bytes_max`.
    #[prost(uint64, repeated, tag = "5")]
    pub bounds: Vec<u64>,
    /// Name of the codec.
    #[prost(string, tag = "6")]
    pub compression: String,
    /// Who this is.
    #[prost(message, optional, tag = "7")]
    pub sasl: Option<Identity>,
    /// 32 bytes that cannot be guessed.
    #[prost(bytes = "vec", tag = "8")]
    pub seed: Vec<u8>,
}

/// Where a broker listens.
#[derive(Clone, PartialEq, Message)]
pub struct Broker {
    /// Name or number.
    #[prost(string, tag = "1")]
    pub host: String,
    /// TCP port.
    #[prost(uint32, tag = "2")]
    pub port: u32,
}

/// A topic.
#[derive(Clone, PartialEq, Message)]
pub struct Topic {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Bytes that a batch may have; 0: as many as a request.
    #[prost(uint64, tag = "2")]
    pub batch_bytes_max: u64,
}

/// For brokers that ask who this is.
#[derive(Clone, PartialEq, Message)]
pub struct Identity {
    /// Name of the mechanism.
    #[prost(string, tag = "1")]
    pub mechanism: String,
    /// Name of the user.
    #[prost(string, tag = "2")]
    pub user: String,
    /// The password.
    #[prost(string, tag = "3")]
    pub password: String,
}

/// How the module stands after what was due is done.
#[derive(Clone, PartialEq, Message)]
pub struct Turn {
    /// What is to be done, in order.
    #[prost(message, repeated, tag = "1")]
    pub acts: Vec<Act>,
    /// What connections have to write.
    #[prost(message, repeated, tag = "2")]
    pub unsent: Vec<Unsent>,
    /// When it has to be called again at the latest.
    #[prost(uint64, optional, tag = "3")]
    pub deadline_ns: Option<u64>,
    /// Whether slabs could leave now.
    #[prost(bool, tag = "4")]
    pub is_ready: bool,
    /// Slabs whose receipts are still to come.
    #[prost(uint64, tag = "5")]
    pub held: u64,
}

/// Bytes that a connection has to write.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct Unsent {
    /// Which.
    #[prost(uint64, tag = "1")]
    pub connection: u64,
    /// Where they lie.
    #[prost(fixed64, tag = "2")]
    pub place: u64,
}

/// [`Action`], with numbers in the place of slabs.
#[derive(Clone, PartialEq, Message)]
pub struct Act {
    /// Which.
    #[prost(oneof = "Kind", tags = "1, 2, 3, 4, 5, 6, 7")]
    pub kind: Option<Kind>,
}

/// What is to be done.
#[derive(Clone, PartialEq, Oneof)]
pub enum Kind {
    /// Open a connection.
    #[prost(message, tag = "1")]
    Connect(Connect),
    /// Close a connection.
    #[prost(uint64, tag = "2")]
    Close(u64),
    /// What became of a slab.
    #[prost(message, tag = "3")]
    Receipt(Receipt),
    /// A connection was lost, or not made.
    #[prost(message, tag = "4")]
    Connection(Lost),
    /// A broker has not taken a batch.
    #[prost(message, tag = "5")]
    Refused(Refused),
    /// A partition's batches get new numbers.
    #[prost(message, tag = "6")]
    NewEpoch(Refused),
    /// No id for the producer is to be had.
    #[prost(string, tag = "7")]
    NoProducerId(String),
}

/// A connection that is wanted.
#[derive(Clone, PartialEq, Message)]
pub struct Connect {
    /// What it will be called.
    #[prost(uint64, tag = "1")]
    pub connection: u64,
    /// Where to.
    #[prost(message, optional, tag = "2")]
    pub to: Option<Broker>,
}

/// What became of a slab.
#[derive(Clone, PartialEq, Message)]
pub struct Receipt {
    /// The slab's number.
    #[prost(uint64, tag = "1")]
    pub slab: u64,
    /// In order; together they cover every record.
    #[prost(message, repeated, tag = "2")]
    pub parts: Vec<Records>,
}

/// What became of consecutive records.
#[derive(Clone, PartialEq, Message)]
pub struct Records {
    /// How many.
    #[prost(uint32, tag = "1")]
    pub count: u32,
    /// What became of them.
    #[prost(enumeration = "Fate", tag = "2")]
    pub fate: i32,
    /// Stored: the offset of the first.
    #[prost(int64, tag = "3")]
    pub offset: i64,
    /// Stored: the topic's id, 16 bytes, if the broker has confirmed it.
    #[prost(bytes = "vec", tag = "4")]
    pub topic: Vec<u8>,
    /// Otherwise: Kafka's name of the error.
    #[prost(string, tag = "5")]
    pub code: String,
    /// And what a person should know beside it.
    #[prost(string, optional, tag = "6")]
    pub message: Option<String>,
}

/// What became of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enumeration)]
#[repr(i32)]
pub enum Fate {
    /// Perhaps in the log.
    Unknown = 0,
    /// In the log.
    Stored = 1,
    /// Not in the log.
    NotStored = 2,
    /// Not in the log, and too large for it.
    TooLarge = 3,
}

/// A connection that was lost.
#[derive(Clone, PartialEq, Message)]
pub struct Lost {
    /// Where to.
    #[prost(message, optional, tag = "1")]
    pub to: Option<Broker>,
    /// Why.
    #[prost(string, tag = "2")]
    pub why: String,
}

/// A batch that was not taken, or a partition that begins anew.
#[derive(Clone, PartialEq, Message)]
pub struct Refused {
    /// The topic's name.
    #[prost(string, tag = "1")]
    pub topic: String,
    /// The partition's number.
    #[prost(uint32, tag = "2")]
    pub partition: u32,
    /// Records of the batch.
    #[prost(uint32, tag = "3")]
    pub records: u32,
    /// Kafka's name of the error.
    #[prost(string, tag = "4")]
    pub code: String,
    /// What a person should know beside it.
    #[prost(string, optional, tag = "5")]
    pub message: Option<String>,
}

impl From<&Address> for Broker {
    fn from(address: &Address) -> Self {
        Self {
            host: address.host.clone(),
            port: address.port.into(),
        }
    }
}

impl From<Broker> for Address {
    fn from(broker: Broker) -> Self {
        Self {
            host: broker.host,
            port: broker.port as u16,
        }
    }
}

impl Start {
    /// What an engine is to be told.
    #[must_use]
    pub fn of(settings: &Settings, batch_bytes_max: &[(String, usize)]) -> Self {
        let s = settings;
        let times = [
            s.delivery_timeout,
            s.request_timeout,
            s.connect_timeout,
            s.backoff,
            s.backoff_max,
            s.metadata_max_age,
        ];
        let bounds = [s.in_flight_max, s.request_bytes_max, s.queue_bytes_max];
        let bytes_max = |name: &String| batch_bytes_max.iter().find(|(topic, _)| topic == name);
        Self {
            client_id: s.client_id.clone(),
            bootstrap: s.bootstrap.iter().map(Broker::from).collect(),
            topics: s
                .topics
                .iter()
                .map(|name| Topic {
                    name: name.clone(),
                    batch_bytes_max: bytes_max(name).map_or(0, |(_, bytes)| *bytes as u64),
                })
                .collect(),
            times_ns: times.iter().map(nanoseconds).collect(),
            bounds: bounds.iter().map(|bound| *bound as u64).collect(),
            compression: s.compression.name().to_owned(),
            sasl: s.sasl.as_ref().map(|sasl| Identity {
                mechanism: sasl.mechanism.name().to_owned(),
                user: sasl.user.clone(),
                password: sasl.password.clone(),
            }),
            seed: s.seed.to_vec(),
        }
    }

    /// The settings; or why they cannot be followed.
    pub fn settings(self) -> Result<Settings, String> {
        let [delivery, request, connect, backoff, backoff_max, age] = self.times_ns[..] else {
            return Err(format!("{} times, not 6", self.times_ns.len()));
        };
        let [in_flight_max, request_bytes_max, queue_bytes_max] = self.bounds[..] else {
            return Err(format!("{} bounds, not 3", self.bounds.len()));
        };
        let compression = Compression::by_name(&self.compression)
            .ok_or_else(|| format!("this module has no compression \"{}\"", self.compression))?;
        let sasl = self.sasl.map(|who| {
            let mechanism = Mechanism::by_name(&who.mechanism);
            mechanism.map(|mechanism| Sasl {
                mechanism,
                user: who.user,
                password: who.password,
            })
        });
        Ok(Settings {
            client_id: self.client_id,
            bootstrap: self.bootstrap.into_iter().map(Address::from).collect(),
            topics: self.topics.into_iter().map(|topic| topic.name).collect(),
            delivery_timeout: Duration::from_nanos(delivery),
            request_timeout: Duration::from_nanos(request),
            connect_timeout: Duration::from_nanos(connect),
            backoff: Duration::from_nanos(backoff),
            backoff_max: Duration::from_nanos(backoff_max),
            metadata_max_age: Duration::from_nanos(age),
            in_flight_max: in_flight_max as usize,
            request_bytes_max: request_bytes_max as usize,
            queue_bytes_max: queue_bytes_max as usize,
            compression,
            sasl: match sasl {
                Some(None) => return Err("this module does not know the mechanism of SASL".into()),
                known => known.flatten(),
            },
            seed: <[u8; 32]>::try_from(self.seed).map_err(|_| "the seed is not 32 bytes")?,
        })
    }
}

/// As numbers of 64 bits, which last 584 years.
#[must_use]
pub fn nanoseconds(time: &Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl Records {
    fn of(part: Part) -> Self {
        let (fate, reason) = match part.outcome {
            Outcome::Stored { offset, topic } => {
                return Self {
                    count: part.records.len() as u32,
                    fate: Fate::Stored.into(),
                    offset,
                    topic: topic.map_or_else(Vec::new, |id| id.as_bytes().to_vec()),
                    ..Self::default()
                };
            }
            Outcome::NotStored(reason) => (Fate::NotStored, reason),
            Outcome::TooLarge(reason) => (Fate::TooLarge, reason),
            Outcome::Unknown(reason) => (Fate::Unknown, reason),
        };
        Self {
            count: part.records.len() as u32,
            fate: fate.into(),
            code: reason.code.to_owned(),
            message: reason.message,
            ..Self::default()
        }
    }

    fn outcome(self) -> Outcome {
        let reason = reason(&self.code, self.message);
        match Fate::try_from(self.fate) {
            Ok(Fate::Stored) => Outcome::Stored {
                offset: self.offset,
                topic: Uuid::from_slice(&self.topic).ok(),
            },
            Ok(Fate::NotStored) => Outcome::NotStored(reason),
            Ok(Fate::TooLarge) => Outcome::TooLarge(reason),
            Ok(Fate::Unknown) | Err(_) => Outcome::Unknown(reason),
        }
    }
}

impl Receipt {
    /// What became of a slab of so many records; none if the parts do not cover them.
    #[must_use]
    pub fn parts(self, records: usize) -> Option<Vec<Part>> {
        let mut first = 0_usize;
        let mut parts = Vec::with_capacity(self.parts.len());
        for part in self.parts {
            let end = first.checked_add(part.count as usize)?;
            parts.push(Part {
                records: first..end,
                outcome: part.outcome(),
            });
            first = end;
        }
        (first == records).then_some(parts)
    }
}

impl Act {
    /// What the module's engine wants; `number` tells the number of a slab.
    pub fn of<S>(action: Action<S>, number: impl FnOnce(S) -> u64) -> Self {
        let kind = match action {
            Action::Connect {
                connection,
                address,
            } => Kind::Connect(Connect {
                connection: connection.0,
                to: Some(Broker::from(&address)),
            }),
            Action::Close { connection } => Kind::Close(connection.0),
            Action::Receipt(receipt) => Kind::Receipt(Receipt {
                slab: number(receipt.slab),
                parts: receipt.parts.into_iter().map(Records::of).collect(),
            }),
            Action::Notice(Notice::Connection { address, why }) => Kind::Connection(Lost {
                to: Some(Broker::from(&address)),
                why,
            }),
            Action::Notice(Notice::Refused {
                topic,
                partition,
                records,
                reason,
            }) => Kind::Refused(Refused {
                topic,
                partition: partition as u32,
                records: records as u32,
                code: reason.code.to_owned(),
                message: reason.message,
            }),
            Action::Notice(Notice::NewEpoch { topic, partition }) => Kind::NewEpoch(Refused {
                topic,
                partition: partition as u32,
                ..Refused::default()
            }),
            Action::Notice(Notice::NoProducerId { code }) => Kind::NoProducerId(code.to_owned()),
        };
        Self { kind: Some(kind) }
    }
}

impl Kind {
    /// What is to be done, unless it is about a slab.
    ///
    /// # Errors
    /// The receipt, whose slab only the host knows.
    pub fn action<S>(self) -> Result<Action<S>, Receipt> {
        let notice = match self {
            Self::Receipt(receipt) => return Err(receipt),
            Self::Connect(wanted) => {
                return Ok(Action::Connect {
                    connection: ConnectionId(wanted.connection),
                    address: wanted.to.unwrap_or_default().into(),
                });
            }
            Self::Close(connection) => {
                return Ok(Action::Close {
                    connection: ConnectionId(connection),
                });
            }
            Self::Connection(lost) => Notice::Connection {
                address: lost.to.unwrap_or_default().into(),
                why: lost.why,
            },
            Self::Refused(batch) => Notice::Refused {
                topic: batch.topic,
                partition: batch.partition as usize,
                records: batch.records as usize,
                reason: reason(&batch.code, batch.message),
            },
            Self::NewEpoch(of) => Notice::NewEpoch {
                topic: of.topic,
                partition: of.partition as usize,
            },
            Self::NoProducerId(code) => Notice::NoProducerId { code: known(&code) },
        };
        Ok(Action::Notice(notice))
    }
}

fn reason(code: &str, message: Option<String>) -> Reason {
    Reason {
        code: known(code),
        message,
    }
}

/// A name of the fixed set that metrics are labelled with.
fn known(code: &str) -> &'static str {
    let of_kafka = error::TABLE.iter().map(|(_, name, ..)| *name);
    let all = codes::ALL.into_iter().chain(of_kafka);
    all.into_iter()
        .find(|name| *name == code)
        .unwrap_or("UNKNOWN_ERROR_CODE")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_an_address_and_a_length() {
        assert_eq!(address_and_bytes(place(7, 9)), (7, 9));
        let end = place(u32::MAX, u32::MAX);
        assert_eq!(
            address_and_bytes(end),
            (u32::MAX as usize, u32::MAX as usize)
        );
    }

    #[test]
    fn settings_come_over_as_they_were() {
        let settings = Settings {
            client_id: "x".to_owned(),
            bootstrap: vec![Address {
                host: "::1".to_owned(),
                port: 9092,
            }],
            topics: vec!["a".to_owned(), "b".to_owned()],
            compression: Compression::by_name("lz4").unwrap_or_default(),
            sasl: Some(Sasl {
                mechanism: Mechanism::ScramSha256,
                user: "u".to_owned(),
                password: "p".to_owned(),
            }),
            seed: [7; 32],
            ..Settings::default()
        };
        let start = Start::of(&settings, &[("b".to_owned(), 9)]);
        assert_eq!(start.topics[1].batch_bytes_max, 9);
        let bytes = start.encode_to_vec();
        let read = Start::decode(&bytes[..]).map(Start::settings);
        let read = read.expect("it was written here").expect("it is known");
        assert_eq!(format!("{read:?}"), format!("{settings:?}"));
    }

    #[test]
    fn a_receipt_that_does_not_cover_its_slab_is_none() {
        let receipt = |counts: &[u32]| Receipt {
            slab: 1,
            parts: counts
                .iter()
                .map(|&count| Records {
                    count,
                    ..Records::default()
                })
                .collect(),
        };
        assert!(receipt(&[1, 2]).parts(3).is_some());
        for wrong in [&[1, 1][..], &[1, 3], &[u32::MAX, u32::MAX, 4], &[]] {
            assert!(receipt(wrong).parts(3).is_none(), "{wrong:?}");
        }
    }

    #[test]
    fn what_is_not_said_clearly_may_have_happened() {
        let part = Records {
            count: 1,
            fate: 77,
            code: "NEVER_HEARD_OF".to_owned(),
            ..Records::default()
        };
        let reason = Reason::of("UNKNOWN_ERROR_CODE");
        assert_eq!(part.outcome(), Outcome::Unknown(reason));
    }
}
