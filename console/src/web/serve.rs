//! Connections: so many at most, each with deadlines.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use aguacero::{log_limiter, open_files, shutdown::Shutdown};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::SockRef;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
};

use super::Site;

/// Open connections; more wait in the listen queue. A browser has up to six for a page.
const CONNECTIONS_MAX: usize = 4096;
/// Open files beside them.
const OTHER_FILES: u64 = 256;
/// How long a header may take, and a connection may be silent between requests.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// A connection that takes nothing of what is sent ends after this.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// From the shutdown to the end.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(3);

/// Serves until `shutdown`; answers that have begun may end, streams of updates do not.
pub async fn serve(listener: TcpListener, site: Arc<Site>, shutdown: Shutdown) {
    open_files::raise_limit(CONNECTIONS_MAX as u64 + OTHER_FILES, "many readers need");
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        while let Some(ended) = connections.try_join_next() {
            report(ended);
        }
        let permit = tokio::select! {
            () = shutdown.requested() => break,
            permit = room.clone().acquire_owned() => permit,
        };
        let accepted = tokio::select! {
            () = shutdown.requested() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let (site, shutdown) = (site.clone(), shutdown.clone());
                connections.spawn(async move {
                    connection(stream, peer, site, shutdown).await;
                    drop(permit);
                });
            }
            Err(error) => {
                log_limiter::repeated("connections cannot be accepted", "", &error);
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    drop(listener);
    let ending = async { while connections.join_next().await.is_some() {} };
    _ = tokio::time::timeout(DRAIN_TIMEOUT, ending).await;
}

async fn connection(stream: TcpStream, peer: SocketAddr, site: Arc<Site>, shutdown: Shutdown) {
    _ = stream.set_nodelay(true);
    _ = SockRef::from(&stream).set_tcp_user_timeout(Some(WRITE_TIMEOUT));
    let service = service_fn(move |request| {
        let site = site.clone();
        async move { Ok::<_, Infallible>(site.answer(request).await) }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(64 << 10)
        .serve_connection(TokioIo::new(stream), service);
    let mut serving = std::pin::pin!(serving);
    let result = tokio::select! {
        result = serving.as_mut() => result,
        () = shutdown.requested() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%peer, %error, "a connection ended");
    }
}

/// A panic ends its connection and no other.
fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        log_limiter::repeated("a connection failed: this is a bug", "", &error);
    }
}

#[cfg(test)]
mod tests {
    use aguacero::config::Config;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::mongo::Mongo;

    /// At an address of the loopback, without stores.
    async fn served() -> SocketAddr {
        let file = include_str!("../../../aguacero.toml");
        let nowhere = [("AGUACERO_MONGODB_URI", "mongodb://127.0.0.1:1")];
        let nowhere = nowhere.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let config = Config::parse(file, "aguacero.toml", nowhere);
        let config = Arc::new(config.unwrap_or_else(|e| panic!("{e}")));
        let mongo = Mongo::new(config.clone()).await.expect("a client");
        let site = Arc::new(Site::new(config, mongo, true));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (trigger, shutdown) = Shutdown::new();
        tokio::spawn(async move {
            let _never = trigger;
            serve(listener, site, shutdown).await;
        });
        address
    }

    async fn sent(address: SocketAddr, text: &str) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.expect("a connection");
        { stream.write_all(text.as_bytes()).await }.expect("it is taken");
        stream
    }

    async fn answer(address: SocketAddr, path: &str, host: &str) -> String {
        let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        let mut stream = sent(address, &request).await;
        let mut text = String::new();
        { stream.read_to_string(&mut text).await }.expect("an answer");
        text
    }

    #[tokio::test]
    async fn a_name_that_another_site_lets_stand_for_the_loopback_is_not_served() {
        let address = served().await;
        for (host, status) in [
            ("localhost:8090", "200"),
            ("127.0.0.1", "200"),
            ("a.example:8090", "421"),
        ] {
            for path in ["/", "/common.js"] {
                let answer = answer(address, path, host).await;
                let begin = format!("HTTP/1.1 {status} ");
                assert!(answer.starts_with(&begin), "{host}: {answer}");
            }
        }
    }

    #[tokio::test]
    async fn slow_bodies_keep_nobody_from_an_entry() {
        let address = served().await;
        let slow = "POST /api/try?path=/input HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{";
        let mut open = Vec::new();
        for _ in 0..40 {
            open.push(sent(address, slow).await);
        }
        let path = "/api/log/weather/01890a5d-ac96-774b-bcce-b302099a8057";
        // Long before the bodies are given up.
        let asked =
            tokio::time::timeout(Duration::from_secs(10), answer(address, path, "localhost"));
        let answer = asked.await.expect("an answer in time");
        // MongoDB is asked, and away.
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        assert!(answer.contains("\"error\":\"away\""), "{answer}");
    }
}
