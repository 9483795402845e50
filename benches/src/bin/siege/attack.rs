//! Connections of one kind, kept up until the end.

use std::{
    cell::Cell,
    future::pending,
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use futures_util::future::{join, join_all};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, Interest},
    net::{
        TcpSocket, TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    time::{sleep, sleep_until, timeout, timeout_at},
};

use crate::{
    h2,
    kind::{Kind, Reads, Then},
};

/// Between two pieces of a slow client.
const EVERY: Duration = Duration::from_secs(1);
/// Between two looks at a connection of which nothing is read.
const LOOK: Duration = Duration::from_millis(100);
/// Room for answers of a client that does not read them.
const SMALL_WINDOW: u32 = 4096;
/// What is kept of what the gateway says.
const KEPT_BYTES: usize = 16 << 10;
/// What is read of the answers of those that did not read, at the end.
const LAST_READS: Duration = Duration::from_secs(3);

/// How a kind is to attack.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) address: SocketAddr,
    pub(crate) connections: usize,
    /// Of floods, over all connections.
    pub(crate) bytes: u64,
    pub(crate) duration: Duration,
}

/// What became of a connection.
#[derive(Default)]
pub(crate) struct End {
    /// It was never made.
    pub(crate) is_refused: bool,
    /// The gateway has closed it, so long after it was made.
    pub(crate) closed: Option<Duration>,
    /// Bytes that were taken.
    pub(crate) sent: u64,
    received: Vec<u8>,
}

impl End {
    /// The gateway's last word.
    pub(crate) fn told(&self) -> String {
        let status = b"HTTP/1.1 ";
        let last = self
            .received
            .windows(status.len())
            .rposition(|w| w == status);
        match last {
            _ if self.is_refused => "no connection".into(),
            Some(at) => {
                let code = self.received[at + status.len()..].iter().take(3);
                code.map(|b| char::from(*b)).collect()
            }
            None if self.received.is_empty() => "nothing".into(),
            None => h2::told(&self.received),
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = KEPT_BYTES.saturating_sub(self.received.len());
        self.received.extend(&bytes[..bytes.len().min(room)]);
    }
}

/// Lets all connections of `kind` attack at once, and waits as long as planned.
pub(crate) async fn run(kind: &Kind, plan: &Plan) -> Vec<End> {
    let until = Instant::now() + plan.duration;
    let connections = (0..plan.connections).map(|_| one(kind, plan, until));
    let (ends, ()) = join(join_all(connections), sleep_until(until.into())).await;
    ends
}

async fn one(kind: &Kind, plan: &Plan, until: Instant) -> End {
    let mut end = End::default();
    let Ok(Ok(mut stream)) = timeout_at(until.into(), connect(kind, plan.address)).await else {
        end.is_refused = true;
        return end;
    };
    let made = Instant::now();
    let sent = Cell::new(0);
    let (mut reads, writes) = stream.split();
    let bytes_max = plan.bytes / plan.connections as u64;
    let attack = async {
        tokio::select! {
            () = send(writes, kind, bytes_max, &sent) => {}
            () = receive(&mut reads, kind.reads, &mut end) => {}
        }
    };
    if timeout_at(until.into(), attack).await.is_ok() {
        end.closed = Some(made.elapsed());
    }
    // What it was told before it was closed, or what it has not looked at until now.
    if end.closed.is_some() || kind.reads != Reads::All {
        let rest = timeout(LAST_READS, receive(&mut reads, Reads::All, &mut end)).await;
        if rest.is_ok() {
            end.closed.get_or_insert(made.elapsed());
        }
    }
    end.sent = sent.get();
    end
}

async fn connect(kind: &Kind, address: SocketAddr) -> io::Result<TcpStream> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    if kind.reads != Reads::All {
        socket.set_recv_buffer_size(SMALL_WINDOW)?;
    }
    let stream = socket.connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Returns when the connection takes no more.
async fn send(mut writes: WriteHalf<'_>, kind: &Kind, bytes_max: u64, sent: &Cell<u64>) {
    let mut write = async |bytes: &[u8]| {
        writes.write_all(bytes).await?;
        sent.set(sent.get() + bytes.len() as u64);
        io::Result::Ok(())
    };
    if write(&kind.begins).await.is_err() {
        return;
    }
    for n in 0.. {
        let piece = match &kind.then {
            Then::Silence => break,
            Then::Slowly(pieces) => {
                sleep(EVERY).await;
                pieces(n)
            }
            Then::Flood(_) if sent.get() >= bytes_max => break,
            Then::Flood(pieces) => pieces(n),
        };
        if piece.is_empty() {
            break;
        }
        if write(&piece).await.is_err() {
            return;
        }
    }
    pending().await
}

/// Returns when the gateway has closed the connection.
async fn receive(reads: &mut ReadHalf<'_>, how: Reads, end: &mut End) {
    let mut bytes = [0; 4096];
    let at_once = if how == Reads::Slowly {
        1024
    } else {
        bytes.len()
    };
    loop {
        if how == Reads::Nothing {
            match reads.ready(Interest::READABLE).await {
                Ok(ready) if ready.is_read_closed() || ready.is_error() => return,
                Ok(_) => sleep(LOOK).await,
                Err(_) => return,
            }
            continue;
        }
        match reads.read(&mut bytes[..at_once]).await {
            Ok(0) | Err(_) => return,
            Ok(read) => end.keep(&bytes[..read]),
        }
        if how == Reads::Slowly {
            sleep(EVERY).await;
        }
    }
}
