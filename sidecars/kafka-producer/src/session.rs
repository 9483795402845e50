//! One stream of a gateway's worker: hello, then slabs in, receipts out.

use std::{pin::Pin, sync::Arc};

use aguacero::{config::Config, log_limiter, record::OVERHEAD, shutdown::Shutdown};
use aguacero_proto::produce::{
    FromProducer, Hello, PROTOCOL, Receipt, ToProducer, TopicLimit, Welcome, from_producer,
    producer_server::Producer, to_producer,
};
use futures_util::{Stream, StreamExt as _};
use slab_records::columns;
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::{
    client::Clients,
    metric, receipt,
    topics::{BATCH_BYTES_MAX, Known},
};

/// Receipts in one message.
const RECEIPTS_MAX: usize = 256;

/// The gRPC service.
pub(crate) struct Service {
    config: Arc<Config>,
    clients: Clients,
    topics: Known,
    shutdown: Shutdown,
}

impl Service {
    pub(crate) fn new(
        config: Arc<Config>,
        clients: Clients,
        topics: Known,
        shutdown: Shutdown,
    ) -> Self {
        Self {
            config,
            clients,
            topics,
            shutdown,
        }
    }

    /// Checks the gateway's greeting and answers it.
    fn greet(&self, hello: &Hello) -> Result<Welcome, Status> {
        if !(PROTOCOL.saturating_sub(1)..=PROTOCOL).contains(&hello.protocol) {
            return Err(Status::failed_precondition(format!(
                "the gateway speaks protocol {}, this producer {PROTOCOL}: upgrade sidecars before gateways",
                hello.protocol
            )));
        }
        if hello.config_fingerprint != self.config.fingerprint {
            tracing::warn!("the gateway declares other topics or streams than this producer");
        }
        let limits = self
            .topics
            .batch_bytes_max()
            .into_iter()
            .map(|(topic, bytes)| TopicLimit {
                topic,
                record_bytes_max: u32::try_from(
                    bytes.min(BATCH_BYTES_MAX).saturating_sub(OVERHEAD),
                )
                .unwrap_or(u32::MAX),
            });
        Ok(Welcome {
            protocol: PROTOCOL,
            config_fingerprint: self.config.fingerprint,
            topics: limits.collect(),
        })
    }
}

#[tonic::async_trait]
impl Producer for Service {
    type ProduceStream = Pin<Box<dyn Stream<Item = Result<FromProducer, Status>> + Send>>;

    async fn produce(
        &self,
        request: Request<Streaming<ToProducer>>,
    ) -> Result<Response<Self::ProduceStream>, Status> {
        let mut incoming = request.into_inner();
        let Some(ToProducer {
            kind: Some(to_producer::Kind::Hello(hello)),
        }) = incoming.message().await?
        else {
            return Err(Status::invalid_argument(
                "the first message of a stream is a hello",
            ));
        };
        let welcome = from_producer::Kind::Welcome(self.greet(&hello)?);

        // Unbounded in form: it holds one receipt for each slab in flight, which the gateway bounds.
        // The stream ends when the reader below and the last slab in flight have let go of it.
        let (receipts, outgoing) = mpsc::unbounded_channel();
        tokio::spawn(read(
            incoming,
            self.clients.clone(),
            receipts,
            self.shutdown.clone(),
        ));

        let receipts = UnboundedReceiverStream::new(outgoing)
            .ready_chunks(RECEIPTS_MAX)
            .flat_map(|receipts| tokio_stream::iter(receipt::messages(receipts)))
            .map(from_producer::Kind::Receipts);
        let answers = tokio_stream::once(welcome).chain(receipts);
        Ok(Response::new(Box::pin(
            answers.map(|kind| Ok(FromProducer { kind: Some(kind) })),
        )))
    }
}

/// Produces what comes in until the gateway leaves or this process is to end.
async fn read(
    mut incoming: Streaming<ToProducer>,
    clients: Clients,
    receipts: mpsc::UnboundedSender<Receipt>,
    shutdown: Shutdown,
) {
    let _open = metric::Session::open();
    loop {
        let message = tokio::select! {
            message = incoming.message() => message,
            () = shutdown.requested() => return,
        };
        match message {
            Ok(Some(ToProducer {
                kind: Some(to_producer::Kind::Frame(frame)),
            })) => {
                for slab in frame.slabs {
                    match columns::read(slab.clone()) {
                        Ok(read) => clients.produce(read, slab, &receipts),
                        Err(error) => {
                            log_limiter::repeated(
                                "the gateway sent a slab that cannot be read",
                                "",
                                &error,
                            );
                            return;
                        }
                    }
                }
            }
            Ok(Some(_)) => {
                let detail = "something that is not a frame: its stream is closed";
                log_limiter::repeated("the gateway broke the protocol", "", &detail);
                return;
            }
            Ok(None) => return,
            Err(status) => {
                tracing::debug!(%status, "the gateway's stream broke");
                return;
            }
        }
    }
}
