//! One request over HTTP/1.1 to a process of ours, with bounds on time and bytes.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use aguacero::config::Tls;
use anyhow::{Context as _, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{Request, Response, client::conn::http1, header::HOST, http::HeaderValue};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, lookup_host},
};

/// Addresses of one name that are asked.
const ADDRESSES_MAX: usize = 64;

/// Every address that `host_and_port` stands for.
pub async fn addresses(host_and_port: &str) -> anyhow::Result<Vec<SocketAddr>> {
    let found = lookup_host(host_and_port).await;
    let mut found: Vec<_> = found.context(host_and_port.to_owned())?.collect();
    found.sort();
    found.dedup();
    found.truncate(ADDRESSES_MAX);
    ensure!(!found.is_empty(), "{host_and_port} has no address");
    Ok(found)
}

/// Where `url` (`http://host[:port]` or `https://…`) leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    host: String,
    port: u16,
    is_tls: bool,
}

impl Target {
    /// Reads a URL without a path.
    #[must_use]
    pub fn of(url: &str) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        let is_tls = scheme == "https";
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
            _ => (rest, if is_tls { 443 } else { 80 }),
        };
        Some(Self {
            host: host.to_owned(),
            port,
            is_tls,
        })
    }

    /// `host:port`
    #[must_use]
    pub fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// Sends a request to it and returns the whole answer.
    pub async fn send(
        &self,
        request: Request<Full<Bytes>>,
        timeout: Duration,
        bytes_max: usize,
    ) -> anyhow::Result<Response<Bytes>> {
        let exchange = async {
            let stream = TcpStream::connect(self.authority()).await;
            let stream = stream.with_context(|| self.authority())?;
            if !self.is_tls {
                return exchange(stream, &self.authority(), request, bytes_max).await;
            }
            let name = self.host.trim_matches(['[', ']']).to_owned();
            let name = ServerName::try_from(name).context("the name of the gateway")?;
            let tls = tokio_rustls::TlsConnector::from(Arc::new(Tls::default().client_config()?));
            let stream = tls.connect(name, stream).await.context("TLS")?;
            exchange(stream, &self.authority(), request, bytes_max).await
        };
        within(timeout, exchange).await
    }
}

/// The body of `GET path` at `address`, with its status.
pub async fn get(
    address: SocketAddr,
    path: &str,
    timeout: Duration,
    bytes_max: usize,
) -> anyhow::Result<(u16, String)> {
    let getting = async {
        let stream = TcpStream::connect(address).await.context("connecting")?;
        let request = Request::get(path).body(Full::default())?;
        exchange(stream, &address.to_string(), request, bytes_max).await
    };
    let answer = within(timeout, getting).await?;
    let text = String::from_utf8_lossy(answer.body()).into_owned();
    Ok((answer.status().as_u16(), text))
}

async fn within<T>(
    timeout: Duration,
    work: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    let done = tokio::time::timeout(timeout, work).await;
    done.unwrap_or_else(|_| Err(anyhow::anyhow!("no answer within {timeout:?}")))
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    authority: &str,
    mut request: Request<Full<Bytes>>,
    bytes_max: usize,
) -> anyhow::Result<Response<Bytes>> {
    request
        .headers_mut()
        .insert(HOST, HeaderValue::from_str(authority)?);
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let answer = async {
        let answer = sender.send_request(request).await?;
        let (parts, body) = answer.into_parts();
        let body = Limited::new(body, bytes_max).collect().await;
        let body = body.map_err(|error| anyhow::anyhow!("{error}"))?.to_bytes();
        anyhow::Ok(Response::from_parts(parts, body))
    };
    let answer = answer.await;
    connection.abort();
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_leads_to_a_host_and_a_port() {
        for (url, authority, is_tls) in [
            ("http://127.0.0.1:8080", "127.0.0.1:8080", false),
            ("http://gateway", "gateway:80", false),
            ("https://a.example", "a.example:443", true),
            ("https://[::1]:8443", "[::1]:8443", true),
            ("http://[::1]", "[::1]:80", false),
        ] {
            let target = Target::of(url).expect("a URL");
            assert_eq!((&*target.authority(), target.is_tls), (authority, is_tls));
        }
        assert_eq!(Target::of("gateway:80"), None);
    }
}
