//! Responses, of which only what an engine needs is kept.

use kafka_protocol::{
    messages::{InitProducerIdResponse, SaslAuthenticateResponse},
    protocol::Decodable as _,
};
use uuid::Uuid;

use super::{
    PRODUCE_BY_ID, Versions,
    reader::{Malformed, Read, Reader},
};
use crate::Address;

/// What the broker says of one batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Produced {
    /// The topic by its name, below version 13.
    pub topic: String,
    /// The topic by its id, from there on.
    pub topic_id: Uuid,
    /// The partition's number.
    pub partition: i32,
    /// 0, or Kafka's code of an error.
    pub error: i16,
    /// The offset of the batch's first record.
    pub offset: i64,
    /// What a person should know of the error.
    pub message: Option<String>,
    /// Who leads the partition now, and in which epoch, if the broker knows better (KIP-951).
    pub leader: Option<(i32, i32)>,
}

/// Answer to a Produce request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Produce {
    /// Of each batch.
    pub batches: Vec<Produced>,
    /// How long this connection shall be silent (KIP-219).
    pub throttle_ms: i32,
    /// Where the leaders are that were told.
    pub brokers: Vec<(i32, Address)>,
}

/// Reads the answer to a Produce request of `version`.
pub fn produce(bytes: &[u8], version: i16) -> Read<Produce> {
    let mut all = Produce::default();
    let (batches, brokers) = (&mut all.batches, &mut all.brokers);
    let mut r = Reader(bytes);
    r.list(|r| {
        let (topic_id, topic) = match version >= PRODUCE_BY_ID {
            true => (r.uuid()?, String::new()),
            false => (Uuid::nil(), r.text()?.unwrap_or_default()),
        };
        r.list(|r| {
            let (partition, error, offset) = (r.i32()?, r.i16()?, r.i64()?);
            r.bytes(16)?; // the time of the append, and where the log begins
            let mut of_records = None;
            r.list(|r| {
                r.i32()?;
                let message = r.text()?;
                of_records = of_records.take().or(message);
                r.no_tags()
            })?;
            let message = r.text()?;
            let mut leader = None;
            r.tags(|tag, field| {
                if tag == 0 {
                    leader = Some((field.i32()?, field.i32()?));
                }
                Ok(())
            })?;
            batches.push(Produced {
                topic: topic.clone(),
                topic_id,
                partition,
                error,
                offset,
                message: of_records.or(message),
                leader,
            });
            Ok(())
        })?;
        r.no_tags()
    })?;
    all.throttle_ms = r.i32()?;
    r.tags(|tag, field| match tag {
        0 => field.list(|r| {
            brokers.push(broker(r)?);
            Ok(())
        }),
        _ => Ok(()),
    })?;
    Ok(all)
}

/// Number, host, port, rack, tags.
fn broker(r: &mut Reader<'_>) -> Read<(i32, Address)> {
    let number = r.i32()?;
    let host = r.text()?.ok_or(Malformed)?;
    let port = u16::try_from(r.i32()?).map_err(|_| Malformed)?;
    r.text()?;
    r.no_tags()?;
    Ok((number, Address { host, port }))
}

/// A partition as a broker knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partition {
    /// Its number.
    pub number: i32,
    /// Who leads it; negative: nobody.
    pub leader: i32,
    /// How often it has had another leader.
    pub leader_epoch: i32,
}

/// A topic as a broker knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// 0, or Kafka's code of an error.
    pub error: i16,
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: Uuid,
    /// Its partitions, in no order.
    pub partitions: Vec<Partition>,
}

/// Answer to a Metadata request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metadata {
    /// Number and address of each broker.
    pub brokers: Vec<(i32, Address)>,
    /// The topics that were asked for.
    pub topics: Vec<Topic>,
    /// Of the whole; 0 below version 13.
    pub error: i16,
}

