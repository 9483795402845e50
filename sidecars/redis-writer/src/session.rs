//! One connection: the greeting, then frames in and acknowledgements out, side by side.

use std::{sync::Arc, time::Duration};

use aguacero::{
    config::Config,
    ledger::END,
    shutdown::{Shutdown, Trigger},
};
use aguacero_proto::{
    PROTOCOL,
    deltas::{
        DeltaAck, DeltaFrame, DeltaHello, DeltaWelcome, FromRedisWriter, ToRedisWriter,
        from_redis_writer, to_redis_writer,
    },
};
use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _, stream};
use prost::Message as _;
use tokio::{
    net::UnixStream,
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream, accept_async_with_config,
    tungstenite::{
        Error as WsError, Message, Utf8Bytes,
        error::ProtocolError,
        protocol::{CloseFrame, WebSocketConfig, frame::coding::CloseCode},
    },
};

use crate::{apply::Work, frame::Frame, metric};

/// One message. The gateway's bounds on a frame are far below.
const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// Bytes of frames, over all sessions, that were read and are not in Redis yet. Beyond it the
/// sessions wait, and stop reading.
const BYTES_WAITING_MAX: usize = 64 << 20;

/// Frames of one session whose acknowledgement has not been sent yet; beyond it, it stops reading.
const FRAMES_OPEN_MAX: usize = 1024;

/// From the connection to the hello.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a gateway may take no acknowledgement.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a gateway may take to answer a close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// The longest reason that fits into a close.
const REASON_BYTES_MAX: usize = 123;

type Socket = WebSocketStream<UnixStream>;

/// Where acknowledgements go, each with the slot that it frees. Bounded by the slots.
pub(crate) type Acks = mpsc::UnboundedSender<(DeltaAck, OwnedSemaphorePermit)>;

/// What all sessions share.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) config: Arc<Config>,
    pub(crate) shutdown: Shutdown,
    queue: mpsc::Sender<Work>,
    bytes: Arc<Semaphore>,
}

impl Context {
    pub(crate) fn new(config: Arc<Config>, queue: mpsc::Sender<Work>, shutdown: Shutdown) -> Self {
        let bytes = Arc::new(Semaphore::new(BYTES_WAITING_MAX));
        Self {
            config,
            shutdown,
            queue,
            bytes,
        }
    }
}

/// Why a session ended.
#[derive(Debug)]
enum End {
    /// The gateway closed it, or is gone.
    Left,
    /// It stopped taking acknowledgements.
    Stuck,
    /// We shut down.
    Draining,
    /// It broke the protocol.
    Refused(CloseCode, String),
}

impl End {
    fn protocol(reason: impl Into<String>) -> Self {
        Self::Refused(CloseCode::Protocol, reason.into())
    }

    fn of(error: WsError) -> Self {
        match error {
            WsError::Capacity(e) => Self::Refused(CloseCode::Size, e.to_string()),
            // A peer that disappears without a close is no news: it restarts.
            WsError::Protocol(
                ProtocolError::ResetWithoutClosingHandshake | ProtocolError::HandshakeIncomplete,
            ) => Self::Left,
            WsError::Protocol(e) => Self::protocol(e.to_string()),
            WsError::Utf8(e) => Self::protocol(e),
            _ => Self::Left,
        }
    }

    fn close(&self) -> Option<CloseFrame> {
        let (code, reason) = match self {
            Self::Left | Self::Stuck => return None,
            Self::Draining => (CloseCode::Away, "the redis-writer shuts down"),
            Self::Refused(code, reason) => (*code, reason.as_str()),
        };
        let end = (0..=REASON_BYTES_MAX.min(reason.len())).rfind(|i| reason.is_char_boundary(*i));
        let reason = Utf8Bytes::from(&reason[..end.unwrap_or(0)]);
        Some(CloseFrame { code, reason })
    }
}

