//! The live counters: what was stored is told to the redis-writer, merged while it is busy or away.
//!
//! Nothing here is needed for exactness: what never arrives, the consumer's settling counts.

use std::{cell::RefCell, collections::HashMap, rc::Rc, sync::Arc, time::Duration};

use aguacero::{
    accept::{Decoder, fit::Fields},
    config::{Config, Stream},
    counts::Deltas,
    shutdown::Shutdown,
};
use aguacero_proto::{
    PROTOCOL,
    deltas::{
        CounterDeltas, DeltaFrame, DeltaHello, Entry, FromRedisWriter, StreamDeltas, ToRedisWriter,
        from_redis_writer, to_redis_writer,
    },
};
use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use prost::Message as _;
use smallvec::SmallVec;
use tokio::{net::UnixStream, sync::Notify};
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{Message, protocol::WebSocketConfig},
};

use crate::{lane::Finished, metric, slab::Outcome};

/// Pause between two attempts to connect.
const RECONNECT_EVERY: Duration = Duration::from_millis(100);
/// Pause after each frame, in which the deltas of others merge. Nobody waits for them, and a frame for
/// every single event of a lone client would take the thread from its next request.
const FRAME_PAUSE: Duration = Duration::from_millis(10);
/// Room for an acknowledgement. It is zeroed for each read, and the default is 128 KiB.
const READ_BUFFER: usize = 4 << 10;
/// Distinct keys kept while nobody takes them: some 8 MiB. Beyond, entries are dropped.
const KEYS_MAX: usize = 64 << 10;

/// The deltas of one worker.
pub(crate) struct Live {
    config: Arc<Config>,
    /// Names this worker's frames: new for each start.
    run: Bytes,
    pending: RefCell<Pending>,
    stored: Notify,
}

/// What the redis-writer has not acknowledged.
#[derive(Default)]
struct Pending {
    /// Merged, and not yet in a frame.
    unsent: HashMap<Place, Delta>,
    /// Distinct keys in `unsent`.
    keys: usize,
    /// Sent; repeated unchanged until it is acknowledged.
    sent: Option<DeltaFrame>,
    sequence: u64,
}

/// Where the entries of a ledger stand.
#[derive(PartialEq, Eq, Hash)]
struct Place {
    stream: usize,
    incarnation: String,
    partition: i32,
}

struct Delta {
    first: i64,
    last: i64,
    deltas: Deltas,
}

impl Live {
    pub(crate) fn new(config: &Arc<Config>) -> Self {
        Self {
            config: Arc::clone(config),
            run: Bytes::copy_from_slice(&uuid::Uuid::new_v4().into_bytes()),
            pending: RefCell::default(),
            stored: Notify::new(),
        }
    }

    /// 16 bytes that name this worker.
    pub(crate) fn run_id(&self) -> Bytes {
        self.run.clone()
    }

    /// Counts the stored events of a slab. Those whose offsets nobody knows are left to the settling.
    pub(crate) fn stored(&self, finished: Finished) {
        let Some((first, last)) = finished.offsets else {
            return;
        };
        let deltas = if finished.verdict.exceptions.is_empty() {
            finished.slab.deltas
        } else {
            self.recount(&finished)
        };
        let mut pending = self.pending.borrow_mut();
        for (stream, deltas) in deltas {
            let place = Place {
                stream,
                incarnation: finished.incarnation.clone(),
                partition: finished.partition,
            };
            pending.merge(
                place,
                Delta {
                    first,
                    last,
                    deltas,
                },
            );
        }
        drop(pending);
        self.stored.notify_one();
    }

    /// The deltas of a slab without the events that were not stored.
    fn recount(&self, finished: &Finished) -> SmallVec<[(usize, Deltas); 1]> {
        let mut decoder = Decoder::new(self.config.gateway.event_bytes_max);
        let mut counted: SmallVec<[(usize, Deltas); 1]> = finished
            .slab
            .deltas
            .iter()
            .map(|(s, _)| (*s, Deltas::none(&self.config.streams[*s])))
            .collect();
        for (index, (stream, value)) in (0..).zip(finished.slab.events()) {
            if finished
                .verdict
                .exceptions
                .iter()
                .any(|(i, o)| *i == index && *o != Outcome::Stored)
            {
                continue;
            }
            let declared: &Stream = &self.config.streams[stream];
            let Some((_, deltas)) = counted.iter_mut().find(|(s, _)| *s == stream) else {
                continue;
            };
            _ = decoder.decode(value, |event| {
                let fields = Fields::find(declared, event);
                deltas.count(declared, |field| fields.scalar(field));
            });
        }
        counted
    }

    /// Sends until the shutdown is requested and nothing is left.
    pub(crate) async fn run(self: Rc<Self>, shutdown: Shutdown) {
        let mut told = false;
        loop {
            match self.session(&shutdown).await {
                Ok(()) => return,
                Err(error) => {
                    if !std::mem::replace(&mut told, true) {
                        tracing::warn!(%error, "the redis-writer does not answer: live counters wait");
                    }
                }
            }
            tokio::time::sleep(RECONNECT_EVERY).await;
        }
    }

