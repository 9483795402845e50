//! The client's side.

use std::time::Duration;

use futures_util::StreamExt as _;
use lapin::{
    BasicProperties, Connection, Consumer, PublisherConfirm,
    options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions, ConfirmSelectOptions},
    types::{FieldTable, ShortString},
};
use prost::Message as _;
use tokio::sync::{Mutex, mpsc};
use uuid::Uuid;

use super::{PERSISTENT, Prefix, REPLY_TO, confirmed, connect, declare, publish};
use crate::{
    message::{Client, ClientId, Message, Receipt, Refused, Registered},
    transport::{Channel, FromServer, Mark, QUEUED_MAX, ToServer, Transport, Trouble},
    wire::{self, proto, proto::reply::Reply, proto::request::Request},
};

const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Deliveries that the broker gives before the first of them is acknowledged.
const UNACKNOWLEDGED_MAX: u16 = 256;

/// Connects when it is asked for something, and again after a cut.
pub struct RabbitMq {
    url: String,
    prefix: Prefix,
    connection: Mutex<Option<Connection>>,
}

impl RabbitMq {
    /// By the broker at `url` (`amqp://USER:PASSWORD@HOST:PORT/%2f`), with queues that begin with `prefix`.
    #[must_use]
    pub fn new(url: String, prefix: String) -> Self {
        Self {
            url,
            prefix: Prefix(prefix),
            connection: Mutex::default(),
        }
    }

    /// A channel of AMQP, on the connection that there is or a new one.
    async fn channel(&self) -> Result<lapin::Channel, Trouble> {
        let mut connection = self.connection.lock().await;
        if let Some(there) = connection
            .as_ref()
            .filter(|there| there.status().connected())
            && let Ok(channel) = there.create_channel().await
        {
            return Ok(channel);
        }
        let new = connect(&self.url, format!("{} client", self.prefix.0)).await?;
        Ok(connection.insert(new).create_channel().await?)
    }

    /// Asks the server by a reply queue.
    async fn ask(&self, request: Request) -> Result<Reply, Trouble> {
        let channel = self.channel().await?;
        let asked = async {
            let mut replies = replies(&channel).await?;
            declare(&channel, self.prefix.requests()).await?;
            let properties = BasicProperties::default()
                .with_reply_to(REPLY_TO.into())
                // Who asks again asks something new.
                .with_expiration(ANSWER_TIMEOUT.as_millis().to_string().into());
            publish(
                &channel,
                self.prefix.requests(),
                &proto::Request {
                    request: Some(request),
                },
                properties,
            )
            .await?;
            let reply = replies.next().await.ok_or_else(cut)??;
            proto::Reply::decode(&reply.data[..])
                .ok()
                .and_then(|reply| reply.reply)
                .ok_or_else(unknown)
        };
        let answered = tokio::time::timeout(ANSWER_TIMEOUT, asked).await;
        _ = channel.close(200, "asked".into()).await;
        match answered {
            Ok(Ok(Reply::Refusal(refusal))) => Err(Refused(refusal).into()),
            Ok(answered) => answered,
            Err(_) => Err(Trouble::Away(format!(
                "no server has answered within {} s: is it running?",
                ANSWER_TIMEOUT.as_secs()
            ))),
        }
    }
}

#[tonic::async_trait]
impl Transport for RabbitMq {
    async fn register(&self, name: &str, registration: Uuid) -> Result<Registered, Trouble> {
        let request = proto::RegisterRequest {
            name: name.to_owned(),
            registration: registration.as_bytes().to_vec(),
        };
        match self.ask(Request::Register(request)).await? {
            Reply::Register(reply) => Ok(reply.into()),
            _ => Err(unknown()),
        }
    }

    async fn clients(&self, after: ClientId) -> Result<Vec<Client>, Trouble> {
        match self
            .ask(Request::ListClients(proto::ListClientsRequest {
                after: after.0,
            }))
            .await?
        {
            Reply::ListClients(reply) => Ok(reply.clients.into_iter().map(Into::into).collect()),
            _ => Err(unknown()),
        }
    }

    async fn sent_by(&self, client: ClientId, skip: u64) -> Result<Vec<Message>, Trouble> {
        match self
            .ask(Request::SentBy(proto::SentByRequest {
                client: client.0,
                skip,
            }))
            .await?
        {
            Reply::SentBy(reply) => Ok(wire::messages(reply.messages)?),
            _ => Err(unknown()),
        }
    }