/// Serves one connection until it ends.
pub(crate) async fn serve(stream: UnixStream, context: Context) {
    let greeting = tokio::select! {
        greeting = timeout(HELLO_TIMEOUT, greet(stream, &context)) => greeting,
        () = context.shutdown.requested() => return,
    };
    let end = match greeting {
        Ok(Ok((socket, run))) => {
            let _open = metric::Session::open();
            converse(socket, run, context).await
        }
        Ok(Err(end)) => end,
        Err(_) => End::protocol("no hello came in time"),
    };
    match end {
        End::Refused(_, reason) => {
            metric::session_refused();
            tracing::warn!(reason, "closed a connection that broke the protocol");
        }
        end => tracing::debug!(?end, "a session ended"),
    }
}

/// Shakes hands and exchanges hello and welcome. Returns the gateway's run.
async fn greet(stream: UnixStream, context: &Context) -> Result<(Socket, [u8; 16]), End> {
    let config = WebSocketConfig::default()
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX));
    let mut socket = match accept_async_with_config(stream, Some(config)).await {
        Ok(socket) => socket,
        Err(error @ (WsError::Http(_) | WsError::HttpFormat(_))) => {
            return Err(End::protocol(format!("no WebSocket handshake: {error}")));
        }
        Err(error) => return Err(End::of(error)),
    };
    let (run, theirs) = match hello(&mut socket).await {
        Ok(hello) => hello,
        Err(end) => {
            close(&mut socket, &end).await;
            return Err(end);
        }
    };
    compare(&context.config, theirs);
    let welcome = from_redis_writer::Kind::Welcome(DeltaWelcome {
        protocol: PROTOCOL,
        config_fingerprint: context.config.fingerprint,
    });
    socket.send(message(welcome)).await.map_err(End::of)?;
    Ok((socket, run))
}

/// The first message: whose run it is, and with which configuration.
async fn hello(socket: &mut Socket) -> Result<([u8; 16], u64), End> {
    let kind = loop {
        if let Some(kind) = decode(socket.next().await)? {
            break kind;
        }
    };
    let to_redis_writer::Kind::Hello(DeltaHello {
        protocol,
        run,
        config_fingerprint,
    }) = kind
    else {
        return Err(End::protocol("the first message must be a hello"));
    };
    if protocol == 0 || !(PROTOCOL - 1..=PROTOCOL).contains(&protocol) {
        return Err(End::protocol(format!(
            "protocol version {protocol} is not spoken here, but {PROTOCOL} and the one before"
        )));
    }
    match <[u8; 16]>::try_from(&run[..]) {
        Ok(run) => Ok((run, config_fingerprint)),
        Err(_) => Err(End::protocol("a run has 16 bytes")),
    }
}

/// Streams that differ are refused one by one; this says why before anything is.
fn compare(config: &Config, theirs: u64) {
    if theirs != config.fingerprint {
        metric::other_configuration();
        tracing::warn!(
            gateway = format!("{theirs:016x}"),
            redis_writer = format!("{:016x}", config.fingerprint),
            "the gateway was started with another configuration of topics and streams"
        );
    }
}

/// Reads and acknowledges until either direction ends, then waits for what is on its way to Redis.
async fn converse(socket: Socket, run: [u8; 16], context: Context) -> End {
    let (mut sink, mut source) = socket.split();
    let (acks, acknowledged) = mpsc::unbounded_channel();
    let (trigger, cut) = Shutdown::new();
    let reader = Reader {
        run,
        context,
        acks,
        slots: Arc::new(Semaphore::new(FRAMES_OPEN_MAX)),
        cut,
    };
    let (end, written) = tokio::join!(
        reader.run(&mut source),
        write(&mut sink, acknowledged, trigger)
    );
    let end = written.err().unwrap_or(end);
    if let Ok(mut socket) = sink.reunite(source) {
        close(&mut socket, &end).await;
    }
    end
}

/// Says why, and waits until the gateway has heard it: a socket that is closed with unread input
/// would take the reason back.
async fn close(socket: &mut Socket, end: &End) {
    let Some(frame) = end.close() else { return };
    let closing = async {
        if socket.send(Message::Close(Some(frame))).await.is_ok() {
            while let Some(Ok(_)) = socket.next().await {}
        }
    };
    _ = timeout(CLOSE_TIMEOUT, closing).await;
}

struct Reader {
    run: [u8; 16],
    context: Context,
    /// Dropped with the reader: when the last frame on its way is acknowledged, the writer ends.
    acks: Acks,
    slots: Arc<Semaphore>,
    /// Requested when acknowledgements cannot be written any more.
    cut: Shutdown,
}

