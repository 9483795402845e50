//! A connection that a test can cut.

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
};

pub(crate) struct Proxy {
    pub(crate) address: String,
    open: watch::Sender<bool>,
}

impl Proxy {
    /// Passes on what comes to `target`, `host:port`.
    pub(crate) async fn to(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (open, state) = watch::channel(true);
        let target = target.to_owned();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                if *state.borrow() {
                    tokio::spawn(pass(stream, target.clone(), state.clone()));
                }
            }
        });
        Self { address, open }
    }

    /// Ends every connection, and every new one at once.
    pub(crate) fn cut(&self) {
        self.open.send_replace(false);
    }

    pub(crate) fn mend(&self) {
        self.open.send_replace(true);
    }
}

async fn pass(mut from: TcpStream, target: String, mut open: watch::Receiver<bool>) {
    let Ok(mut to) = TcpStream::connect(target).await else {
        return;
    };
    tokio::select! {
        _ = copy_bidirectional(&mut from, &mut to) => {}
        _ = open.wait_for(|open| !open) => {}
    }
}
