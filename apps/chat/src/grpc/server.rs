//! The server's side: each call of `proto/chat.proto`, of the hub.

use std::{
    collections::HashMap,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::Context as _;
use futures_util::{Stream, StreamExt as _};
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Request, Response, Status, Streaming,
    transport::{Server, server::TcpIncoming},
};

use super::{KEEPALIVE, KEEPALIVE_TIMEOUT, LOG};
use crate::{
    hub::{Ended, Hub, shelf::Inbox},
    message::{ClientId, Last, Receipt, Refused},
    transport::QUEUED_MAX,
    wire::{self, Malformed, proto, proto::chat_server},
};

/// Of an inbox, so many are taken at once.
const TAKEN_MAX: usize = 64;

/// A stream of answers.
type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

struct Service {
    hub: Hub,
    /// Of each client that has a channel: dropped, it ends.
    channels: Arc<Mutex<HashMap<ClientId, oneshot::Sender<()>>>>,
}

/// The port is taken, and nobody is answered yet.
pub struct Bound {
    listener: TcpListener,
    address: SocketAddr,
}

/// Takes a port.
///
/// # Errors
/// It is taken, or not ours.
pub async fn bind(listen: SocketAddr) -> anyhow::Result<Bound> {
    let told = || format!("cannot listen on {listen} (another --listen?)");
    let listener = TcpListener::bind(listen).await.with_context(told)?;
    let address = listener.local_addr().with_context(told)?;
    Ok(Bound { listener, address })
}

impl Bound {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until the process ends.
    ///
    /// # Errors
    /// The port cannot be listened on any more.
    pub async fn serve(self, hub: Hub) -> anyhow::Result<()> {
        let service = Service {
            hub,
            channels: Arc::default(),
        };
        // A delivery is small, and its receiver says nothing in between: it would wait for an acknowledgement of TCP.
        let incoming = TcpIncoming::from(self.listener).with_nodelay(Some(true));
        let served = Server::builder()
            .http2_keepalive_interval(Some(KEEPALIVE))
            .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
            .add_service(chat_server::ChatServer::new(service))
            .serve_with_incoming(incoming);
        served.await.context("gRPC")
    }
}

impl Service {
    /// Whether a call is about this log.
    fn check_log<T>(&self, request: &Request<T>) -> Result<(), Status> {
        let log = request.metadata().get_bin(LOG);
        let log = log.and_then(|log| log.to_bytes().ok()).ok_or_else(|| {
            Status::invalid_argument(format!("about which log? The metadata {LOG} says it"))
        })?;
        Ok(self.hub.check_log(wire::uuid(&log)?)?)
    }

    async fn check_last(&self, client: ClientId, last: Last) -> Result<(), Status> {
        let checked = self.hub.check_last(client, last).await;
        Ok(checked.map_err(unreadable)??)
    }
}

fn unreadable(error: anyhow::Error) -> Status {
    Status::internal(format!("{error:#}"))
}

#[tonic::async_trait]
impl chat_server::Chat for Service {
    type ChannelStream = Answers<proto::Delivery>;
    type SendStream = Answers<proto::Receipt>;

    async fn register(
        &self,
        request: Request<proto::RegisterRequest>,
    ) -> Result<Response<proto::RegisterReply>, Status> {
        let request = request.into_inner();
        let (registration, log) = (wire::uuid(&request.registration)?, wire::log(&request.log)?);
        let last = wire::last(request.last)?;
        let registered = self
            .hub
            .register(request.name, registration, log, last)
            .await??;
        self.check_last(registered.client, last).await?;
        Ok(Response::new(registered.into()))
    }

    async fn channel(
        &self,
        request: Request<proto::ChannelRequest>,
    ) -> Result<Response<Self::ChannelStream>, Status> {
        self.check_log(&request)?;
        let proto::ChannelRequest { client, last } = request.into_inner();
        let last = wire::last(last)?;
        self.check_last(ClientId(client), last).await?;
        let inbox = self.hub.inbox(ClientId(client))?;
        let (ended, end) = oneshot::channel();
        self.channels
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(inbox.client(), ended);
        let (to_client, deliveries) = mpsc::channel(TAKEN_MAX);
        tokio::spawn(deliver(inbox, last.position, to_client, end));
        Ok(Response::new(Box::pin(ReceiverStream::new(deliveries))))
    }