impl Reader {
    async fn run(self, source: &mut stream::SplitStream<Socket>) -> End {
        loop {
            let received = tokio::select! {
                biased;
                () = self.context.shutdown.requested() => return End::Draining,
                () = self.cut.requested() => return End::Stuck,
                received = source.next() => received,
            };
            let len = received
                .as_ref()
                .map_or(0, |m| m.as_ref().map_or(0, Message::len));
            let frame = match decode(received) {
                Ok(None) => continue,
                Ok(Some(to_redis_writer::Kind::Frame(frame))) => frame,
                Ok(Some(to_redis_writer::Kind::Hello(_))) => {
                    return End::protocol("a second hello");
                }
                Err(end) => return end,
            };
            if !(1..=END.unsigned_abs()).contains(&frame.sequence) {
                return End::protocol("frames are numbered from 1");
            }
            if let Err(end) = self.hand_over(frame, len).await {
                return end;
            }
        }
    }

    /// Waits until there is room. What was read is applied even if a shutdown comes in between.
    async fn hand_over(&self, frame: DeltaFrame, len: usize) -> Result<(), End> {
        let frame = Frame::check(&self.context.config, frame);
        let waiting = metric::Waiting::begin();
        let slots = Arc::clone(&self.slots);
        let slot = tokio::select! {
            () = self.cut.requested() => return Err(End::Stuck),
            slot = slots.acquire_owned() => slot,
        };
        // A message is smaller than all of the permits.
        let bytes = Arc::clone(&self.context.bytes);
        let bytes = bytes
            .acquire_many_owned(u32::try_from(len).unwrap_or(u32::MAX))
            .await;
        let (Ok(slot), Ok(bytes)) = (slot, bytes) else {
            return Err(End::Draining);
        };
        let work = Work {
            run: self.run,
            sequence: frame.sequence,
            parts: frame.parts,
            problems: frame.problems,
            acks: self.acks.clone(),
            bytes,
            slot,
            waiting,
        };
        let sent = self.context.queue.send(work).await;
        sent.map_err(|_| End::Draining)
    }
}

/// Sends acknowledgements, all that are ready by one flush, until the reader and all frames on their
/// way are done. Ending, for whatever reason, it cuts the reader off.
async fn write(
    sink: &mut stream::SplitSink<Socket, Message>,
    mut acknowledged: mpsc::UnboundedReceiver<(DeltaAck, OwnedSemaphorePermit)>,
    _cut: Trigger,
) -> Result<(), End> {
    let mut ready = Vec::new();
    loop {
        if acknowledged.recv_many(&mut ready, FRAMES_OPEN_MAX).await == 0 {
            return Ok(());
        }
        let flush = async {
            for (ack, _slot) in ready.drain(..) {
                sink.feed(message(from_redis_writer::Kind::Ack(ack)))
                    .await?;
            }
            sink.flush().await
        };
        match timeout(WRITE_TIMEOUT, flush).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Err(End::Left),
            Err(_) => return Err(End::Stuck),
        }
    }
}

fn message(kind: from_redis_writer::Kind) -> Message {
    let message = FromRedisWriter { kind: Some(kind) };
    Message::Binary(Bytes::from(message.encode_to_vec()))
}

/// What a message says; none for those of the WebSocket itself.
fn decode(
    received: Option<Result<Message, WsError>>,
) -> Result<Option<to_redis_writer::Kind>, End> {
    let bytes = match received {
        None | Some(Ok(Message::Close(_))) => return Err(End::Left),
        Some(Err(error)) => return Err(End::of(error)),
        Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => return Ok(None),
        Some(Ok(Message::Text(_))) => return Err(End::protocol("a text message")),
        Some(Ok(Message::Binary(bytes))) => bytes,
    };
    match ToRedisWriter::decode(bytes) {
        Ok(ToRedisWriter { kind: Some(kind) }) => Ok(Some(kind)),
        Ok(ToRedisWriter { kind: None }) => Err(End::protocol("a message of no known kind")),
        Err(error) => Err(End::protocol(format!("a message that is none: {error}"))),
    }
}
