//! A producer that goes away with a frame, and again with the next.

use std::{
    pin::Pin,
    sync::atomic::{AtomicUsize, Ordering},
};

use aguacero::id::EventId;
use aguacero_proto::produce::{
    Frame, Outcome as Wire, Receipt, Slab, Welcome,
    producer_server::{Producer, ProducerServer},
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use smallvec::SmallVec;
use tokio::{net::UnixListener, sync::oneshot, time::timeout};
use tokio_stream::wrappers::{UnboundedReceiverStream, UnixListenerStream};
use tonic::{Request, Response, transport::Server};

use super::*;
use crate::batch::{
    append::{Append, Appending, Origin, Refused},
    slab::decoded,
    verdict::Verdict,
};

/// Longer than anything takes here.
pub(in crate::batch) const PATIENCE: Duration = Duration::from_secs(30);
/// Streams that end with their first frame.
const BROKEN: usize = 2;

/// A producer that stores everything but what comes by its first streams.
struct Fake {
    streams: AtomicUsize,
    broken: usize,
    frames: mpsc::UnboundedSender<(usize, Frame)>,
}

#[tonic::async_trait]
impl Producer for Fake {
    type ProduceStream = Pin<Box<dyn Stream<Item = Result<FromProducer, Status>> + Send>>;

    async fn produce(
        &self,
        request: Request<Streaming<ToProducer>>,
    ) -> Result<Response<Self::ProduceStream>, Status> {
        let stream = self.streams.fetch_add(1, Ordering::SeqCst);
        let (mut incoming, frames) = (request.into_inner(), self.frames.clone());
        let broken = self.broken;
        let (answers, outgoing) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok(Some(message)) = incoming.message().await {
                let answer = match message.kind.unwrap() {
                    to_producer::Kind::Hello(_) => from_producer::Kind::Welcome(Welcome::default()),
                    to_producer::Kind::Frame(frame) => {
                        let receipt = |slab: &Slab| Receipt {
                            slab: slab.id,
                            outcome: Wire::Stored.into(),
                            ..Receipt::default()
                        };
                        let receipts = decoded(&frame).iter().map(receipt).collect();
                        _ = frames.send((stream, frame));
                        if stream < broken {
                            return; // which ends the stream
                        }
                        from_producer::Kind::Receipts(Receipts { receipts })
                    }
                };
                _ = answers.send(FromProducer { kind: Some(answer) });
            }
        });
        let answers = UnboundedReceiverStream::new(outgoing).map(Ok);
        Ok(Response::new(Box::pin(answers)))
    }
}

/// Serves a producer whose first `broken` streams end with their first frame; the frames that come, each with the number
/// of its stream.
pub(in crate::batch) fn serve(
    socket: &std::path::Path,
    broken: usize,
) -> mpsc::UnboundedReceiver<(usize, Frame)> {
    let listener = UnixListener::bind(socket).unwrap();
    let (frames, came) = mpsc::unbounded_channel();
    let fake = Fake {
        streams: AtomicUsize::new(0),
        broken,
        frames,
    };
    let incoming = UnixListenerStream::new(listener).map(|a| a.and_then(PodStream::new));
    tokio::spawn(
        Server::builder()
            .add_service(ProducerServer::new(fake))
            .serve_with_incoming(incoming),
    );
    came
}

fn config(socket: &std::path::Path) -> Arc<Config> {
    let toml = format!(
        "[topics.t]\npartitions = 1\n[streams.s]\ntopic = \"t\"\n[[streams.s.routes]]\npath = \"/s\"\n\
         [kafka_producer]\nsocket = \"{}\"\n",
        socket.display()
    );
    Arc::new(Config::parse(&toml, "test", []).unwrap())
}

/// Appends an event to the only stream, if it is taken.
pub(in crate::batch) fn append(
    link: &Link,
    config: &Config,
    value: &str,
) -> Result<oneshot::Receiver<Rc<Verdict>>, Refused> {
    let origin = Origin {
        stream: &config.streams[0],
        base: EventId::new_base(),
        client_key: Bytes::new(),
        arrived_ms: 1,
        trace: <[Bytes; 2]>::default(),
        tells_offsets: false,
    };
    let append = Append {
        position: 0,
        value: value.as_bytes(),
        key: None,
        reserved: None,
        id: origin.base,
        name: None,
        counter_keys: SmallVec::new(),
    };
    let mut lane = link.lane();
    let place = Appending::begin(&mut lane, &origin, 1000, Instant::now()).append(&append);
    let verdict = lane.wait(place?.unwrap().slab).unwrap();
    drop(lane);
    link.wake();
    Ok(verdict)
}

#[tokio::test]
async fn a_frame_that_is_lost_twice_is_sent_a_third_time_as_it_was_before_what_is_newer() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(&folder.path().join("s"));
    let mut came = serve(config.socket_of(Via::Grpc), BROKEN);

    let exchange = async {
        let link = Rc::new(Link::new(
            &config,
            Via::Grpc,
            Budget::new(1 << 20),
            Rc::new(Live::new(&config)),
        ));
        let (welcomed, mut is_welcome) = mpsc::channel(1);
        let (_trigger, shutdown) = Shutdown::new();
        tokio::task::spawn_local(Rc::clone(&link).run(welcomed, shutdown));
        timeout(PATIENCE, is_welcome.recv()).await.unwrap();

        let mut verdicts = vec![append(&link, &config, "{\"n\":0}").unwrap()];
        let mut slabs: Vec<Vec<_>> = vec![Vec::new(); BROKEN + 1];
        while slabs[BROKEN].len() < BROKEN + 1 {
            let (stream, frame) = timeout(PATIENCE, came.recv()).await.unwrap().unwrap();
            slabs[stream].extend(decoded(&frame));
            if stream < BROKEN {
                let value = format!("{{\"n\":{}}}", verdicts.len());
                verdicts.push(append(&link, &config, &value).unwrap());
            }
        }
        let last = &slabs[BROKEN];
        let values: Vec<_> = last.iter().map(|s| s.values.clone()).collect();
        assert_eq!(values, ["{\"n\":0}", "{\"n\":1}", "{\"n\":2}"]);
        for lost in &slabs[..BROKEN] {
            assert!(!lost.is_empty() && last.starts_with(lost), "{lost:?}");
        }
        for verdict in verdicts {
            let verdict = timeout(PATIENCE, verdict).await.unwrap().unwrap();
            assert_eq!(verdict.outcome, Outcome::Stored);
        }
        assert!(link.lane().is_empty());
    };
    tokio::task::LocalSet::new().run_until(exchange).await;
}
