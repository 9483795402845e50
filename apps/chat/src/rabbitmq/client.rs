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
    message::{Client, ClientId, Last, Message, Receipt, Refused, Registered},
    transport::{Channel, FromServer, Mark, QUEUED_MAX, ToServer, Transport, Trouble},
    wire::{self, proto, proto::reply::Reply, proto::request::Request},
};

const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// The broker does not say that the server has gone, or come back with another log: it is asked so often.
const CHECK_EVERY: Duration = Duration::from_secs(10);
/// Deliveries that the broker gives before the first of them is acknowledged.
const UNACKNOWLEDGED_MAX: u16 = 256;

/// Connects when it is asked for something, and again after a cut.
pub struct RabbitMq {
    url: String,
    place: String,
    prefix: Prefix,
    connection: Mutex<Option<Connection>>,
}

impl RabbitMq {
    /// By the broker at `url` (`amqp://USER:PASSWORD@HOST:PORT/%2f`), with queues that begin with `prefix`.
    #[must_use]
    pub fn new(url: String, prefix: String) -> Self {
        Self {
            place: place(&url),
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

    async fn asker(&self) -> Result<Asker, Trouble> {
        Ok(Asker {
            channel: self.channel().await?,
            requests: self.prefix.requests(),
            replies: None,
        })
    }

    /// Asks once.
    async fn ask(&self, log: Option<Uuid>, request: Request) -> Result<Reply, Trouble> {
        let mut asker = self.asker().await?;
        let answered = asker.ask(log, request).await;
        asker.close().await;
        answered
    }
}

/// Asks the server by a reply queue, one thing after the other.
struct Asker {
    channel: lapin::Channel,
    requests: ShortString,
    replies: Option<Consumer>,
}

impl Asker {
    /// Behind an error the next answer may be that to an earlier question: nothing more is asked then.
    async fn ask(&mut self, log: Option<Uuid>, request: Request) -> Result<Reply, Trouble> {
        let asked = async {
            let replies = match &mut self.replies {
                Some(replies) => replies,
                none => {
                    declare(&self.channel, self.requests.clone()).await?;
                    none.insert(replies(&self.channel).await?)
                }
            };
            let properties = BasicProperties::default()
                .with_reply_to(REPLY_TO.into())
                // Who asks again asks something new.
                .with_expiration(ANSWER_TIMEOUT.as_millis().to_string().into());
            let request = proto::Request {
                request: Some(request),
                log: log.map_or_else(Vec::new, |log| log.as_bytes().to_vec()),
            };
            publish(&self.channel, self.requests.clone(), &request, properties).await?;
            let reply = replies.next().await.ok_or_else(cut)??;
            proto::Reply::decode(&reply.data[..])
                .ok()
                .and_then(|reply| reply.reply)
                .ok_or_else(unknown)
        };
        match tokio::time::timeout(ANSWER_TIMEOUT, asked).await {
            Ok(Ok(Reply::Refusal(refusal))) => Err(Refused(refusal).into()),
            Ok(answered) => answered,
            Err(_) => Err(Trouble::Away(format!(
                "no server has answered within {} s: is it running?",
                ANSWER_TIMEOUT.as_secs()
            ))),
        }
    }

    /// Whether the server is there, and its log is that of this client, with the last message that it has.
    async fn check(&mut self, who: Registered, last: Last) -> Result<(), Trouble> {
        let request = Request::Channel(wire::channel(who.client, last));
        match self.ask(Some(who.log), request).await? {
            Reply::Channel(_) => Ok(()),
            _ => Err(unknown()),
        }
    }

    async fn close(self) {
        _ = self.channel.close(200, "asked".into()).await;
    }
}

/// The broker's URL without what nobody is to see.
fn place(url: &str) -> String {
    match url.parse::<lapin::uri::AMQPUri>() {
        Ok(uri) => format!("amqp://{}:{}", uri.authority.host, uri.authority.port),
        Err(_) => "RabbitMQ".into(),
    }
}

#[tonic::async_trait]
impl Transport for RabbitMq {
    fn place(&self) -> &str {
        &self.place
    }

    async fn register(
        &self,
        name: &str,
        registration: Uuid,
        log: Option<Uuid>,
        last: Last,
    ) -> Result<Registered, Trouble> {
        let request = Request::Register(wire::registration(name, registration, log, last));
        match self.ask(log, request).await? {
            Reply::Register(reply) => Ok(reply.try_into()?),
            _ => Err(unknown()),
        }
    }

    async fn clients(&self, log: Uuid, after: ClientId) -> Result<Vec<Client>, Trouble> {
        let request = Request::ListClients(proto::ListClientsRequest { after: after.0 });
        match self.ask(Some(log), request).await? {
            Reply::ListClients(reply) => Ok(reply.clients.into_iter().map(Into::into).collect()),
            _ => Err(unknown()),
        }
    }

    async fn sent_by(&self, who: Registered, skip: u64) -> Result<Vec<Message>, Trouble> {
        let request = Request::SentBy(proto::SentByRequest {
            client: who.client.0,
            skip,
        });
        match self.ask(Some(who.log), request).await? {
            Reply::SentBy(reply) => Ok(wire::messages(reply.messages)?),
            _ => Err(unknown()),
        }
    }

    /// The queue knows what the client has acknowledged; what it gives again the client knows by its position.
    async fn open(&self, who: Registered, last: Last) -> Result<Channel, Trouble> {
        let mut asker = self.asker().await?;
        if let Err(trouble) = asker.check(who, last).await {
            asker.close().await;
            return Err(trouble);
        }
        let (sending, receiving) = (self.channel().await?, self.channel().await?);
        let (messages, inbox) = (self.prefix.messages(who.log), self.prefix.inbox(who));
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
        tokio::spawn(check(asker, who, last, to_client.clone()));
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

/// Asks now and then whether the server is still there, with this client's log.
async fn check(
    mut asker: Asker,
    who: Registered,
    last: Last,
    to_client: mpsc::Sender<Result<FromServer, Trouble>>,
) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(CHECK_EVERY) => {}
            () = to_client.closed() => break,
        }
        if let Err(trouble) = asker.check(who, last).await {
            _ = to_client.send(Err(trouble)).await;
            break;
        }
    }
    asker.close().await;
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
