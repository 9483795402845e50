//! The chat over RabbitMQ: clients and server know the broker alone, and leave each other messages in its queues.
//!
//! | queue | what is in it | who takes it |
//! |---|---|---|
//! | `PREFIX.requests` | a `Request`; the answer goes to the reply queue that it names | the server |
//! | `PREFIX.LOG.messages` | a `Message`, persistent; the receipt goes to the reply queue that it names | the server, which acknowledges it when the log is on the disk |
//! | `PREFIX.LOG.inbox.N` | a `Delivery` to client N, persistent | client N, which acknowledges it when it is kept there |
//! | RabbitMQ's own reply queues (`amq.rabbitmq.reply-to`) | a `Reply`, a `Receipt` | the client that asked |
//!
//! `LOG` is the id of the server's log: what was left for one log is nothing to a server with another.
//!
//! Queues are durable. Whoever puts something persistent into one asks the broker to confirm it. A queue may give a message twice, after a cut
//! or a kill: the server then knows the message's id, and the client the delivery's position.

pub mod client;
mod feed;
pub mod server;

use lapin::{
    BasicProperties, Confirmation, Connection, ConnectionProperties,
    options::{BasicPublishOptions, QueueDeclareOptions},
    types::{FieldTable, ShortString},
};

use uuid::Uuid;

use crate::message::Registered;

/// The reply queue of the channel that a request is published on.
const REPLY_TO: &str = "amq.rabbitmq.reply-to";
/// Of `delivery_mode`: on the broker's disk.
const PERSISTENT: u8 = 2;
/// What stands behind it, `.LOG.inbox.N`, has at most 54.
const PREFIX_BYTES_MAX: usize = 200;

/// Where RabbitMQ is, and what the chat's queues are called.
#[derive(Clone, clap::Args)]
pub struct Broker {
    /// Of the broker, over RabbitMQ
    #[arg(
        long,
        value_name = "URL",
        env = "CHAT_BROKER",
        default_value = "amqp://guest:guest@127.0.0.1:5672/%2f"
    )]
    pub broker: String,
    /// What the names of all queues begin with
    #[arg(
        long,
        value_name = "NAME",
        env = "CHAT_PREFIX",
        default_value = "chat",
        value_parser = prefix
    )]
    pub prefix: String,
}

/// A queue's name has at most 255 bytes.
fn prefix(name: &str) -> Result<String, String> {
    match name.len() {
        0..=PREFIX_BYTES_MAX => Ok(name.to_owned()),
        bytes => Err(format!(
            "it has at most {PREFIX_BYTES_MAX} bytes, and this one {bytes}"
        )),
    }
}

/// What all queues of one chat begin with.
#[derive(Clone, Debug)]
struct Prefix(String);

impl Prefix {
    fn requests(&self) -> ShortString {
        format!("{}.requests", self.0).into()
    }

    fn messages(&self, log: Uuid) -> ShortString {
        format!("{}.{log}.messages", self.0).into()
    }

    fn inbox(&self, of: Registered) -> ShortString {
        format!("{}.{}.inbox.{}", self.0, of.log, of.client).into()
    }
}

async fn connect(url: &str, name: String) -> lapin::Result<Connection> {
    let properties = ConnectionProperties::default().with_connection_name(name.into());
    Connection::connect(url, properties).await
}

/// Makes a queue unless it is there.
async fn declare(channel: &lapin::Channel, queue: ShortString) -> lapin::Result<()> {
    let options = QueueDeclareOptions::durable();
    channel
        .queue_declare(queue, options, FieldTable::default())
        .await?;
    Ok(())
}

/// Puts a message into a queue; what is returned resolves when the broker has confirmed it, if it was told to.
async fn publish(
    channel: &lapin::Channel,
    queue: ShortString,
    body: &impl prost::Message,
    properties: BasicProperties,
) -> lapin::Result<lapin::PublisherConfirm> {
    // What is to be kept and comes into no queue is told.
    let mandatory = properties.delivery_mode().is_some();
    let options = BasicPublishOptions {
        mandatory,
        ..BasicPublishOptions::default()
    };
    channel
        .basic_publish(
            ShortString::default(),
            queue,
            options,
            &body.encode_to_vec(),
            properties,
        )
        .await
}

/// The broker has ended it, or could not do its part.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Cut(String);

/// Whether the broker has it, in a queue and on its disk.
async fn confirmed(confirm: lapin::PublisherConfirm) -> Result<(), Cut> {
    match confirm.await {
        Ok(Confirmation::Ack(None)) => Ok(()),
        Ok(Confirmation::Ack(Some(_))) => Err(Cut("the broker has no such queue any more".into())),
        Ok(Confirmation::Nack(_) | Confirmation::NotRequested) => {
            Err(Cut("the broker could not keep a message".into()))
        }
        Err(error) => Err(Cut(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::ClientId;

    #[test]
    fn the_longest_prefix_has_room_for_what_stands_behind_it() {
        let name = "x".repeat(PREFIX_BYTES_MAX);
        let of = Registered {
            log: Uuid::max(),
            client: ClientId(u32::MAX),
        };
        let longest = Prefix(prefix(&name).unwrap());
        for queue in [longest.messages(of.log), longest.inbox(of)] {
            assert!(queue.as_str().starts_with(&name));
        }
        assert!(prefix(&(name + "x")).is_err());
    }
}
