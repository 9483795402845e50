//! Build, then run: the sockets are bound before anything is served.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use aguacero::{admin::Admin, config::Config, essential::essential, shutdown::Shutdown, socket};
use aguacero_proto::{
    pod::PodStream,
    produce::{MESSAGE_BYTES_MAX, producer_server::ProducerServer},
};
use anyhow::Context as _;
use tokio::{net::UnixListener, sync::watch, task::JoinSet};
use tokio_stream::{StreamExt as _, wrappers::UnixListenerStream};
use tonic::transport::Server;

use crate::{
    client::{Client, Clients},
    metric,
    session::Service,
    topics::{self, Known},
};

/// Windows and frames of HTTP/2: above what a gateway's worker has in flight, so that flow control
/// never holds a frame back.
const STREAM_WINDOW: u32 = 4 << 20;
const CONNECTION_WINDOW: u32 = 8 << 20;
const FRAME_BYTES: u32 = 1 << 20;

/// What differs between the processes that produce.
#[derive(Debug, Clone)]
pub struct Process {
    /// Unix socket that the gateway connects to.
    pub socket: PathBuf,
    /// `/healthz`, `/readyz`, `/metrics`.
    pub admin: SocketAddr,
    /// From SIGTERM to the end.
    pub drain_timeout: Duration,
}

impl Process {
    /// The kafka-producer's.
    #[must_use]
    pub fn kafka_producer(config: &Config) -> Self {
        let table = &config.kafka_producer;
        Self {
            socket: table.socket.clone(),
            admin: table.admin,
            drain_timeout: table.drain_timeout,
        }
    }
}

/// A producer whose sockets are bound.
pub struct App {
    config: Arc<Config>,
    process: Process,
    admin: Admin,
    listener: UnixListener,
}

impl App {
    /// Binds the Unix socket and the admin port.
    pub async fn build(config: Config, process: Process) -> anyhow::Result<Self> {
        let admin = Admin::bind(process.admin).await?;
        let listener = socket::listen(&process.socket).await?;
        Ok(Self {
            config: Arc::new(config),
            process,
            admin,
            listener,
        })
    }

    /// Where the admin port listens.
    #[must_use]
    pub fn admin_addr(&self) -> SocketAddr {
        self.admin.local_addr()
    }

    /// Serves until `shutdown`, then sends the receipts of what was accepted, within the deadline. The client is made when
    /// the topics are known.
    pub async fn run<F, M>(self, shutdown: Shutdown, client: F) -> anyhow::Result<()>
    where
        F: FnOnce(Arc<Config>, Known) -> M,
        M: Future<Output = anyhow::Result<Arc<dyn Client>>>,
    {
        metric::describe(&self.config);
        let (ready_sender, ready) = watch::channel(false);
        let mut admin = JoinSet::new(); // ends with this function
        let serving = self.admin.serve(ready, shutdown.clone());
        admin.spawn(essential("the admin port", serving));

        let topics = topics::watch(Arc::clone(&self.config), shutdown.clone()).await?;
        let Some(topics) = topics else { return Ok(()) }; // shut down before the broker was seen
        let client = client(Arc::clone(&self.config), topics.clone());
        let client = tokio::select! {
            client = client => client.context("making the producer")?,
            () = shutdown.requested() => return Ok(()),
        };
        let clients = Clients::of(client, topics.clone());
        ready_sender.send_replace(true);
        tracing::info!(socket = %self.process.socket.display(), "serving");

        let service = Service::new(Arc::clone(&self.config), clients, topics, shutdown.clone());
        let service = ProducerServer::new(service)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        let serving = Server::builder()
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_frame_size(FRAME_BYTES)
            .add_service(service)
            .serve_with_incoming_shutdown(
                UnixListenerStream::new(self.listener)
                    .map(|accepted| accepted.and_then(PodStream::new)),
                shutdown.clone().requested_owned(),
            );
        tokio::pin!(serving);
        tokio::select! {
            result = &mut serving => result?,
            () = shutdown.requested() => {
                let deadline = self.process.drain_timeout;
                if let Some(result) = aguacero::shutdown::within(deadline, "the drain", serving).await {
                    result?;
                }
            }
        }
        Ok(())
    }
}
