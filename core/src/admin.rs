//! The admin port of every process: `/healthz` (it runs), `/readyz` (it has seen what it needs, and does not
//! end; and a line for each of the [`conditions`] that hold), `/metrics` (Prometheus).

use std::{convert::Infallible, io, net::SocketAddr};

use http_body_util::Full;
use hyper::{
    Request, Response, StatusCode,
    body::Bytes,
    header::{CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::TcpListener, sync::watch};

use crate::{conditions, log_limiter, shutdown::Shutdown, telemetry};

/// Of metrics: Prometheus 3 reads nothing that does not say which format it has.
const METRICS: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
/// Of everything else.
const WORDS: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// A bound admin port.
#[derive(Debug)]
pub struct Admin {
    listener: TcpListener,
    address: SocketAddr,
}

impl Admin {
    /// Binds `address`; port 0 takes a free one.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await.map_err(|e| {
            io::Error::new(
                e.kind(),
                format!("admin port {address} (`admin` in this process's table): {e}"),
            )
        })?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    /// Where it listens.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Serves until it is dropped: to the end of the process. `/readyz` answers 200 while `ready`, and 503 from
    /// `shutdown` on.
    pub async fn serve(self, ready: watch::Receiver<bool>, shutdown: Shutdown) {
        let missing = move || (!*ready.borrow()).then(|| "see the log".to_owned());
        self.serve_while(missing, shutdown).await;
    }

    /// [`Self::serve`] of a process that waits for others: it is ready when none of them is `missing`, and tells which
    /// are until then.
    pub async fn serve_with(self, missing: watch::Receiver<Vec<&'static str>>, shutdown: Shutdown) {
        let missing = move || {
            let missing = missing.borrow();
            (!missing.is_empty()).then(|| format!("it waits for the {}", missing.join(" and the ")))
        };
        self.serve_while(missing, shutdown).await;
    }

    /// `missing` tells what the process waits for, as long as it does.
    async fn serve_while(
        self,
        missing: impl Fn() -> Option<String> + Clone + Send + 'static,
        shutdown: Shutdown,
    ) {
        // Histograms collect samples until somebody looks; nobody may ever scrape.
        let mut upkeep = tokio::time::interval(std::time::Duration::from_secs(5));
        loop {
            let stream = tokio::select! {
                _ = upkeep.tick() => {
                    telemetry::metrics().run_upkeep();
                    log_limiter::look();
                    continue;
                }
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => stream,
                    Err(error) => {
                        log_limiter::repeated("the admin port cannot accept connections", "", &error);
                        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                        continue;
                    }
                },
            };
            let (missing, shutdown) = (missing.clone(), shutdown.clone());
            tokio::spawn(async move {
                let service = service_fn(move |request| {
                    let state = match shutdown.is_requested() {
                        true => State::Draining,
                        false => missing().map_or(State::Ready, State::Starting),
                    };
                    let response = answer(&request, &state);
                    async move { Ok::<_, Infallible>(response) }
                });
                _ = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(std::time::Duration::from_secs(30))
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    }
}

/// What `/readyz` tells.
enum State {
    /// It waits for this.
    Starting(String),
    Ready,
    Draining,
}

fn answer<B>(request: &Request<B>, state: &State) -> Response<Full<Bytes>> {
    let path = request.uri().path();
    let (status, body) = match path {
        "/healthz" => (StatusCode::OK, "ok\n".into()),
        "/readyz" => readiness(state),
        "/metrics" => (StatusCode::OK, telemetry::exposition()),
        _ => (
            StatusCode::NOT_FOUND,
            "/healthz, /readyz and /metrics are here\n".to_owned(),
        ),
    };
    let content_type = if path == "/metrics" { METRICS } else { WORDS };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

/// A process with conditions stays ready: it does its work, and another one would have the same.
fn readiness(state: &State) -> (StatusCode, String) {
    let (status, word) = match state {
        State::Ready => (StatusCode::OK, "ready".to_owned()),
        State::Starting(missing) => (
            StatusCode::SERVICE_UNAVAILABLE,
            format!("not ready yet: {missing}"),
        ),
        State::Draining => (
            StatusCode::SERVICE_UNAVAILABLE,
            "draining: it was told to end, and finishes what it has begun".to_owned(),
        ),
    };
    let conditions = conditions::told().into_iter();
    let lines = conditions.map(|line| format!("but: {line}\n"));
    (status, format!("{word}\n") + &lines.collect::<String>())
}
