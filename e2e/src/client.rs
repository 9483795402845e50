//! HTTP as clients speak it: requests over a connection that is kept, and raw bytes for what no
//! decent client would send.

use std::{
    net::{IpAddr, SocketAddr},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use anyhow::Context as _;
use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::{
    HeaderMap, Method,
    body::{Body, Frame, SizeHint},
    client::conn::http1::{self, SendRequest},
    header::{HeaderName, HeaderValue},
};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

/// How long an answer may take. The gateway's own deadlines are shorter.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(40);

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Request {
    method: Method,
    path: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Bytes,
    is_chunked: bool,
}

impl Request {
    /// A GET without a body.
    #[must_use]
    pub fn get(path: &str) -> Self {
        Self {
            method: Method::GET,
            path: path.to_owned(),
            headers: Vec::new(),
            body: Bytes::new(),
            is_chunked: false,
        }
    }

    /// A POST that says nothing of its type.
    #[must_use]
    pub fn post(path: &str, body: impl Into<Bytes>) -> Self {
        Self {
            method: Method::POST,
            body: body.into(),
            ..Self::get(path)
        }
    }

    /// A POST of JSON.
    #[must_use]
    pub fn json(path: &str, body: impl Into<Bytes>) -> Self {
        Self::post(path, body).header("content-type", "application/json")
    }

    /// A POST of NDJSON.
    #[must_use]
    pub fn ndjson(path: &str, body: impl Into<Bytes>) -> Self {
        Self::post(path, body).header("content-type", "application/x-ndjson")
    }

    /// One header more; the same again is sent twice.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// The client's name for it.
    #[must_use]
    pub fn key(self, key: &str) -> Self {
        self.header("idempotency-key", key)
    }

    /// By another method.
    #[must_use]
    pub fn method(mut self, method: &str) -> Self {
        self.method = method.parse().expect("a method");
        self
    }

    /// Without a Content-Length, in two chunks.
    #[must_use]
    pub fn chunked(mut self) -> Self {
        self.is_chunked = true;
        self
    }

    fn build(&self) -> anyhow::Result<hyper::Request<Payload>> {
        let mut request = hyper::Request::builder()
            .method(self.method.clone())
            .uri(&self.path)
            .body(self.payload())?;
        request
            .headers_mut()
            .insert("host", HeaderValue::from_static("localhost"));
        for (name, value) in &self.headers {
            let (name, value) = (
                HeaderName::from_bytes(name.as_bytes())?,
                HeaderValue::from_bytes(value)?,
            );
            request.headers_mut().append(name, value);
        }
        Ok(request)
    }

    fn payload(&self) -> Payload {
        let half = if self.is_chunked {
            self.body.len() / 2
        } else {
            0
        };
        let (first, second) = (self.body.slice(..half), self.body.slice(half..));
        let pieces = [second, first]
            .into_iter()
            .filter(|piece| !piece.is_empty())
            .collect();
        Payload {
            pieces,
            is_sized: !self.is_chunked,
        }
    }
}

/// A body in pieces, the last one first.
struct Payload {
    pieces: Vec<Bytes>,
    is_sized: bool,
}

impl Body for Payload {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Poll::Ready(self.pieces.pop().map(|piece| Ok(Frame::data(piece))))
    }

    fn size_hint(&self) -> SizeHint {
        if self.is_sized {
            return SizeHint::with_exact(self.pieces.iter().map(|piece| piece.len() as u64).sum());
        }
        SizeHint::default()
    }
}

/// What came back.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The header fields.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Answer {
    /// A header's value, if it is there once.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let only = values.next().filter(|_| values.next().is_none())?;
        only.to_str().ok()
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    #[must_use]
    pub fn document(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("no JSON ({e}): {self:?}"))
    }

    /// The key under which sending the same again is harmless.
    #[must_use]
    pub fn retry_key(&self) -> &str {
        self.header("idempotency-key")
            .unwrap_or_else(|| panic!("no Idempotency-Key: {self:?}"))
    }

    /// Checks that this is a problem document (RFC 9457) that a person can act on, and returns it.
    pub fn problem(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json"),
            "{self:?}"
        );
        let document = self.document();
        for member in ["type", "title", "detail"] {
            let text = document[member].as_str();
            assert!(
                text.is_some_and(|t| !t.is_empty()),
                "{member} is missing: {document}"
            );
        }
        assert_eq!(document["status"], status, "{document}");
        document
    }

    /// Checks that all of `events` were stored.
    pub fn accepted(&self, events: usize) {
        assert_eq!(self.status, 200, "{self:?}");
        assert_eq!(
            self.header("content-type"),
            Some("application/json"),
            "{self:?}"
        );
        assert_eq!(self.document(), serde_json::json!({ "accepted": events }));
    }
}

/// One connection, made when it is first needed and again after it was closed.
pub struct Client {
    address: SocketAddr,
    source: Option<IpAddr>,
    connection: Option<SendRequest<Payload>>,
    connections: usize,
}

impl Client {
    /// Of the server at `address`.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            source: None,
            connection: None,
            connections: 0,
        }
    }

    /// The same from an address of its own, such as another one of the loopback's.
    #[must_use]
    pub fn from(self, source: IpAddr) -> Self {
        Self {
            source: Some(source),
            ..self
        }
    }

    /// How often it had to connect.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections
    }

    /// Sends a request and waits for its answer. An error says that there is none.
    pub async fn send(&mut self, request: &Request) -> anyhow::Result<Answer> {
        let answer = timeout(ANSWER_TIMEOUT, self.exchange(request)).await;
        let answer = answer.context("no answer in time").and_then(|a| a);
        if answer.is_err() {
            self.connection = None;
        }
        answer
    }

    /// [`Client::send`] where an answer must come.
    pub async fn answer(&mut self, request: &Request) -> Answer {
        self.send(request)
            .await
            .unwrap_or_else(|e| panic!("no answer to {} {}: {e:#}", request.method, request.path))
    }

    async fn exchange(&mut self, request: &Request) -> anyhow::Result<Answer> {
        let mut connection = match self.still_open().await {
            Some(open) => open,
            None => self.connect().await?,
        };
        let response = connection.send_request(request.build()?).await?;
        let (parts, body) = response.into_parts();
        let body = body.collect().await?.to_bytes();
        let closes = parts
            .headers
            .get("connection")
            .is_some_and(|v| v == "close");
        self.connection = Some(connection).filter(|_| !closes);
        Ok(Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body,
        })
    }

    async fn still_open(&mut self) -> Option<SendRequest<Payload>> {
        let mut open = self.connection.take()?;
        open.ready().await.ok().map(|()| open)
    }

    async fn connect(&mut self) -> anyhow::Result<SendRequest<Payload>> {
        let stream = match self.source {
            None => TcpStream::connect(self.address).await?,
            Some(source) => {
                let socket = match self.address {
                    SocketAddr::V4(_) => TcpSocket::new_v4()?,
                    SocketAddr::V6(_) => TcpSocket::new_v6()?,
                };
                socket.bind((source, 0).into())?;
                socket.connect(self.address).await?
            }
        };
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        self.connections += 1;
        Ok(sender)
    }
}

/// Writes `bytes` as they are and returns what comes back until the server closes the connection.
pub async fn raw(address: SocketAddr, bytes: &[u8]) -> String {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(bytes).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        std::io::Result::Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    let answer = timeout(ANSWER_TIMEOUT, exchange)
        .await
        .expect("the server closes the connection");
    answer.unwrap_or_else(|e| panic!("no answer to raw bytes: {e}"))
}
