//! The handshake: who connects, in which version, with which configuration.

use aguacero::config::Config;
use aguacero_proto::deltas::{
    DeltaHello, DeltaWelcome, PROTOCOL, from_redis_writer, to_redis_writer,
};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::UnixStream;
use tokio_tungstenite::{
    WebSocketStream, accept_async_with_config,
    tungstenite::{
        Error as WsError,
        protocol::{Role, WebSocketConfig, frame::coding::CloseCode},
    },
};

use crate::{
    metric,
    wire::{End, Socket, close, decode, is_exhausted, lift_limit, limited, message},
};

/// One message. The gateway's bounds on a frame are far below.
const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// What is read at once. It is zeroed for each read, and most frames are far smaller.
const READ_BYTES: usize = 16 << 10;

/// Shakes hands and exchanges hello and welcome. Returns the gateway's run.
pub(crate) async fn handshake(
    stream: UnixStream,
    config: &Config,
) -> Result<(Socket, [u8; 16]), End> {
    let limits = WebSocketConfig::default()
        .read_buffer_size(READ_BYTES)
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX));
    let mut socket = match accept_async_with_config(limited(stream), Some(limits)).await {
        Ok(socket) => socket,
        Err(error @ (WsError::Http(_) | WsError::HttpFormat(_))) => {
            return Err(End::protocol(format!("no WebSocket handshake: {error}")));
        }
        Err(error) => return Err(End::of(error)),
    };
    let (run, theirs) = match hello(&mut socket).await {
        Ok(hello) => hello,
        Err(mut end) => {
            if is_exhausted(&socket) {
                end = End::Refused(CloseCode::Size, "the hello is too long".to_owned());
                // This WebSocket takes it for the end of the connection, and says nothing any more.
                let stream = socket.into_inner();
                socket = WebSocketStream::from_raw_socket(stream, Role::Server, None).await;
            }
            close(&mut socket, &end).await;
            return Err(end);
        }
    };
    lift_limit(&mut socket);
    compare(config, theirs);
    let welcome = from_redis_writer::Kind::Welcome(DeltaWelcome {
        protocol: PROTOCOL,
        config_fingerprint: config.fingerprint,
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
