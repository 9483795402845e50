//! HTTP/2 by prior knowledge: several streams at the same time over one connection.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::future::join_all;
use h2::{Reason, client::SendRequest};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{sleep, timeout},
};

use super::{
    Outcome, Post,
    http1::{SPLIT, connect},
};

/// How long an answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(40);

#[derive(Default)]
pub(super) struct Http2 {
    open: Option<Open>,
    pub(super) connects: usize,
}

struct Open {
    sender: SendRequest<Bytes>,
    /// Whether the server has sent anything: until then it may never have accepted.
    is_accepted: Arc<AtomicBool>,
}

impl Http2 {
    pub(super) async fn send(&mut self, server: SocketAddr, posts: &[Post]) -> Vec<Outcome> {
        let open = match self.open.take() {
            Some(open) => open,
            None => match open(server).await {
                Some(open) => {
                    self.connects += 1;
                    open
                }
                None => return vec![Outcome::Refused; posts.len()],
            },
        };
        let streams = posts.iter().map(|post| async {
            let exchanged = timeout(ANSWER_TIMEOUT, exchange(&open, post)).await;
            exchanged.unwrap_or_else(|_| Outcome::Lost("no answer in time".into()))
        });
        let outcomes = join_all(streams).await;
        let is_answered = |outcome: &Outcome| matches!(outcome, Outcome::Answered { .. });
        if outcomes.iter().all(is_answered) {
            self.open = Some(open);
        }
        outcomes
    }
}

async fn open(server: SocketAddr) -> Option<Open> {
    let is_accepted = Arc::new(AtomicBool::new(false));
    let stream = Noting {
        stream: connect(server).await.ok()?,
        is_accepted: Arc::clone(&is_accepted),
    };
    let (sender, connection) = h2::client::handshake(stream).await.ok()?;
    tokio::spawn(connection);
    Some(Open {
        sender,
        is_accepted,
    })
}

async fn exchange(open: &Open, post: &Post) -> Outcome {
    // An error here: the connection has ended, or GOAWAY has come, before anything was sent.
    let Ok(mut sender) = open.sender.clone().ready().await else {
        return Outcome::ClosedBefore;
    };
    let request = hyper::Request::post("http://localhost/input")
        .header("content-type", "application/json")
        .header("idempotency-key", &post.key)
        .body(())
        .expect("a request");
    let Ok((response, mut body)) = sender.send_request(request, false) else {
        return Outcome::ClosedBefore;
    };
    let began = Instant::now();
    let bytes = Bytes::from(post.body.clone());
    let half = if post.is_split { bytes.len() / 2 } else { 0 };
    // That sending fails, the answer tells.
    if half > 0 {
        _ = body.send_data(bytes.slice(..half), false);
        sleep(SPLIT).await;
    }
    _ = body.send_data(bytes.slice(half..), true);
    let answer = async {
        let response = response.await?;
        let status = response.status().as_u16();
        let mut body = response.into_body();
        while let Some(chunk) = body.data().await {
            _ = body.flow_control().release_capacity(chunk?.len());
        }
        Ok::<_, h2::Error>(status)
    };
    match answer.await {
        Ok(status) => Outcome::Answered {
            status,
            closes: false,
        },
        // To streams that are above the last one it names, GOAWAY says that nobody has looked at them.
        Err(error) if error.is_go_away() && error.is_remote() => Outcome::LeftOut,
        Err(error) if error.reason() == Some(Reason::REFUSED_STREAM) => Outcome::LeftOut,
        Err(_) if !open.is_accepted.load(Ordering::Relaxed) => Outcome::Unread,
        Err(error) => Outcome::Lost(format!(
            "HTTP/2: {error}, {:.0} ms after it was begun",
            began.elapsed().as_secs_f64() * 1000.0
        )),
    }
}

/// Notes whether anything has come.
struct Noting {
    stream: TcpStream,
    is_accepted: Arc<AtomicBool>,
}

impl AsyncRead for Noting {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.is_accepted.store(true, Ordering::Relaxed);
        }
        polled
    }
}

impl AsyncWrite for Noting {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    fn posts(count: usize) -> Vec<Post> {
        let post = |n| Post {
            key: format!("k{n}"),
            body: "{}".into(),
            is_split: false,
        };
        (0..count).map(post).collect()
    }

    type Accepted = h2::server::Connection<TcpStream, Bytes>;

    async fn listening() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let server = listener.local_addr().expect("its address");
        (listener, server)
    }

    async fn accept(listener: &TcpListener) -> Accepted {
        let (stream, _) = listener.accept().await.expect("a client");
        h2::server::handshake(stream).await.expect("HTTP/2")
    }

    #[tokio::test]
    async fn streams_that_a_connection_takes_with_it_are_lost() {
        let (listener, server) = listening().await;
        let mut client = Http2::default();
        let requests = posts(2);
        let (outcomes, ()) = tokio::join!(client.send(server, &requests), async {
            let mut connection = accept(&listener).await;
            let first = connection.accept().await.expect("a stream").expect("whole");
            drop(connection);
            drop(first);
        });
        let is_lost = |outcome: &Outcome| matches!(outcome, Outcome::Lost(_));
        assert!(outcomes.iter().all(is_lost), "{outcomes:?}");
    }

    #[tokio::test]
    async fn streams_that_goaway_leaves_out_are_not() {
        let (listener, server) = listening().await;
        let mut client = Http2::default();
        let requests = posts(1);
        let (outcomes, ()) = tokio::join!(client.send(server, &requests), async {
            let mut connection = accept(&listener).await;
            connection.abrupt_shutdown(Reason::NO_ERROR);
            while let Some(Ok(_)) = connection.accept().await {}
        });
        assert_eq!(outcomes, [Outcome::LeftOut]);
    }

    #[tokio::test]
    async fn a_connection_that_was_never_accepted_has_nothing_on_its_way() {
        let (listener, server) = listening().await;
        let mut client = Http2::default();
        let requests = posts(1);
        let (outcomes, ()) = tokio::join!(client.send(server, &requests), async {
            sleep(SPLIT).await; // it has connected and sent; if not yet, nobody listens
            drop(listener);
        });
        assert_eq!(outcomes, [Outcome::Unread]);
    }
}