    /// The queue knows what the client has acknowledged; what it gives again the client knows by its position.
    async fn open(&self, client: ClientId, _after: u64) -> Result<Channel, Trouble> {
        let (sending, receiving) = (self.channel().await?, self.channel().await?);
        let (messages, inbox) = (self.prefix.messages(), self.prefix.inbox(client));
        sending
            .confirm_select(ConfirmSelectOptions::default())
            .await?;
        declare(&sending, messages.clone()).await?;
        let receipts = replies(&sending).await?;
        declare(&receiving, inbox.clone()).await?;
        receiving
            .basic_qos(UNACKNOWLEDGED_MAX, BasicQosOptions::default())
            .await?;
        // Two that read one queue would have half of it each.
        let options = BasicConsumeOptions {
            exclusive: true,
            ..BasicConsumeOptions::default()
        };
        let deliveries = receiving
            .basic_consume(
                inbox,
                ShortString::default(),
                options,
                FieldTable::default(),
            )
            .await?;
        let (to_server, from_client) = mpsc::channel(QUEUED_MAX);
        let (to_client, from_server) = mpsc::channel(QUEUED_MAX);
        let (published, confirms) = mpsc::channel(QUEUED_MAX);
        tokio::spawn(confirm(confirms, to_client.clone()));
        tokio::spawn(tell(sending, receiving, messages, from_client, published));
        tokio::spawn(hear(deliveries, receipts, to_client));
        Ok(Channel {
            to_server,
            from_server,
        })
    }
}

/// What comes back to this channel's reply queue.
async fn replies(channel: &lapin::Channel) -> lapin::Result<Consumer> {
    let options = BasicConsumeOptions {
        no_ack: true,
        ..BasicConsumeOptions::default()
    };
    channel
        .basic_consume(
            REPLY_TO.into(),
            ShortString::default(),
            options,
            FieldTable::default(),
        )
        .await
}

/// What the client tells, until it has nothing more to tell, or the connection is cut.
async fn tell(
    sending: lapin::Channel,
    receiving: lapin::Channel,
    queue: ShortString,
    mut from_client: mpsc::Receiver<ToServer>,
    published: mpsc::Sender<PublisherConfirm>,
) {
    let properties = BasicProperties::default()
        .with_delivery_mode(PERSISTENT)
        .with_reply_to(REPLY_TO.into());
    while let Some(told) = from_client.recv().await {
        match told {
            ToServer::Send(message) => {
                let properties = properties
                    .clone()
                    .with_message_id(message.id.to_string().into());
                let Ok(confirm) = publish(
                    &sending,
                    queue.clone(),
                    &proto::Message::from(&message),
                    properties,
                )
                .await
                else {
                    return;
                };
                if published.send(confirm).await.is_err() {
                    return;
                }
            }
            ToServer::Seen(Mark(tag)) => {
                if receiving
                    .basic_ack(tag, BasicAckOptions { multiple: true })
                    .await
                    .is_err()
                {
                    return;
                }
            }
        }
    }
    for channel in [sending, receiving] {
        _ = channel.close(200, "done".into()).await;
    }
}

/// Looks that the broker keeps what it was given.
async fn confirm(
    mut confirms: mpsc::Receiver<PublisherConfirm>,
    to_client: mpsc::Sender<Result<FromServer, Trouble>>,
) {
    while let Some(confirm) = confirms.recv().await {
        if let Err(why) = confirmed(confirm).await {
            _ = to_client.send(Err(Trouble::Away(why.0))).await;
            return;
        }
    }
}

/// What the broker gives, until it gives no more.
async fn hear(
    mut deliveries: Consumer,
    mut receipts: Consumer,
    to_client: mpsc::Sender<Result<FromServer, Trouble>>,
) {
    loop {
        let heard = tokio::select! {
            delivery = deliveries.next() => delivered(delivery),
            receipt = receipts.next() => receipted(receipt),
            () = to_client.closed() => return,
        };
        let is_last = heard.is_err();
        if to_client.send(heard).await.is_err() || is_last {
            return;
        }
    }
}

type Given = Option<lapin::Result<lapin::message::Delivery>>;

fn delivered(given: Given) -> Result<FromServer, Trouble> {
    let given = given.ok_or_else(cut)??;
    let delivery = proto::Delivery::decode(&given.data[..]).map_err(|_| unknown())?;
    Ok(FromServer::Delivery(
        delivery.try_into()?,
        Mark(given.delivery_tag),
    ))
}

fn receipted(given: Given) -> Result<FromServer, Trouble> {
    let data = given.ok_or_else(cut)??.data;
    let receipt = proto::Receipt::decode(&data[..]).map_err(|_| unknown())?;
    Ok(FromServer::Receipt(Receipt::try_from(receipt)?))
}

fn cut() -> Trouble {
    Trouble::Away("the broker has ended the connection".into())
}

fn unknown() -> Trouble {
    Trouble::Refused(Refused(
        "an answer that this client does not know: is it older than the server?".into(),
    ))
}

impl From<lapin::Error> for Trouble {
    fn from(error: lapin::Error) -> Self {
        Self::Away(format!("RabbitMQ: {error}"))
    }
}
