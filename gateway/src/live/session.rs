//! The WebSocket to the redis-writer: frames of deltas leave, one at a time, and acknowledgements come back.

use std::{rc::Rc, time::Duration};

use aguacero::{log_limiter, shutdown::Shutdown};
use aguacero_proto::deltas::{
    DeltaHello, FromRedisWriter, PROTOCOL, ToRedisWriter, from_redis_writer, to_redis_writer,
};
use futures_util::{SinkExt as _, StreamExt as _};
use prost::Message as _;
use tokio::net::UnixStream;
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{
        Message,
        protocol::{CloseFrame, WebSocketConfig, frame::coding::CloseCode},
    },
};

use crate::{
    live::deltas::Live,
    metric::{self, OpenLink, REDIS_WRITER},
};

/// Pause between two attempts to connect.
const RECONNECT_EVERY: Duration = Duration::from_millis(100);
/// Pause after each frame, in which the deltas of others merge. Nobody waits for them, and a frame for
/// every single event of a lone client would take the thread from its next request.
const FRAME_PAUSE: Duration = Duration::from_millis(10);
/// What the log says while there is no connection.
const UNANSWERED: &str = "the redis-writer does not answer: live counters wait";
/// Room for an acknowledgement. It is zeroed for each read, and the default is 128 KiB.
const READ_BUFFER: usize = 4 << 10;

impl Live {
    /// Sends until the shutdown is requested and nothing is left.
    pub(crate) async fn run(self: Rc<Self>, shutdown: Shutdown) {
        loop {
            match self.session(&shutdown).await {
                Ok(()) => return,
                Err(error) => {
                    log_limiter::repeated(UNANSWERED, "", &error);
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
        log_limiter::ended(UNANSWERED, "");
        let _open = OpenLink::to(REDIS_WRITER);
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
                log_limiter::repeated("the redis-writer refuses deltas", "", problem);
            }
            Ok(Some(ack.sequence))
        }
        Some(from_redis_writer::Kind::Welcome(_)) | None => Ok(None),
    }
}
