//! Connections to brokers: TCP, and TLS over it.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use aguacero::config::Tls;
use anyhow::Context as _;
use producer_engine::Address;
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// A connection to a broker.
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Makes connections. Cheap to clone.
#[derive(Clone)]
pub(super) struct Connector(Option<TlsConnector>);

impl Connector {
    /// Reads the certificates that it trusts and its own, as the files are now.
    pub(super) fn new(tls: Option<&Tls>) -> anyhow::Result<Self> {
        let connector = |tls: &Tls| {
            let config = tls.client_config().context("the files of [kafka]")?;
            Ok(TlsConnector::from(Arc::new(config)))
        };
        tls.map(connector).transpose().map(Self)
    }

    /// Opens a connection.
    pub(super) async fn connect(self, address: Address) -> io::Result<Stream> {
        let stream = TcpStream::connect((address.host.as_str(), address.port)).await?;
        stream.set_nodelay(true)?;
        let Some(tls) = self.0 else {
            return Ok(Stream::Plain(stream));
        };
        let name = ServerName::try_from(address.host).map_err(io::Error::other)?;
        let stream = tls.connect(name, stream).await?;
        Ok(Stream::Tls(Box::new(stream)))
    }
}

impl Stream {
    /// Reads what has come; none: the broker has closed it.
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(buffer);
        match self {
            Self::Plain(stream) => ready!(Pin::new(stream).poll_read(cx, &mut buffer))?,
            Self::Tls(stream) => ready!(Pin::new(stream).poll_read(cx, &mut buffer))?,
        }
        Poll::Ready(Ok(buffer.filled().len()))
    }

    /// Writes some of `bytes`.
    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    /// Lets nothing that was written wait here.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(_) => Poll::Ready(Ok(())), // nothing waits in it
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }
}
