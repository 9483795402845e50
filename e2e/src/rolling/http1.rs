//! HTTP/1.1 over a connection that is kept, by hand: only so can be told whether the server has read
//! anything of a request that it did not answer.

use std::{
    io::{self, ErrorKind},
    mem::MaybeUninit,
    net::SocketAddr,
    time::{Duration, Instant},
};

use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{sleep, timeout},
};

use super::{Outcome, Post};

/// How long an answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(40);
/// Pause in the middle of a body.
pub(super) const SPLIT: Duration = Duration::from_millis(20);

#[derive(Default)]
pub(super) struct Http1 {
    stream: Option<TcpStream>,
    pub(super) connects: usize,
}

impl Http1 {
    pub(super) async fn send(&mut self, server: SocketAddr, post: &Post) -> Outcome {
        let mut stream = match self.stream.take() {
            Some(stream) if has_ended(&stream) => return Outcome::ClosedBefore,
            Some(stream) => stream,
            None => match connect(server).await {
                Ok(stream) => {
                    self.connects += 1;
                    stream
                }
                Err(_) => return Outcome::Refused,
            },
        };
        let exchanged = timeout(ANSWER_TIMEOUT, exchange(&mut stream, post)).await;
        let outcome = exchanged.unwrap_or_else(|_| Outcome::Lost("no answer in time".into()));
        if matches!(outcome, Outcome::Answered { closes: false, .. }) {
            self.stream = Some(stream);
        }
        outcome
    }
}

pub(super) async fn connect(server: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(server).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Whether the server has closed it, as far as this side's kernel knows.
fn has_ended(stream: &TcpStream) -> bool {
    match SockRef::from(stream).peek(&mut [MaybeUninit::uninit()]) {
        Ok(0) => true,
        Ok(_) => false,
        Err(error) => error.kind() != ErrorKind::WouldBlock,
    }
}

async fn exchange(stream: &mut TcpStream, post: &Post) -> Outcome {
    let Post { key, body, .. } = post;
    let request = format!(
        "POST /input HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         idempotency-key: {key}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let half = if post.is_split {
        request.len() - body.len() / 2
    } else {
        request.len()
    };
    let (first, second) = request.as_bytes().split_at(half);
    let began = Instant::now();
    // What is not written, or crosses with the server's FIN on the loopback device, nobody has read.
    if stream.write_all(first).await.is_err() || has_ended(stream) {
        return Outcome::Unread;
    }
    if !second.is_empty() {
        sleep(SPLIT).await;
        // That an answer is there already, or comes although this fails, the reading tells.
        _ = stream.write_all(second).await;
    }
    let mut answer = Vec::new();
    match read(stream, &mut answer).await {
        Ok(outcome) => outcome,
        // A small request is read at once or not at all, and only a socket that is closed with something
        // unread in it is reset.
        Err(error)
            if answer.is_empty()
                && error.kind() == ErrorKind::ConnectionReset
                && !post.is_split =>
        {
            Outcome::Unread
        }
        Err(error) => Outcome::Lost(format!(
            "HTTP/1.1{}: {error}, {:.0} ms after it was sent, {} bytes of an answer",
            if post.is_split { " in two parts" } else { "" },
            began.elapsed().as_secs_f64() * 1000.0,
            answer.len()
        )),
    }
}

/// Reads an answer with a Content-Length, which all of the gateway's have.
async fn read(stream: &mut TcpStream, answer: &mut Vec<u8>) -> io::Result<Outcome> {
    loop {
        if let Some(head) = answer.windows(4).position(|w| w == b"\r\n\r\n") {
            let text = String::from_utf8_lossy(&answer[..head]).to_ascii_lowercase();
            let field = |name: &str| {
                let mut lines = text.lines().filter_map(|line| line.split_once(':'));
                lines.find_map(|(n, value)| (n == name).then(|| value.trim().to_owned()))
            };
            let status = text.split(' ').nth(1).and_then(|s| s.parse().ok());
            let length = field("content-length").and_then(|n| n.parse::<usize>().ok());
            let (Some(status), Some(length)) = (status, length) else {
                return Err(io::Error::other(format!(
                    "no answer as it should be: {text}"
                )));
            };
            if answer.len() >= head + 4 + length {
                let closes = field("connection").is_some_and(|value| value == "close");
                return Ok(Outcome::Answered { status, closes });
            }
        }
        if stream.read_buf(answer).await? == 0 {
            return Err(io::Error::new(ErrorKind::UnexpectedEof, "closed"));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;

    use tokio::net::TcpListener;

    use super::*;

    const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";

    fn post(is_split: bool) -> Post {
        Post {
            key: "k".into(),
            body: "{}".into(),
            is_split,
        }
    }

    /// What becomes of a request after one that was answered, if the server then does `to` to the connection.
    async fn second<F: Future<Output = ()> + Send>(
        is_split: bool,
        to: impl FnOnce(TcpStream) -> F + Send + 'static,
    ) -> Outcome {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let server = listener.local_addr().expect("its address");
        let serving = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a client");
            _ = stream.read(&mut [0; 1000]).await.expect("a request");
            stream.write_all(OK).await.expect("an answer");
            to(stream).await;
        });
        let mut client = Http1::default();
        let first = client.send(server, &post(false)).await;
        assert_eq!(
            first,
            Outcome::Answered {
                status: 200,
                closes: false
            }
        );
        let outcome = client.send(server, &post(is_split)).await;
        serving.await.expect("a server that does not panic");
        outcome
    }

    #[tokio::test]
    async fn a_request_that_was_read_and_not_answered_is_lost() {
        for is_split in [false, true] {
            let outcome = second(is_split, async |mut stream: TcpStream| {
                _ = stream.read(&mut [0; 1000]).await.expect("a request");
            })
            .await;
            assert!(matches!(outcome, Outcome::Lost(_)), "{outcome:?}");
        }
    }

    #[tokio::test]
    async fn half_an_answer_is_none() {
        let outcome = second(false, async |mut stream: TcpStream| {
            _ = stream.read(&mut [0; 1000]).await.expect("a request");
            stream.write_all(&OK[..20]).await.expect("half of it");
        })
        .await;
        assert!(matches!(outcome, Outcome::Lost(_)), "{outcome:?}");
    }

    #[tokio::test]
    async fn a_request_of_which_nothing_was_read_is_not_lost() {
        let outcome = second(false, async |stream: TcpStream| {
            stream.readable().await.expect("there is a request");
        })
        .await;
        assert_eq!(outcome, Outcome::Unread);
    }

    #[tokio::test]
    async fn nobody_listening_and_a_connection_closed_between_requests_are_told_apart() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let server = listener.local_addr().expect("its address");
        let mut client = Http1::default();
        let request = post(false);
        let (outcome, ()) = tokio::join!(client.send(server, &request), async {
            let (mut stream, _) = listener.accept().await.expect("a client");
            _ = stream.read(&mut [0; 1000]).await.expect("a request");
            stream.write_all(OK).await.expect("an answer");
        });
        assert_eq!(
            outcome,
            Outcome::Answered {
                status: 200,
                closes: false
            }
        );
        crate::once("closed", async || {
            client.stream.as_ref().is_some_and(has_ended)
        })
        .await;
        assert_eq!(
            client.send(server, &post(false)).await,
            Outcome::ClosedBefore
        );
        drop(listener);
        assert_eq!(client.send(server, &post(false)).await, Outcome::Refused);
    }
}
