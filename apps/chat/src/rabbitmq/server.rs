//! The server's side: takes requests and messages from their queues, answers, and feeds inboxes.

use std::time::Duration;

use futures_util::StreamExt as _;
use lapin::{
    BasicProperties, Connection, Consumer,
    message::Delivery,
    options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions},
    types::{FieldTable, ShortString},
};
use prost::Message as _;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::{Cut, Prefix, connect, declare, feed, publish};
use crate::{
    hub::Hub,
    message::{ClientId, Receipt, Refused},
    text::complain,
    wire::{self, Malformed, proto, proto::reply::Reply, proto::request::Request},
};

/// Messages that the broker gives before the first of them is acknowledged: so many can share a wait for the disk.
const UNACKNOWLEDGED_MAX: u16 = 4096;
const AGAIN_AFTER: Duration = Duration::from_millis(250);

/// The broker, and what the queues are called.
pub struct RabbitMq {
    url: String,
    prefix: Prefix,
}

/// A message that is being written, and whom to tell.
struct Waiting {
    tag: u64,
    reply_to: Option<ShortString>,
    receipt: oneshot::Receiver<Receipt>,
}

impl RabbitMq {
    /// The broker at `url` (`amqp://USER:PASSWORD@HOST:PORT/%2f`), with queues that begin with `prefix`.
    #[must_use]
    pub fn new(url: String, prefix: String) -> Self {
        Self {
            url,
            prefix: Prefix(prefix),
        }
    }

    /// Serves until the process ends, and connects again whenever the broker was away. `ready` is told each time.
    ///
    /// # Errors
    /// The log could not be written or read.
    pub async fn serve(self, hub: Hub, ready: impl Fn()) -> anyhow::Result<()> {
        let mut told = String::new();
        loop {
            let Err(error) = self.while_connected(&hub, &ready).await else {
                continue;
            };
            if !error
                .chain()
                .any(|cause| cause.is::<lapin::Error>() || cause.is::<Cut>())
            {
                return Err(error);
            }
            let why = format!("{error:#}");
            if why != told {
                complain(&format!("RabbitMQ: {why}; trying again"));
                told = why;
            }
            tokio::time::sleep(AGAIN_AFTER).await;
        }
    }

    async fn while_connected(&self, hub: &Hub, ready: &impl Fn()) -> anyhow::Result<()> {
        let connection = connect(&self.url, format!("{} server", self.prefix.0)).await?;
        let (requests, messages) = (self.prefix.requests(), self.prefix.messages(hub.log()));
        let (asked, asks) = consume(&connection, requests, true).await?;
        let (given, gives) = consume(&connection, messages, false).await?;
        ready();
        tokio::try_join!(
            answer(hub, &asked, asks),
            take(hub, &given, gives),
            feed::all(hub.clone(), &connection, &self.prefix),
        )?;
        Ok(())
    }
}

/// A queue that is only ours, in this order: a second server would tear the order apart.
async fn consume(
    connection: &Connection,
    queue: ShortString,
    no_ack: bool,
) -> anyhow::Result<(lapin::Channel, Consumer)> {
    let channel = connection.create_channel().await?;
    declare(&channel, queue.clone()).await?;
    channel
        .basic_qos(UNACKNOWLEDGED_MAX, BasicQosOptions::default())
        .await?;
    let options = BasicConsumeOptions {
        exclusive: true,
        no_ack,
        ..BasicConsumeOptions::default()
    };
    let consumer = channel
        .basic_consume(
            queue,
            ShortString::default(),
            options,
            FieldTable::default(),
        )
        .await?;
    Ok((channel, consumer))
}

async fn answer(hub: &Hub, channel: &lapin::Channel, mut requests: Consumer) -> anyhow::Result<()> {
    while let Some(request) = requests.next().await {
        let request = request?;
        let Some(reply_to) = request.properties.reply_to().clone() else {
            continue;
        };
        let mut properties = BasicProperties::default();
        if let Some(id) = request.properties.correlation_id() {
            properties = properties.with_correlation_id(id.clone());
        }
        let reply = proto::Reply {
            reply: Some(reply(hub, &request.data).await?),
        };
        publish(channel, reply_to, &reply, properties).await?;
    }
    Err(Cut("the broker gives no more requests".into()).into())
}

