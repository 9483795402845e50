//! Build, then run: the sockets are bound before anything is served.

use std::{net::SocketAddr, sync::Arc};

use aguacero::{admin::Admin, config::Config, essential::essential, shutdown::Shutdown, socket};
use aguacero_proto::{
    pod::PodStream,
    produce::{MESSAGE_BYTES_MAX, producer_server::ProducerServer},
};
use anyhow::Context as _;
use tokio::{net::UnixListener, sync::watch, task::JoinSet};
use tokio_stream::{StreamExt as _, wrappers::UnixListenerStream};
use tonic::transport::Server;

use crate::{client::Clients, metric, session::Service, topics};

/// Windows and frames of HTTP/2: above what a gateway's worker has in flight, so that flow control
/// never holds a frame back.
const STREAM_WINDOW: u32 = 4 << 20;
const CONNECTION_WINDOW: u32 = 8 << 20;
const FRAME_BYTES: u32 = 1 << 20;

/// A kafka-producer whose sockets are bound.
pub struct App {
    config: Arc<Config>,
    admin: Admin,
    listener: UnixListener,
}

impl App {
    /// Binds the Unix socket and the admin port.
    pub async fn build(config: Config) -> anyhow::Result<Self> {
        let admin = Admin::bind(config.kafka_producer.admin).await?;
        let listener = socket::listen(&config.kafka_producer.socket).await?;
        Ok(Self {
            config: Arc::new(config),
            admin,
            listener,
        })
    }

    /// Where the admin port listens.
    #[must_use]
    pub fn admin_addr(&self) -> SocketAddr {
        self.admin.local_addr()
    }

    /// Serves until `shutdown`, then sends the receipts of what was accepted, within the deadline.
    pub async fn run(self, shutdown: Shutdown) -> anyhow::Result<()> {
        metric::describe(&self.config);
        let (ready_sender, ready) = watch::channel(false);
        let mut admin = JoinSet::new(); // ends with this function
        let serving = self.admin.serve(ready, shutdown.clone());
        admin.spawn(essential("the admin port", serving));

        let topics = topics::watch(Arc::clone(&self.config), shutdown.clone()).await?;
        let Some(topics) = topics else { return Ok(()) }; // shut down before the broker was seen
        let clients = Clients::new(&self.config, topics.clone());
        let clients = tokio::select! {
            clients = clients => clients.context("making the producer")?,
            () = shutdown.requested() => return Ok(()),
        };
        ready_sender.send_replace(true);
        tracing::info!(socket = %self.config.kafka_producer.socket.display(), "serving");

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
                let deadline = self.config.kafka_producer.drain_timeout;
                if let Some(result) = aguacero::shutdown::within(deadline, "the drain", serving).await {
                    result?;
                }
            }
        }
        Ok(())
    }
}
