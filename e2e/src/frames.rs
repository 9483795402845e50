//! HTTP/2 frame by frame (RFC 9113), for what no decent client would send.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::DEADLINE;

/// What a client begins with.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Kinds of frames.
pub mod kind {
    /// `DATA`
    pub const DATA: u8 = 0;
    /// `HEADERS`
    pub const HEADERS: u8 = 1;
    /// `PRIORITY`
    pub const PRIORITY: u8 = 2;
    /// `RST_STREAM`
    pub const RESET: u8 = 3;
    /// `SETTINGS`
    pub const SETTINGS: u8 = 4;
    /// `PUSH_PROMISE`
    pub const PUSH: u8 = 5;
    /// `PING`
    pub const PING: u8 = 6;
    /// `GOAWAY`
    pub const GOAWAY: u8 = 7;
    /// `WINDOW_UPDATE`
    pub const WINDOW: u8 = 8;
    /// `CONTINUATION`
    pub const CONTINUATION: u8 = 9;
}

/// Flags of frames.
pub mod flag {
    /// The client's last of a stream.
    pub const END_STREAM: u8 = 1;
    /// Of SETTINGS and PING: the answer to one.
    pub const ACK: u8 = 1;
    /// The header ends with it.
    pub const END_HEADERS: u8 = 4;
    /// The first byte says how many at the end say nothing.
    pub const PADDED: u8 = 8;
    /// Of HEADERS: five bytes of priority come first.
    pub const PRIORITY: u8 = 32;
}

/// A frame as it is written.
#[must_use]
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len())
        .expect("a frame's length")
        .to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// The block of a header: every field as a literal that is not indexed (RFC 7541, section 6.2.2).
#[must_use]
pub fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            block.push(
                u8::try_from(text.len())
                    .ok()
                    .filter(|n| *n < 127)
                    .expect("short texts"),
            );
            block.extend(text.as_bytes());
        }
    }
    block
}

/// The header of a POST of JSON to `path`.
#[must_use]
pub fn post(path: &str) -> Vec<u8> {
    block(&fields(path))
}

/// What [`post`] is the block of.
#[must_use]
pub const fn fields(path: &str) -> [(&str, &str); 5] {
    [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "localhost"),
        ("content-type", "application/json"),
    ]
}

/// A connection that has begun.
pub struct Frames {
    /// Both ways.
    pub stream: TcpStream,
}

impl Frames {
    /// Connects, and sends the preface and the client's `settings`.
    pub async fn begin(address: SocketAddr, settings: &[u8]) -> Self {
        let mut stream = TcpStream::connect(address).await.expect("a connection");
        let first = [PREFACE, &frame(kind::SETTINGS, 0, 0, settings)].concat();
        stream
            .write_all(&first)
            .await
            .expect("a preface that is taken");
        Self { stream }
    }

    /// Writes `bytes`, if they are still taken.
    pub async fn write(&mut self, bytes: &[u8]) {
        _ = self.stream.write_all(bytes).await;
    }

    /// The next frame: kind, flags, stream and payload; none at the end, however it comes.
    pub async fn next(&mut self) -> Option<(u8, u8, u32, Vec<u8>)> {
        let read = async {
            let mut head = [0; 9];
            self.stream.read_exact(&mut head).await.ok()?;
            let [a, b, c, kind, flags, stream @ ..] = head;
            let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
            self.stream.read_exact(&mut payload).await.ok()?;
            Some((kind, flags, u32::from_be_bytes(stream), payload))
        };
        timeout(DEADLINE, read).await.expect("a frame, or the end")
    }

    /// Reads to the end; what the last GOAWAY gave as its reason.
    pub async fn ended(&mut self) -> Option<u32> {
        let mut reason = None;
        while let Some((kind, _, _, payload)) = self.next().await {
            if kind == kind::GOAWAY {
                let bytes = payload[4..8].try_into().expect("four bytes");
                reason = Some(u32::from_be_bytes(bytes));
            }
        }
        reason
    }

    /// Writes `bytes` again and again, and reads nothing, until the gateway ends the connection or `max` bytes
    /// were taken; whether it ended.
    pub async fn flood(&mut self, bytes: &[u8], max: usize) -> bool {
        let (mut reader, mut writer) = self.stream.split();
        let writing = async {
            for _ in 0..max / bytes.len() {
                if writer.write_all(bytes).await.is_err() {
                    return true;
                }
            }
            false
        };
        let mut answers = vec![0; 64 << 10];
        let reading = async {
            while reader.read(&mut answers).await.is_ok_and(|n| n > 0) {}
            true
        };
        let flood = async {
            tokio::select! { ended = writing => ended, ended = reading => ended }
        };
        timeout(Duration::from_secs(60), flood)
            .await
            .unwrap_or(false)
    }
}
