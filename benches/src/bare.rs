//! The limit of HTTP: a server that reads the body and answers a constant.

use std::{
    convert::Infallible,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    process::{Child, Command, Stdio},
};

use anyhow::Context as _;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, runtime::LocalOptions};

/// A server in a process of its own, which ends with this one.
pub struct Bare {
    process: Child,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Bare {
    /// Starts this program again with `argument`, which must lead to [`serve`].
    pub fn spawn(argument: &str) -> anyhow::Result<Self> {
        let mut process = Command::new(std::env::current_exe()?)
            .arg(argument)
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = process.stdout.take().context("its output")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let address = line.trim().parse().context("its address")?;
        Ok(Self { process, address })
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        _ = self.process.kill();
        _ = self.process.wait();
    }
}

/// Serves on a free port, which it prints, on one thread like a worker of the gateway.
pub fn serve() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(LocalOptions::default())?;
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?);
        loop {
            let (stream, _) = listener.accept().await?;
            _ = stream.set_nodelay(true);
            let serving = http1::Builder::new()
                .writev(false)
                .serve_connection(TokioIo::new(stream), service_fn(answer));
            tokio::task::spawn_local(serving);
        }
    })
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    _ = request.into_body().collect().await;
    Ok(Response::new(Full::new(Bytes::from_static(
        b"{\"accepted\":1}",
    ))))
}