    async fn send(
        &self,
        request: Request<Streaming<proto::Message>>,
    ) -> Result<Response<Self::SendStream>, Status> {
        self.check_log(&request)?;
        let (waiting, receipts) = mpsc::channel(QUEUED_MAX);
        tokio::spawn(take(self.hub.clone(), request.into_inner(), waiting));
        let receipts = ReceiverStream::new(receipts).then(
            async |receipt: Result<oneshot::Receiver<Receipt>, Status>| {
                let receipt = receipt?.await.map_err(|_| Status::from(Ended))?;
                Ok(receipt.into())
            },
        );
        Ok(Response::new(Box::pin(receipts)))
    }

    async fn seen(
        &self,
        request: Request<proto::SeenRequest>,
    ) -> Result<Response<proto::SeenReply>, Status> {
        self.check_log(&request)?;
        let proto::SeenRequest { client, position } = request.into_inner();
        self.hub.delivered(ClientId(client), position).await?;
        Ok(Response::new(proto::SeenReply {}))
    }

    async fn list_clients(
        &self,
        request: Request<proto::ListClientsRequest>,
    ) -> Result<Response<proto::ListClientsReply>, Status> {
        self.check_log(&request)?;
        let clients = self.hub.clients(ClientId(request.into_inner().after));
        let clients = clients.into_iter().map(Into::into).collect();
        Ok(Response::new(proto::ListClientsReply { clients }))
    }

    async fn sent_by(
        &self,
        request: Request<proto::SentByRequest>,
    ) -> Result<Response<proto::SentByReply>, Status> {
        self.check_log(&request)?;
        let proto::SentByRequest { client, skip } = request.into_inner();
        let sent = self
            .hub
            .sent_by(ClientId(client), skip)
            .await
            .map_err(unreadable)??;
        Ok(Response::new(proto::SentByReply {
            messages: sent.iter().map(Into::into).collect(),
        }))
    }
}

/// Gives the hub what comes, in the order in which it comes.
async fn take(
    hub: Hub,
    mut messages: Streaming<proto::Message>,
    waiting: mpsc::Sender<Result<oneshot::Receiver<Receipt>, Status>>,
) {
    while let Ok(Some(message)) = messages.message().await {
        let submitted = async { Ok(hub.submit(message.try_into()?).await?) };
        let submitted: Result<_, Status> = submitted.await;
        let is_last = submitted.is_err();
        if waiting.send(submitted).await.is_err() || is_last {
            break;
        }
    }
}

/// Gives the client what has come for it, until it goes or has another channel.
async fn deliver(
    mut inbox: Inbox,
    mut after: u64,
    to_client: mpsc::Sender<Result<proto::Delivery, Status>>,
    mut end: oneshot::Receiver<()>,
) {
    loop {
        let deliveries = tokio::select! {
            deliveries = inbox.next(after, TAKEN_MAX) => deliveries,
            _ = &mut end => {
                _ = to_client.send(Err(Status::aborted("this client has come once more, with its folder or a copy of it: end one of the two"))).await;
                return;
            }
            () = to_client.closed() => return,
        };
        match deliveries {
            Ok(deliveries) => {
                for delivery in &deliveries {
                    after = delivery.position;
                    if to_client.send(Ok(delivery.into())).await.is_err() {
                        return;
                    }
                }
            }
            Err(error) => {
                _ = to_client.send(Err(unreadable(error))).await;
                return;
            }
        }
    }
}

impl From<Malformed> for Status {
    fn from(error: Malformed) -> Self {
        Self::invalid_argument(error.to_string())
    }
}

impl From<Refused> for Status {
    fn from(refused: Refused) -> Self {
        Self::failed_precondition(refused.0)
    }
}

impl From<Ended> for Status {
    fn from(ended: Ended) -> Self {
        Self::unavailable(ended.to_string())
    }
}