/// Reads the answer to a Metadata request of `version`.
pub fn metadata(bytes: &[u8], version: i16) -> Read<Metadata> {
    let mut all = Metadata::default();
    let (brokers, topics) = (&mut all.brokers, &mut all.topics);
    let mut r = Reader(bytes);
    r.i32()?; // for how long the broker has held it back
    r.list(|r| {
        brokers.push(broker(r)?);
        Ok(())
    })?;
    r.text()?; // the cluster's id
    r.i32()?; // the controller
    r.list(|r| {
        let (error, name, id) = (r.i16()?, r.text()?.unwrap_or_default(), r.uuid()?);
        r.i8()?; // whether it is one of Kafka's own
        let mut partitions = Vec::new();
        r.list(|r| {
            r.i16()?; // an error that the leader tells as well
            let (number, leader, leader_epoch) = (r.i32()?, r.i32()?, r.i32()?);
            r.list(|r| r.i32().map(drop))?; // replicas
            r.list(|r| r.i32().map(drop))?; // in sync
            r.list(|r| r.i32().map(drop))?; // offline
            r.no_tags()?;
            partitions.push(Partition {
                number,
                leader,
                leader_epoch,
            });
            Ok(())
        })?;
        r.i32()?; // what we may do with it
        r.no_tags()?;
        topics.push(Topic {
            error,
            name,
            id,
            partitions,
        });
        Ok(())
    })?;
    if version >= 13 {
        all.error = r.i16()?;
    }
    r.no_tags()?;
    Ok(all)
}

/// Reads the answer to an ApiVersions request: an error's code, or what the broker speaks.
pub fn api_versions(bytes: &[u8]) -> Read<Result<Versions, i16>> {
    let mut r = Reader(bytes);
    let error = r.i16()?;
    if error != 0 {
        return Ok(Err(error)); // of another version (KIP-511)
    }
    let mut of = Vec::new();
    r.list(|r| {
        of.push((r.i16()?, r.i16()?, r.i16()?));
        r.no_tags()
    })?;
    r.i32()?;
    r.no_tags()?;
    Ok(Ok(Versions { of }))
}

/// Reads the answer to an InitProducerId request: an error's code, or the producer's id and its epoch.
pub fn init_producer_id(mut bytes: &[u8], version: i16) -> Read<Result<(i64, i16), i16>> {
    // No lists in it: nothing is made room for.
    let r = InitProducerIdResponse::decode(&mut bytes, version).map_err(|_| Malformed)?;
    Ok(match r.error_code {
        0 => Ok((r.producer_id.0, r.producer_epoch)),
        error => Err(error),
    })
}

/// Reads the answer to a SaslHandshake request: an error's code and the mechanisms that there are.
pub fn sasl_handshake(bytes: &[u8]) -> Read<(i16, Vec<String>)> {
    let mut r = Reader(bytes);
    let error = r.i16()?;
    let count = usize::try_from(r.i32()?).map_err(|_| Malformed)?;
    let mut mechanisms = Vec::new();
    for _ in 0..count {
        let bytes = usize::try_from(r.i16()?).map_err(|_| Malformed)?;
        let name = r.bytes(bytes)?;
        mechanisms.push(String::from_utf8_lossy(name).into_owned());
    }
    Ok((error, mechanisms))
}

/// Answer to a SaslAuthenticate request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authenticated {
    /// 0, or Kafka's code of an error.
    pub error: i16,
    /// The broker's words about it.
    pub message: Option<String>,
    /// The mechanism's own message.
    pub bytes: Vec<u8>,
    /// For how long it holds; 0: for as long as the connection (KIP-368).
    pub lifetime_ms: i64,
}

/// Reads the answer to a SaslAuthenticate request of `version`.
pub fn sasl_authenticate(mut bytes: &[u8], version: i16) -> Read<Authenticated> {
    // No lists in it: nothing is made room for.
    let r = SaslAuthenticateResponse::decode(&mut bytes, version).map_err(|_| Malformed)?;
    Ok(Authenticated {
        error: r.error_code,
        message: r.error_message.map(|m| m.to_string()),
        bytes: r.auth_bytes.to_vec(),
        lifetime_ms: r.session_lifetime_ms,
    })
}
