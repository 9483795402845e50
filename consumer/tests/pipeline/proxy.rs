//! A connection that a test can cut.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

use tokio::{
    io::{self, AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
};

pub(crate) struct Proxy {
    pub(crate) address: String,
    open: watch::Sender<bool>,
    held: watch::Sender<bool>,
    holds: Arc<AtomicBool>,
    lose: Arc<Mutex<Lose>>,
}

/// A connection's view of it.
#[derive(Clone)]
struct State {
    open: watch::Receiver<bool>,
    held: watch::Receiver<bool>,
    holds: Arc<AtomicBool>,
    lose: Arc<Mutex<Lose>>,
}

/// Requests at which the connection ends.
#[derive(Default)]
struct Lose {
    times: usize,
    /// What such a request has in it.
    with: &'static [u8],
    /// It is so many requests after one with these bytes.
    skip: usize,
    /// Whether it arrives, and only its answer does not.
    arrives: bool,
}

impl Proxy {
    /// Passes on what comes to `target`, `host:port`.
    pub(crate) async fn to(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (open, open_seen) = watch::channel(true);
        let (held, held_seen) = watch::channel(false);
        let (holds, lose) = (Arc::<AtomicBool>::default(), Arc::<Mutex<Lose>>::default());
        let state = State {
            open: open_seen,
            held: held_seen,
            holds: holds.clone(),
            lose: lose.clone(),
        };
        let target = target.to_owned();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                if *state.open.borrow() {
                    tokio::spawn(pass(stream, target.clone(), state.clone()));
                }
            }
        });
        Self {
            address,
            open,
            held,
            holds,
            lose,
        }
    }

    /// Ends every connection, and every new one at once.
    pub(crate) fn cut(&self) {
        self.open.send_replace(false);
    }

    /// The next `times` requests with these bytes in them are done, and the connection ends instead of
    /// their answer.
    pub(crate) fn lose_answers(&self, times: usize, with: &'static [u8]) {
        *self.lose.lock().unwrap() = Lose {
            times,
            with,
            skip: 0,
            arrives: true,
        };
    }

    /// The connection ends at the request that comes `skip` requests after one with these bytes in it, once: before it
    /// arrives, or instead of its answer.
    pub(crate) fn cut_after(&self, skip: usize, with: &'static [u8], arrives: bool) {
        *self.lose.lock().unwrap() = Lose {
            times: 1,
            with,
            skip,
            arrives,
        };
    }

    /// Keeps every connection, and lets nothing through any more.
    pub(crate) fn hold(&self) {
        self.held.send_replace(true);
    }

    /// Whether something has come since, and is held.
    pub(crate) fn holds(&self) -> bool {
        self.holds.load(Ordering::SeqCst)
    }

    /// Lets everything through that was held.
    pub(crate) fn let_go(&self) {
        self.holds.store(false, Ordering::SeqCst);
        self.held.send_replace(false);
    }

    pub(crate) fn answers_to_lose(&self) -> usize {
        self.lose.lock().unwrap().times
    }

    pub(crate) fn mend(&self) {
        self.open.send_replace(true);
    }
}

impl State {
    /// Waits as long as everything is held.
    async fn pass(&mut self) {
        if *self.held.borrow() {
            self.holds.store(true, Ordering::SeqCst);
        }
        _ = self.held.wait_for(|held| !held).await;
    }

    /// Whether this request arrives; `loses` becomes true if the connection is to end at it. `since` counts the requests
    /// after one with the bytes.
    fn at(&self, request: &[u8], loses: &mut bool, since: &mut Option<usize>) -> bool {
        let mut lose = self.lose.lock().unwrap();
        if lose.times == 0 {
            return true;
        }
        let with = lose.with;
        *since = match request.windows(with.len()).any(|w| w == with) {
            true => Some(0),
            false => since.map(|n| n + 1),
        };
        let found = *since == Some(lose.skip);
        lose.times -= usize::from(found && !*loses);
        *loses |= found;
        lose.arrives || !found
    }
}

async fn pass(from: TcpStream, target: String, state: State) {
    let Ok(to) = TcpStream::connect(target).await else {
        return;
    };
    let mut open = state.open.clone();
    tokio::select! {
        _ = exchange(from, to, state) => {}
        _ = open.wait_for(|open| !open) => {}
    }
}

async fn exchange(mut from: TcpStream, mut to: TcpStream, mut state: State) -> io::Result<()> {
    let (mut request, mut answer) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    let (mut loses, mut since) = (false, None);
    loop {
        tokio::select! {
            n = from.read(&mut request) => {
                let n = n?;
                if n == 0 || !state.at(&request[..n], &mut loses, &mut since) {
                    return Ok(());
                }
                state.pass().await;
                to.write_all(&request[..n]).await?;
            }
            n = to.read(&mut answer) => {
                let n = n?;
                if n == 0 || loses {
                    return Ok(());
                }
                state.pass().await;
                from.write_all(&answer[..n]).await?;
            }
        }
    }
}
