//! A kafka-producer that stores nothing: it says at once that everything is stored. What a gateway costs
//! without Kafka.

use std::{path::Path, pin::Pin};

use aguacero_proto::{
    pod::PodStream,
    produce::{
        FromProducer, Outcome, PROTOCOL, Receipt, Receipts, Slab, ToProducer, Welcome,
        from_producer,
        producer_server::{Producer, ProducerServer},
        to_producer,
    },
};
use prost::Message as _;
use tokio_stream::{Stream, StreamExt as _, wrappers::UnixListenerStream};
use tonic::{Request, Response, Status, Streaming, transport::Server};

struct Null;

#[tonic::async_trait]
impl Producer for Null {
    type ProduceStream = Pin<Box<dyn Stream<Item = Result<FromProducer, Status>> + Send>>;

    async fn produce(
        &self,
        request: Request<Streaming<ToProducer>>,
    ) -> Result<Response<Self::ProduceStream>, Status> {
        let answers = request.into_inner().map(|message| {
            let kind = match message?.kind {
                Some(to_producer::Kind::Hello(hello)) => from_producer::Kind::Welcome(Welcome {
                    protocol: PROTOCOL,
                    config_fingerprint: hello.config_fingerprint,
                    topics: Vec::new(),
                }),
                Some(to_producer::Kind::Frame(frame)) => {
                    let receipts = frame.slabs.into_iter().map(|slab| {
                        let slab = Slab::decode(slab).map_err(|error| {
                            Status::invalid_argument(format!("not a slab: {error}"))
                        })?;
                        Ok::<_, Status>(Receipt {
                            slab: slab.id,
                            outcome: Outcome::Stored.into(),
                            ..Receipt::default()
                        })
                    });
                    from_producer::Kind::Receipts(Receipts {
                        receipts: receipts.collect::<Result<_, _>>()?,
                    })
                }
                None => return Err(Status::invalid_argument("neither hello nor frame")),
            };
            Ok(FromProducer { kind: Some(kind) })
        });
        Ok(Response::new(Box::pin(answers)))
    }
}

/// Serves at `socket` until the process ends.
pub async fn serve(socket: &Path) -> anyhow::Result<()> {
    let listener = tokio::net::UnixListener::bind(socket)?;
    Server::builder()
        .initial_stream_window_size(4 << 20)
        .initial_connection_window_size(8 << 20)
        .max_frame_size(1 << 20)
        .add_service(ProducerServer::new(Null).max_decoding_message_size(16 << 20))
        .serve_with_incoming(
            UnixListenerStream::new(listener).map(|accepted| accepted.and_then(PodStream::new)),
        )
        .await?;
    Ok(())
}
