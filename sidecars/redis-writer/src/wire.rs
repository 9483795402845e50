//! Messages and closes: what goes over the socket, and why it ends.

use std::time::Duration;

use aguacero_proto::deltas::{FromRedisWriter, ToRedisWriter, from_redis_writer, to_redis_writer};
use bytes::Bytes;
use futures_util::SinkExt as _;
use prost::Message as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, Join, Take},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error as WsError, Message, Utf8Bytes,
        error::ProtocolError,
        protocol::{CloseFrame, frame::coding::CloseCode},
    },
};

/// How long a gateway may take to end what it is sending, once it was sent a close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// The longest reason that fits into a close.
const REASON_BYTES_MAX: usize = 123;

/// What a connection may send before its hello, the WebSocket's own handshake included: a hello has
/// some fifty bytes, and whoever is not known yet must not fill the memory.
const HANDSHAKE_BYTES_MAX: u64 = 64 << 10;

/// A connection of which only so much is read. The WebSocket's bounds on a message would do, if they
/// could be changed after the hello.
pub(crate) type Stream = Join<Take<OwnedReadHalf>, OwnedWriteHalf>;

pub(crate) type Socket = WebSocketStream<Stream>;

/// A connection of a gateway that has not said hello.
pub(crate) fn limited(stream: UnixStream) -> Stream {
    let (reader, writer) = stream.into_split();
    tokio::io::join(reader.take(HANDSHAKE_BYTES_MAX), writer)
}

/// From here on, whatever comes is read.
pub(crate) fn lift_limit(socket: &mut Socket) {
    socket.get_mut().reader_mut().set_limit(u64::MAX);
}

/// Whether the connection seems to end only because no more of it is read.
pub(crate) fn is_exhausted(socket: &Socket) -> bool {
    socket.get_ref().reader().limit() == 0
}

/// Why a session ended.
#[derive(Debug)]
pub(crate) enum End {
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
    pub(crate) fn protocol(reason: impl Into<String>) -> Self {
        Self::Refused(CloseCode::Protocol, reason.into())
    }

    pub(crate) fn of(error: WsError) -> Self {
        match error {
            WsError::Capacity(e) => Self::Refused(CloseCode::Size, e.to_string()),
            // A peer that disappears without a close is no news: it restarts.
            WsError::Protocol(
                ProtocolError::ResetWithoutClosingHandshake | ProtocolError::HandshakeIncomplete,
            ) => Self::Left,
            WsError::Protocol(e) => Self::protocol(e.to_string()),
            WsError::Utf8(e) => Self::Refused(CloseCode::Invalid, e),
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

/// Says why, and lets the gateway finish what it is sending: one whose writing fails would not come to
/// read the reason. What it sends is read past the WebSocket, which after a message that it refused
/// knows no more where the next one begins.
pub(crate) async fn close(socket: &mut Socket, end: &End) {
    let Some(frame) = end.close() else { return };
    let closing = async {
        if socket.send(Message::Close(Some(frame))).await.is_err() {
            return;
        }
        lift_limit(socket);
        let stream = socket.get_mut();
        if stream.writer_mut().shutdown().await.is_ok() {
            _ = tokio::io::copy(stream.reader_mut(), &mut tokio::io::sink()).await;
        }
    };
    _ = timeout(CLOSE_TIMEOUT, closing).await;
}

pub(crate) fn message(kind: from_redis_writer::Kind) -> Message {
    let message = FromRedisWriter { kind: Some(kind) };
    Message::Binary(Bytes::from(message.encode_to_vec()))
}

/// What a message says; none for those of the WebSocket itself.
pub(crate) fn decode(
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
        Err(error) => Err(End::Refused(
            CloseCode::Invalid,
            format!("a message that is none: {error}"),
        )),
    }
}