async fn reply(hub: &Hub, request: &[u8]) -> anyhow::Result<Reply> {
    match answered(hub, request).await {
        Ok(reply) => Ok(reply),
        Err(error) => match error.downcast::<Refused>() {
            Ok(refused) => Ok(Reply::Refusal(refused.0)),
            Err(error) => Err(error),
        },
    }
}

/// The answer, or why there is none: it is refused, or this server cannot go on.
async fn answered(hub: &Hub, request: &[u8]) -> anyhow::Result<Reply> {
    let unknown = || Refused("a request that this server does not know: is it older?".into());
    let request = proto::Request::decode(request).map_err(|_| unknown())?;
    let about = request.request.ok_or_else(unknown)?;
    if !matches!(about, Request::Register(_)) {
        hub.check_log(uuid(&request.log)?)?;
    }
    Ok(match about {
        Request::Register(request) => {
            let registration = uuid(&request.registration)?;
            let log = wire::log(&request.log).map_err(malformed)?;
            let last = wire::last(request.last).map_err(malformed)?;
            let registered = hub
                .register(request.name, registration, log, last)
                .await??;
            hub.check_last(registered.client, last).await??;
            Reply::Register(registered.into())
        }
        Request::Channel(request) => {
            let last = wire::last(request.last).map_err(malformed)?;
            hub.check_last(ClientId(request.client), last).await??;
            Reply::Channel(proto::ChannelReply {})
        }
        Request::ListClients(request) => {
            let clients = hub.clients(ClientId(request.after));
            let clients = clients.into_iter().map(Into::into).collect();
            Reply::ListClients(proto::ListClientsReply { clients })
        }
        Request::SentBy(request) => {
            let sent = hub
                .sent_by(ClientId(request.client), request.skip)
                .await??;
            let messages = sent.iter().map(Into::into).collect();
            Reply::SentBy(proto::SentByReply { messages })
        }
    })
}

fn uuid(bytes: &[u8]) -> Result<Uuid, Refused> {
    wire::uuid(bytes).map_err(malformed)
}

fn malformed(malformed: Malformed) -> Refused {
    Refused(malformed.to_string())
}

/// Gives the hub messages in the order of the queue, and acknowledges each when it is written.
async fn take(hub: &Hub, channel: &lapin::Channel, messages: Consumer) -> anyhow::Result<()> {
    let (waiting, written) = mpsc::channel(usize::from(UNACKNOWLEDGED_MAX));
    tokio::try_join!(
        submit(hub, messages, waiting),
        acknowledge(channel, written)
    )?;
    Ok(())
}

async fn submit(
    hub: &Hub,
    mut messages: Consumer,
    waiting: mpsc::Sender<Waiting>,
) -> anyhow::Result<()> {
    while let Some(message) = messages.next().await {
        let Delivery {
            delivery_tag: tag,
            properties,
            data,
            ..
        } = message?;
        let message = proto::Message::decode(&data[..])
            .ok()
            .and_then(|message| message.try_into().ok());
        let Some(message) = message else {
            // Nobody could be told, as it has no id: whoever looks into the log of the server sees it.
            complain(&format!(
                "RabbitMQ: dropped a message of {} bytes that no chat has sent",
                data.len()
            ));
            waiting
                .send(Waiting {
                    tag,
                    reply_to: None,
                    receipt: oneshot::channel().1,
                })
                .await?;
            continue;
        };
        let receipt = hub.submit(message).await?;
        waiting
            .send(Waiting {
                tag,
                reply_to: properties.reply_to().clone(),
                receipt,
            })
            .await?;
    }
    Err(Cut("the broker gives no more messages".into()).into())
}

/// One acknowledgement for all that were written together.
async fn acknowledge(
    channel: &lapin::Channel,
    mut written: mpsc::Receiver<Waiting>,
) -> anyhow::Result<()> {
    while let Some(Waiting {
        tag,
        reply_to,
        receipt,
    }) = written.recv().await
    {
        if let Some(reply_to) = reply_to {
            let receipt = receipt.await.map_err(|_| crate::hub::Ended)?;
            publish(
                channel,
                reply_to,
                &proto::Receipt::from(receipt),
                BasicProperties::default(),
            )
            .await?;
        }
        if written.is_empty() {
            channel
                .basic_ack(tag, BasicAckOptions { multiple: true })
                .await?;
        }
    }
    Ok(())
}
