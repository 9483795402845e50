//! What travels, in the form that `proto/chat.proto` gives it.

use uuid::Uuid;

use crate::message::{Client, ClientId, Delivery, Message, Receipt, Refused, Registered};

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
            arrived: registered.arrived,
        }
    }
}

impl From<proto::RegisterReply> for Registered {
    fn from(reply: proto::RegisterReply) -> Self {
        Self {
            client: ClientId(reply.client),
            arrived: reply.arrived,
        }
    }
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