    /// One connection: greets, repeats what was sent before, then frame by frame.
    async fn session(&self, shutdown: &Shutdown) -> anyhow::Result<()> {
        let stream = UnixStream::connect(&self.config.redis_writer.socket).await?;
        let (mut socket, _) = client_async_with_config(
            "ws://redis-writer/",
            stream,
            Some(WebSocketConfig::default().read_buffer_size(READ_BUFFER)),
        )
        .await?;
        let hello = DeltaHello {
            protocol: PROTOCOL,
            run: self.run.clone(),
            config_fingerprint: self.config.fingerprint,
        };
        send(&mut socket, to_redis_writer::Kind::Hello(hello)).await?;
        loop {
            let frame = self.pending.borrow_mut().next_frame(&self.config);
            if let Some(frame) = frame {
                let sequence = frame.sequence;
                send(&mut socket, to_redis_writer::Kind::Frame(frame)).await?;
                acknowledged(&mut socket, sequence).await?;
                self.pending.borrow_mut().sent = None;
                tokio::time::sleep(FRAME_PAUSE).await;
                continue;
            }
            tokio::select! {
                () = self.stored.notified() => {}
                () = shutdown.requested() => {
                    // The link has ended before, so nothing comes any more.
                    if self.pending.borrow().unsent.is_empty() {
                        _ = socket.close(None).await;
                        return Ok(());
                    }
                }
                message = socket.next() => { read(message)?; }
            }
        }
    }
}

impl Pending {
    fn merge(&mut self, place: Place, delta: Delta) {
        if self.keys > KEYS_MAX {
            metric::deltas_dropped(self.unsent.len());
            self.unsent.clear();
            self.keys = 0;
        }
        let distinct = |deltas: &Deltas| deltas.counters.iter().map(HashMap::len).sum::<usize>();
        match self.unsent.entry(place) {
            std::collections::hash_map::Entry::Vacant(vacant) => {
                self.keys += distinct(&delta.deltas);
                vacant.insert(delta);
            }
            std::collections::hash_map::Entry::Occupied(mut occupied) => {
                let merged = occupied.get_mut();
                let before = distinct(&merged.deltas);
                merged.first = merged.first.min(delta.first);
                merged.last = merged.last.max(delta.last);
                merged.deltas.merge(delta.deltas);
                self.keys += distinct(&merged.deltas) - before;
            }
        }
    }

    /// The frame to send: the one before, if it was not acknowledged, or what has come since.
    fn next_frame(&mut self, config: &Config) -> Option<DeltaFrame> {
        if self.sent.is_none() && !self.unsent.is_empty() {
            self.sequence += 1;
            self.keys = 0;
            let mut streams: HashMap<usize, Vec<Entry>> = HashMap::new();
            for (place, delta) in self.unsent.drain() {
                let entry = entry(&config.streams[place.stream], &place, delta);
                streams.entry(place.stream).or_default().push(entry);
            }
            let streams = streams.into_iter().map(|(stream, entries)| StreamDeltas {
                stream: config.streams[stream].name.clone(),
                counters_fingerprint: config.streams[stream].counters_fingerprint,
                entries,
            });
            self.sent = Some(DeltaFrame {
                sequence: self.sequence,
                streams: streams.collect(),
            });
        }
        self.sent.clone()
    }
}

fn entry(stream: &Stream, place: &Place, delta: Delta) -> Entry {
    let counters = stream
        .counters
        .iter()
        .zip(delta.deltas.counters)
        .map(|(counter, counts)| {
            let (keys, counts) = counts.into_iter().unzip();
            CounterDeltas {
                counter: counter.name.clone(),
                keys,
                counts,
            }
        });
    Entry {
        incarnation: place.incarnation.clone(),
        partition: place.partition,
        first: delta.first,
        last: delta.last,
        events: delta.deltas.events,
        counters: counters.collect(),
    }
}

async fn send(
    socket: &mut WebSocketStream<UnixStream>,
    kind: to_redis_writer::Kind,
) -> anyhow::Result<()> {
    let message = ToRedisWriter { kind: Some(kind) };
    Ok(socket
        .send(Message::Binary(message.encode_to_vec().into()))
        .await?)
}

/// Waits until the redis-writer has acknowledged frame `sequence`.
async fn acknowledged(
    socket: &mut WebSocketStream<UnixStream>,
    sequence: u64,
) -> anyhow::Result<()> {
    loop {
        if read(socket.next().await)?.is_some_and(|ack| ack >= sequence) {
            return Ok(());
        }
    }
}

/// The sequence that a message acknowledges, if it does.
fn read(
    message: Option<Result<Message, tokio_tungstenite::tungstenite::Error>>,
) -> anyhow::Result<Option<u64>> {
    let bytes = match message {
        Some(Ok(Message::Binary(bytes))) => bytes,
        Some(Ok(Message::Close(why))) => anyhow::bail!("it closed the connection: {why:?}"),
        Some(Ok(_)) => return Ok(None),
        Some(Err(error)) => return Err(error.into()),
        None => anyhow::bail!("it closed the connection"),
    };
    match FromRedisWriter::decode(bytes)?.kind {
        Some(from_redis_writer::Kind::Ack(ack)) => {
            for problem in &ack.problems {
                tracing::error!(problem, "the redis-writer refuses deltas");
            }
            Ok(Some(ack.sequence))
        }
        Some(from_redis_writer::Kind::Welcome(_)) | None => Ok(None),
    }
}
