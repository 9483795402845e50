//! The client's side.

use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Code, Request, Status, Streaming,
    metadata::MetadataValue,
    transport::{Channel as Connection, Endpoint},
};
use uuid::Uuid;

use super::{KEEPALIVE, KEEPALIVE_TIMEOUT, LOG};
use crate::{
    message::{Client, ClientId, Delivery, Last, Message, Refused, Registered},
    transport::{Channel, FromServer, Mark, QUEUED_MAX, ToServer, Transport, Trouble},
    wire::{self, Malformed, proto, proto::chat_client::ChatClient},
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Connects when it is asked for something, and again after a cut.
pub struct Grpc {
    url: String,
    calls: ChatClient<Connection>,
}

impl Grpc {
    /// Of the server at `url`: `http://HOST:PORT`.
    ///
    /// # Errors
    /// It is no URL.
    pub fn new(url: &str) -> anyhow::Result<Self> {
        let endpoint = Endpoint::from_shared(url.to_owned())
            .map_err(|error| {
                anyhow::anyhow!("--server {url}: {error}: it is to be http://HOST:PORT")
            })?
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEPALIVE)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT);
        Ok(Self {
            url: url.to_owned(),
            calls: ChatClient::new(endpoint.connect_lazy()),
        })
    }
}

#[tonic::async_trait]
impl Transport for Grpc {
    fn place(&self) -> &str {
        &self.url
    }

    async fn register(
        &self,
        name: &str,
        registration: Uuid,
        log: Option<Uuid>,
        last: Last,
    ) -> Result<Registered, Trouble> {
        let request = wire::registration(name, registration, log, last);
        let reply = self.calls.clone().register(request).await?;
        Ok(reply.into_inner().try_into()?)
    }

    async fn clients(&self, log: Uuid, after: ClientId) -> Result<Vec<Client>, Trouble> {
        let request = proto::ListClientsRequest { after: after.0 };
        let reply = self.calls.clone().list_clients(about(log, request)).await?;
        Ok(reply
            .into_inner()
            .clients
            .into_iter()
            .map(Into::into)
            .collect())
    }

    async fn sent_by(&self, who: Registered, skip: u64) -> Result<Vec<Message>, Trouble> {
        let request = proto::SentByRequest {
            client: who.client.0,
            skip,
        };
        let reply = self.calls.clone().sent_by(about(who.log, request)).await?;
        Ok(wire::messages(reply.into_inner().messages)?)
    }

    async fn open(&self, who: Registered, last: Last) -> Result<Channel, Trouble> {
        let mut calls = self.calls.clone();
        let request = wire::channel(who.client, last);
        let deliveries = calls.channel(about(who.log, request)).await?.into_inner();
        let (messages, to_send) = mpsc::channel(QUEUED_MAX);
        let to_send = about(who.log, ReceiverStream::new(to_send));
        let receipts = calls.send(to_send).await?.into_inner();
        let (to_server, from_client) = mpsc::channel(QUEUED_MAX);
        let (to_client, from_server) = mpsc::channel(QUEUED_MAX);
        tokio::spawn(tell(calls, who, from_client, messages));
        tokio::spawn(hear(deliveries, receipts, to_client));
        Ok(Channel {
            to_server,
            from_server,
        })
    }
}

/// A call about this log.
fn about<T>(log: Uuid, body: T) -> Request<T> {
    let mut request = Request::new(body);
    let log = MetadataValue::from_bytes(log.as_bytes());
    request.metadata_mut().insert_bin(LOG, log);
    request
}

/// What the client tells, until it has nothing more to tell, or the stream is cut.
async fn tell(
    calls: ChatClient<Connection>,
    who: Registered,
    mut from_client: mpsc::Receiver<ToServer>,
    messages: mpsc::Sender<proto::Message>,
) {
    let (seen, last_seen) = watch::channel(0);
    tokio::spawn(acknowledge(calls, who, last_seen));
    while let Some(told) = from_client.recv().await {
        match told {
            ToServer::Seen(Mark(position)) => _ = seen.send_replace(position),
            ToServer::Send(message) => {
                if messages.send((&message).into()).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// The newest of what was seen, one call at a time.
async fn acknowledge(
    mut calls: ChatClient<Connection>,
    who: Registered,
    mut last_seen: watch::Receiver<u64>,
) {
    while last_seen.changed().await.is_ok() {
        let position = *last_seen.borrow_and_update();
        // If it is not told, the log tells less; what the client has it knows itself.
        let request = proto::SeenRequest {
            client: who.client.0,
            position,
        };
        _ = calls.seen(about(who.log, request)).await;
    }
}

/// What the server tells, until a stream ends.
async fn hear(
    mut deliveries: Streaming<proto::Delivery>,
    mut receipts: Streaming<proto::Receipt>,
    to_client: mpsc::Sender<Result<FromServer, Trouble>>,
) {
    loop {
        let heard = tokio::select! {
            delivery = deliveries.message() => one(delivery, |delivery: Delivery| {
                let mark = Mark(delivery.position);
                FromServer::Delivery(delivery, mark)
            }),
            receipt = receipts.message() => one(receipt, FromServer::Receipt),
            () = to_client.closed() => return,
        };
        let is_last = heard.is_err();
        if to_client.send(heard).await.is_err() || is_last {
            return;
        }
    }
}

fn one<W, T: TryFrom<W, Error = Malformed>>(
    heard: Result<Option<W>, Status>,
    told: impl Fn(T) -> FromServer,
) -> Result<FromServer, Trouble> {
    let heard = heard?.ok_or_else(|| Trouble::Away("the server has ended the stream".into()))?;
    Ok(told(heard.try_into()?))
}

impl From<Status> for Trouble {
    fn from(status: Status) -> Self {
        let message = status.message().to_owned();
        match status.code() {
            // Aborted: two that took the channel from each other would never stop.
            Code::FailedPrecondition | Code::InvalidArgument | Code::Aborted => {
                Self::Refused(Refused(message))
            }
            _ => Self::Away(message),
        }
    }
}

impl From<Malformed> for Trouble {
    fn from(malformed: Malformed) -> Self {
        Self::Refused(Refused(malformed.to_string()))
    }
}
