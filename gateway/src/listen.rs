//! Connections: accepted up to a bound, served by hyper, drained on shutdown.

use std::{cell::Cell, convert::Infallible, rc::Rc, time::Duration};

use aguacero::shutdown::{Shutdown, within};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Notify,
};

use crate::{patience::Patient, worker::Worker};

/// Fields that a header may have; with more, hyper answers 431 by itself.
const HEADER_FIELDS_MAX: usize = 100;
/// Room for a header beyond the configured bound, so that the 431 is ours and says why.
const READ_BUFFER_SLACK: usize = 64 << 10;

/// The open connections of a worker.
#[derive(Default)]
struct Connections {
    open: Cell<usize>,
    closed: Notify,
}

/// Accepts and serves until `shutdown`, then lets every connection finish what it has begun.
pub(crate) async fn serve(listener: TcpListener, worker: Rc<Worker>, shutdown: Shutdown) {
    let connections = Rc::new(Connections::default());
    let gateway = &worker.config.gateway;
    let max = gateway.connections_max.div_ceil(gateway.workers);
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &connections, max) => accepted,
            () = shutdown.requested() => break,
        };
        match accepted {
            Ok(stream) => {
                connections.open.set(connections.open.get() + 1);
                worker.metrics.connection_opened();
                let serving = connection(stream, Rc::clone(&worker), shutdown.clone());
                let (connections, worker) = (Rc::clone(&connections), Rc::clone(&worker));
                tokio::task::spawn_local(async move {
                    serving.await;
                    worker.metrics.connection_closed();
                    connections.open.set(connections.open.get() - 1);
                    connections.closed.notify_waiters();
                });
            }
            Err(error) => {
                // Out of descriptors, most likely: those that close make room.
                tracing::warn!(%error, "accepting a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    drop(listener);
    let drained = async {
        while connections.open.get() > 0 {
            connections.closed.notified().await;
        }
    };
    _ = within(gateway.drain_timeout, "the drain", drained).await;
}

async fn accept(
    listener: &TcpListener,
    connections: &Connections,
    max: usize,
) -> std::io::Result<TcpStream> {
    while connections.open.get() >= max {
        connections.closed.notified().await;
    }
    listener.accept().await.map(|(stream, _)| stream)
}

async fn connection(stream: TcpStream, worker: Rc<Worker>, shutdown: Shutdown) {
    _ = stream.set_nodelay(true);
    let gateway = &worker.config.gateway;
    let stream = Patient::new(stream, gateway.body_timeout);
    let service = service_fn(|request| {
        let worker = Rc::clone(&worker);
        async move { Ok::<_, Infallible>(worker.handle(request).await) }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(gateway.idle_timeout) // in hyper also the silence between requests
        .max_headers(HEADER_FIELDS_MAX)
        .max_buf_size(gateway.header_bytes_max + READ_BUFFER_SLACK)
        .writev(false) // an answer is small: one piece costs less than two
        .half_close(true) // who has sent its last byte may still wait for an answer
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(serving);
    let served = tokio::select! {
        served = serving.as_mut() => served,
        () = shutdown.requested() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = served {
        worker.metrics.connection_broken(&error);
    }
}
