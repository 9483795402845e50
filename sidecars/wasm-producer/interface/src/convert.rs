//! From what the engine has to the messages, and back.

use std::time::Duration;

use producer_engine::{
    Action, Address, Compression, ConnectionId, Notice, Outcome, Part, Settings, error,
    receipt::{Reason, codes},
    settings::{Mechanism, Sasl},
};
use uuid::Uuid;

use crate::{
    Act, Broker, Connect, Fate, Identity, Kind, Lost, Receipt, Records, Refused, Start, Topic,
    nanoseconds,
};

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
    use prost::Message as _;

    use super::*;

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
