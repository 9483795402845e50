//! A connection that a test can cut.

use std::sync::{Arc, Mutex};

use tokio::{
    io::{self, AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
};

pub(crate) struct Proxy {
    pub(crate) address: String,
    open: watch::Sender<bool>,
    lose: Arc<Mutex<Lose>>,
}

/// Requests that arrive and whose answers do not.
#[derive(Default)]
struct Lose {
    times: usize,
    /// What such a request has in it.
    with: &'static [u8],
}

impl Proxy {
    /// Passes on what comes to `target`, `host:port`.
    pub(crate) async fn to(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (open, state) = watch::channel(true);
        let target = target.to_owned();
        let lose = Arc::<Mutex<Lose>>::default();
        let losing = lose.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                if *state.borrow() {
                    tokio::spawn(pass(stream, target.clone(), state.clone(), losing.clone()));
                }
            }
        });
        Self {
            address,
            open,
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
        *self.lose.lock().unwrap() = Lose { times, with };
    }

    pub(crate) fn answers_to_lose(&self) -> usize {
        self.lose.lock().unwrap().times
    }

    pub(crate) fn mend(&self) {
        self.open.send_replace(true);
    }
}

async fn pass(
    from: TcpStream,
    target: String,
    mut open: watch::Receiver<bool>,
    lose: Arc<Mutex<Lose>>,
) {
    let Ok(to) = TcpStream::connect(target).await else {
        return;
    };
    tokio::select! {
        _ = exchange(from, to, &lose) => {}
        _ = open.wait_for(|open| !open) => {}
    }
}

async fn exchange(mut from: TcpStream, mut to: TcpStream, lose: &Mutex<Lose>) -> io::Result<()> {
    let (mut request, mut answer) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    let mut loses = false;
    loop {
        tokio::select! {
            n = from.read(&mut request) => {
                let n = n?;
                if n == 0 {
                    return Ok(());
                }
                {
                    let mut lose = lose.lock().unwrap();
                    let with = lose.with;
                    let found = lose.times > 0 && request[..n].windows(with.len()).any(|w| w == with);
                    lose.times -= usize::from(found && !loses);
                    loses |= found;
                }
                to.write_all(&request[..n]).await?;
            }
            n = to.read(&mut answer) => {
                let n = n?;
                if n == 0 || loses {
                    return Ok(());
                }
                from.write_all(&answer[..n]).await?;
            }
        }
    }
}
