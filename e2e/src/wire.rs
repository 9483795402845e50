//! Connections that a test can cut in the middle of a frame, or hold: proxies between the processes.

use std::{
    fmt, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    sync::watch,
    task::JoinHandle,
};

use crate::eventually::eventually;

/// What a connection that is to be cut may still carry, if it carries anything.
const LAST_WORDS: Duration = Duration::from_millis(50);
const BUFFER_BYTES: usize = 16 * 1024;

/// Where somebody listens.
#[derive(Debug, Clone)]
pub enum Address {
    /// A port.
    Tcp(SocketAddr),
    /// A socket in the file system.
    Unix(PathBuf),
}

/// A proxy. Dropped, it is gone, and its connections are cut.
pub struct Wire {
    /// Where to connect to instead of the target.
    pub address: Address,
    state: watch::Sender<State>,
    accepting: JoinHandle<()>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Passes everything on.
    Whole,
    /// Passes nothing on, and says nothing.
    Held,
    /// Ends every connection, and every new one at once.
    Cut,
}

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

impl Address {
    async fn connect(&self) -> io::Result<Box<dyn Stream>> {
        Ok(match self {
            Self::Tcp(address) => Box::new(quick(TcpStream::connect(address).await?)),
            Self::Unix(path) => Box::new(UnixStream::connect(path).await?),
        })
    }
}

impl Listener {
    async fn next(&self) -> io::Result<Box<dyn Stream>> {
        Ok(match self {
            Self::Tcp(listener) => Box::new(quick(listener.accept().await?.0)),
            Self::Unix(listener) => Box::new(listener.accept().await?.0),
        })
    }
}

impl Wire {
    /// To a port, from any free one.
    pub async fn to_port(target: SocketAddr) -> Self {
        Self::from_port(([127, 0, 0, 1], 0).into(), target).await
    }

    /// To a port, from a given one, once nobody listens there: a wire that was dropped does so for another moment.
    pub async fn from_port(from: SocketAddr, target: SocketAddr) -> Self {
        let listener = eventually(&format!("{from} is free"), async || {
            TcpListener::bind(from).await.map_err(|e| e.to_string())
        })
        .await;
        let address = Address::Tcp(listener.local_addr().expect("its address"));
        Self::start(Listener::Tcp(listener), address, Address::Tcp(target))
    }

    /// To a socket in the file system, from one beside it.
    #[must_use]
    pub fn to_socket(target: &Path) -> Self {
        let from = target.with_extension("wire");
        let listener = UnixListener::bind(&from).expect("a socket in our own folder");
        let target = Address::Unix(target.to_owned());
        Self::start(Listener::Unix(listener), Address::Unix(from), target)
    }

    fn start(listener: Listener, address: Address, target: Address) -> Self {
        let (state, seen) = watch::channel(State::Whole);
        Self {
            address,
            state,
            accepting: tokio::spawn(accept(listener, target, seen)),
        }
    }

    /// Ends every connection: whatever it carries next is passed on by half. New ones are ended at once.
    pub fn cut(&self) {
        self.state.send_replace(State::Cut);
    }

    /// Keeps every connection open and passes nothing on, as a network does that drops packets.
    pub fn hold(&self) {
        self.state.send_replace(State::Held);
    }

    /// As before; what was held goes on.
    pub fn mend(&self) {
        self.state.send_replace(State::Whole);
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.accepting.abort();
        self.state.send_replace(State::Cut);
    }
}

async fn accept(listener: Listener, target: Address, state: watch::Receiver<State>) {
    loop {
        let Ok(from) = listener.next().await else {
            continue;
        };
        if *state.borrow() != State::Cut {
            tokio::spawn(join(from, target.clone(), state.clone()));
        }
    }
}

async fn join(from: Box<dyn Stream>, target: Address, state: watch::Receiver<State>) {
    let Ok(to) = target.connect().await else {
        return;
    };
    let (from_reads, from_writes) = tokio::io::split(from);
    let (to_reads, to_writes) = tokio::io::split(to);
    // An error of either way, and a cut is one, ends both.
    _ = tokio::try_join!(
        pass(from_reads, to_writes, state.clone()),
        pass(to_reads, from_writes, state),
    );
}

fn quick(stream: TcpStream) -> TcpStream {
    _ = stream.set_nodelay(true);
    stream
}

async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut state: watch::Receiver<State>,
) -> io::Result<()> {
    let cut = || io::Error::from(io::ErrorKind::ConnectionReset);
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let read = tokio::select! {
            read = from.read(&mut buffer) => read?,
            () = when(&mut state, |s| s == State::Cut) => {
                let last = tokio::time::timeout(LAST_WORDS, from.read(&mut buffer)).await;
                let read = last.unwrap_or(Ok(0))?;
                to.write_all(&buffer[..read / 2]).await?;
                return Err(cut());
            }
        };
        if read == 0 {
            return to.shutdown().await;
        }
        when(&mut state, |s| s != State::Held).await;
        let is_cut = *state.borrow() == State::Cut;
        if is_cut {
            to.write_all(&buffer[..read / 2]).await?;
            return Err(cut());
        }
        to.write_all(&buffer[..read]).await?;
    }
}

/// Waits for a state. A wire that is dropped has been cut before.
async fn when(state: &mut watch::Receiver<State>, is: impl Fn(State) -> bool) {
    _ = state.wait_for(|s| is(*s)).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn echo() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut reads, mut writes) = stream.split();
                    _ = tokio::io::copy(&mut reads, &mut writes).await;
                });
            }
        });
        address
    }

    async fn connect(wire: &Wire) -> TcpStream {
        let Address::Tcp(address) = wire.address else {
            panic!("a port")
        };
        TcpStream::connect(address).await.unwrap()
    }

    #[tokio::test]
    async fn what_is_held_comes_later_and_what_is_cut_comes_by_half() {
        let wire = Wire::to_port(echo().await).await;
        let mut stream = connect(&wire).await;
        let mut answer = [0; 8];
        wire.hold();
        stream.write_all(b"12345678").await.unwrap();
        wire.mend();
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"12345678");

        wire.hold();
        stream.write_all(b"12345678").await.unwrap();
        wire.cut();
        let mut rest = Vec::new();
        _ = stream.read_to_end(&mut rest).await;
        assert!(rest.len() < 8, "{rest:?}");
        assert_eq!(connect(&wire).await.read(&mut answer).await.unwrap_or(0), 0);

        wire.mend();
        let mut stream = connect(&wire).await;
        stream.write_all(b"again...").await.unwrap();
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"again...");
    }
}
