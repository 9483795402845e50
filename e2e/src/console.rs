//! A console as a browser asks it: answers, and streams of updates.

use std::net::SocketAddr;

use anyhow::{Context as _, bail};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
};

use crate::{
    client::{Answer, Client, Request},
    eventually::DEADLINE,
    process::Process,
};

/// Where a console's pages are.
#[must_use]
pub fn address(console: &Process) -> SocketAddr {
    let listen = console.setting("console.listen");
    listen
        .parse()
        .expect("an address that the pipeline has set")
}

/// A console's answer to a GET.
pub async fn get(console: &Process, path: &str) -> Answer {
    Client::new(address(console))
        .answer(&Request::get(path))
        .await
}

/// The file of the operator's token, and what is in it.
#[must_use]
pub fn token() -> (tempfile::NamedTempFile, &'static str) {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), "an operator's token\n").expect("our own file");
    (file, "an operator's token")
}

/// A stream of updates (server-sent events), as one browser has it.
#[derive(Debug)]
pub struct Updates(BufReader<TcpStream>);

impl Updates {
    /// Opens it; an error has the status of a refusal.
    pub async fn open(console: &Process, path: &str) -> anyhow::Result<Self> {
        let mut stream = TcpStream::connect(address(console)).await?;
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut updates = Self(BufReader::new(stream));
        let status = updates.line().await?;
        if !status.contains(" 200 ") {
            bail!("{status}");
        }
        while !updates.line().await?.is_empty() {}
        Ok(updates)
    }

    /// The next update.
    pub async fn next(&mut self) -> anyhow::Result<Value> {
        loop {
            if let Some(data) = self.line().await?.strip_prefix("data: ") {
                return Ok(serde_json::from_str(data)?);
            }
        }
    }

    /// The first update that `fits`.
    pub async fn until(&mut self, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        let found = tokio::time::timeout(DEADLINE, async {
            loop {
                last = self
                    .next()
                    .await
                    .unwrap_or_else(|e| panic!("{what}: {e:#}"));
                if fits(&last) {
                    return;
                }
            }
        });
        if found.await.is_err() {
            panic!("after {DEADLINE:?}, not yet {what}: {last:#}");
        }
        last
    }

    async fn line(&mut self) -> anyhow::Result<String> {
        let mut line = Vec::new();
        let read = self.0.read_until(b'\n', &mut line).await?;
        if read == 0 {
            bail!("the stream has ended");
        }
        let line = String::from_utf8(line).context("UTF-8")?;
        Ok(line.trim_end().to_owned())
    }
}
