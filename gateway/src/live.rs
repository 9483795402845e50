//! The live counters: what was stored is told to the redis-writer, merged while it is busy or away.
//!
//! Nothing here is needed for exactness: what never arrives, the consumer's settling counts.

use std::{
    cell::RefCell,
    collections::{HashMap, hash_map::Entry as MapEntry},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

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
    tungstenite::{
        Message,
        protocol::{CloseFrame, WebSocketConfig, frame::coding::CloseCode},
    },
};

use crate::{lane::Finished, metric, slab::Outcome};

/// Pause between two attempts to connect.
const RECONNECT_EVERY: Duration = Duration::from_millis(100);
/// Pause after each frame, in which the deltas of others merge. Nobody waits for them, and a frame for
/// every single event of a lone client would take the thread from its next request.
const FRAME_PAUSE: Duration = Duration::from_millis(10);
/// Room for an acknowledgement. It is zeroed for each read, and the default is 128 KiB.
const READ_BUFFER: usize = 4 << 10;
/// What is kept while nobody takes it; beyond, it is dropped. All of it goes into one frame, and the
/// redis-writer takes twice as much.
const UNSENT_BYTES_MAX: usize = 8 << 20;
/// What a place takes in a frame beside its keys.
const PLACE_OVERHEAD: usize = 128;

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
    /// What `unsent` takes in a frame, at most.
    bytes: usize,
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

    /// What is to be sent, as bytes; taken for sent and acknowledged.
    pub(crate) fn take_frame(&self) -> Option<Vec<u8>> {
        let mut pending = self.pending.borrow_mut();
        let frame = pending.next_frame(&self.config)?;
        pending.sent = None;
        Some(frame.encode_to_vec())
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
                let acknowledged = acknowledged(&mut socket, sequence).await;
                if is_refusal(&acknowledged) {
                    metric::deltas_dropped(1); // it would be refused each time
                    self.pending.borrow_mut().sent = None;
                }
                acknowledged?;
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
        if self.bytes + delta.deltas.bytes() > UNSENT_BYTES_MAX {
            metric::deltas_dropped(self.unsent.len() + 1);
            self.unsent.clear();
            self.bytes = 0;
            return;
        }
        self.bytes += match self.unsent.entry(place) {
            MapEntry::Vacant(vacant) => PLACE_OVERHEAD + vacant.insert(delta).deltas.bytes(),
            MapEntry::Occupied(mut occupied) => {
                let merged = occupied.get_mut();
                merged.first = merged.first.min(delta.first);
                merged.last = merged.last.max(delta.last);
                merged.deltas.merge(delta.deltas)
            }
        };
    }

    /// The frame to send: the one before, if it was not acknowledged, or what has come since.
    fn next_frame(&mut self, config: &Config) -> Option<DeltaFrame> {
        if self.sent.is_none() && !self.unsent.is_empty() {
            self.sequence += 1;
            self.bytes = 0;
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

/// The redis-writer has closed the connection, and said why.
#[derive(Debug, thiserror::Error)]
#[error("it closed the connection: {0}")]
struct Closed(CloseFrame);

/// Whether the redis-writer will never take the frame that it was sent.
fn is_refusal<T>(result: &anyhow::Result<T>) -> bool {
    let closed = result
        .as_ref()
        .err()
        .and_then(|e| e.downcast_ref::<Closed>());
    let refuses = [CloseCode::Size, CloseCode::Protocol, CloseCode::Invalid];
    closed.is_some_and(|Closed(why)| refuses.contains(&why.code))
}

/// The sequence that a message acknowledges, if it does.
fn read(
    message: Option<Result<Message, tokio_tungstenite::tungstenite::Error>>,
) -> anyhow::Result<Option<u64>> {
    let bytes = match message {
        Some(Ok(Message::Binary(bytes))) => bytes,
        Some(Ok(Message::Close(Some(why)))) => return Err(Closed(why).into()),
        Some(Ok(Message::Close(None))) | None => anyhow::bail!("it closed the connection"),
        Some(Ok(_)) => return Ok(None),
        Some(Err(error)) => return Err(error.into()),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        let toml = r#"
[topics.t]
partitions = 1
replication = 1
min_insync = 1
[streams.s]
topic = "t"
fields = [{ name = "a", type = "string" }, { name = "b", type = "string" }]
counters = [{ name = "by_a", by = ["a"] }, { name = "by_both", by = ["a", "b"] }]
[[streams.s.routes]]
path = "/s"
"#;
        Config::parse(toml, "a test's file", []).unwrap()
    }

    fn add(pending: &mut Pending, config: &Config, partition: i32, keys: std::ops::Range<usize>) {
        let mut deltas = Deltas::none(&config.streams[0]);
        for n in keys {
            let key = format!("{n}-{}", "k".repeat(n % 3000));
            deltas.count_keys(&[Some(&key), Some("x")]);
        }
        let place = Place {
            stream: 0,
            incarnation: "an-incarnation-of-22-b".into(),
            partition,
        };
        let (first, last) = (0, i64::MAX);
        let delta = Delta {
            first,
            last,
            deltas,
        };
        pending.merge(place, delta);
    }

    #[test]
    fn whatever_is_kept_fits_one_frame_and_the_rest_is_dropped() {
        let config = config();
        let (mut pending, mut kept) = (Pending::default(), 0);
        for n in 0..400 {
            add(
                &mut pending,
                &config,
                n % 7,
                n as usize * 60..n as usize * 60 + 90,
            );
            assert!(pending.bytes <= UNSENT_BYTES_MAX);
            kept = kept.max(pending.bytes);
            if n % 50 == 49 {
                let estimated = pending.bytes;
                let frame = pending.next_frame(&config).unwrap();
                assert!(
                    frame.encoded_len() <= estimated,
                    "{} of {estimated}",
                    frame.encoded_len()
                );
                pending.sent = None;
                assert_eq!(pending.bytes, 0);
            }
        }
        assert!(kept > UNSENT_BYTES_MAX / 2, "nothing was kept: {kept}");
    }

    #[test]
    fn keys_that_come_again_take_no_further_room() {
        let config = config();
        let mut pending = Pending::default();
        add(&mut pending, &config, 0, 0..50);
        let once = pending.bytes;
        for _ in 0..100_000 {
            add(&mut pending, &config, 0, 0..1);
        }
        assert_eq!(pending.bytes, once);
        assert_eq!(pending.unsent.len(), 1);
    }
}

#[cfg(test)]
#[path = "live_tests.rs"]
mod session_tests;
