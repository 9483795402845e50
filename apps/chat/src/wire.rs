//! What travels, in the form that `proto/chat.proto` gives it.

use uuid::Uuid;

use crate::message::{Client, ClientId, Delivery, Last, Message, Receipt, Refused, Registered};

/// Generated from `proto/chat.proto`, which has the comments.
#[allow(missing_docs, clippy::all)]
pub mod proto {
    tonic::include_proto!("chat.v1");
}

/// What came is not what was agreed on.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("{0}: is the other side another version?")]
pub struct Malformed(&'static str);

impl From<&Message> for proto::Message {
    fn from(message: &Message) -> Self {
        Self {
            id: message.id.as_bytes().to_vec(),
            from: message.from.0,
            to: message.to.0,
            at_ms: message.at_ms,
            text: message.text.clone(),
        }
    }
}

impl TryFrom<proto::Message> for Message {
    type Error = Malformed;

    fn try_from(message: proto::Message) -> Result<Self, Malformed> {
        Ok(Self {
            id: uuid(&message.id)?,
            from: ClientId(message.from),
            to: ClientId(message.to),
            at_ms: message.at_ms,
            text: message.text,
        })
    }
}

impl From<&Delivery> for proto::Delivery {
    fn from(delivery: &Delivery) -> Self {
        Self {
            position: delivery.position,
            from_name: delivery.from_name.clone(),
            message: Some((&delivery.message).into()),
        }
    }
}

impl TryFrom<proto::Delivery> for Delivery {
    type Error = Malformed;

    fn try_from(delivery: proto::Delivery) -> Result<Self, Malformed> {
        let message = delivery
            .message
            .ok_or(Malformed("a delivery without a message"))?;
        Ok(Self {
            position: delivery.position,
            from_name: delivery.from_name,
            message: message.try_into()?,
        })
    }
}

impl From<Receipt> for proto::Receipt {
    fn from(receipt: Receipt) -> Self {
        Self {
            id: receipt.id.as_bytes().to_vec(),
            refusal: receipt
                .refusal
                .map_or_else(String::new, |refused| refused.0),
        }
    }
}

impl TryFrom<proto::Receipt> for Receipt {
    type Error = Malformed;

    fn try_from(receipt: proto::Receipt) -> Result<Self, Malformed> {
        let is_logged = receipt.refusal.is_empty();
        Ok(Self {
            id: uuid(&receipt.id)?,
            refusal: (!is_logged).then_some(Refused(receipt.refusal)),
        })
    }
}

impl From<Client> for proto::Client {
    fn from(client: Client) -> Self {
        Self {
            id: client.id.0,
            name: client.name,
            since_ms: client.since_ms,
        }
    }
}

impl From<proto::Client> for Client {
    fn from(client: proto::Client) -> Self {
        Self {
            id: ClientId(client.id),
            name: client.name,
            since_ms: client.since_ms,
        }
    }
}

impl From<Registered> for proto::RegisterReply {
    fn from(registered: Registered) -> Self {
        Self {
            client: registered.client.0,
            log: registered.log.as_bytes().to_vec(),
        }
    }
}

impl TryFrom<proto::RegisterReply> for Registered {
    type Error = Malformed;

    fn try_from(reply: proto::RegisterReply) -> Result<Self, Malformed> {
        Ok(Self {
            log: uuid(&reply.log)?,
            client: ClientId(reply.client),
        })
    }
}

impl From<Last> for proto::Last {
    fn from(last: Last) -> Self {
        Self {
            position: last.position,
            id: last.id.as_bytes().to_vec(),
        }
    }
}

/// What is asked for a client to be registered.
#[must_use]
pub fn registration(
    name: &str,
    registration: Uuid,
    log: Option<Uuid>,
    last: Last,
) -> proto::RegisterRequest {
    proto::RegisterRequest {
        name: name.to_owned(),
        registration: registration.as_bytes().to_vec(),
        log: log.map_or_else(Vec::new, |log| log.as_bytes().to_vec()),
        last: Some(last.into()),
    }
}

/// What is asked for a client's channel.
#[must_use]
pub fn channel(client: ClientId, last: Last) -> proto::ChannelRequest {
    proto::ChannelRequest {
        client: client.0,
        last: Some(last.into()),
    }
}

/// What a client says that it has.
///
/// # Errors
/// It is malformed.
pub fn last(last: Option<proto::Last>) -> Result<Last, Malformed> {
    match last.filter(|last| last.position > 0) {
        Some(proto::Last { position, id }) => Ok(Last {
            position,
            id: uuid(&id)?,
        }),
        None => Ok(Last::default()),
    }
}

/// The log that a client says it is registered in, if it is.
///
/// # Errors
/// It is malformed.
pub fn log(bytes: &[u8]) -> Result<Option<Uuid>, Malformed> {
    (!bytes.is_empty()).then(|| uuid(bytes)).transpose()
}

/// # Errors
/// They are not the 16 of a UUID.
pub fn uuid(bytes: &[u8]) -> Result<Uuid, Malformed> {
    Uuid::from_slice(bytes).map_err(|_| Malformed("an id that is no UUID"))
}

/// Each of `messages` as it came.
///
/// # Errors
/// One is malformed.
pub fn messages(messages: Vec<proto::Message>) -> Result<Vec<Message>, Malformed> {
    messages.into_iter().map(Message::try_from).collect()
}
