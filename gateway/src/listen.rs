//! Connections: accepted up to a bound, served by hyper, drained on shutdown.

use std::{
    cell::Cell,
    convert::Infallible,
    future::poll_fn,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use aguacero::shutdown::{Shutdown, within};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Notify,
};

use crate::{
    deadlines::{Deadline, Deadlines, NEVER},
    patience::Patient,
    worker::Worker,
};

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
    let deadlines = Rc::new(Deadlines::default());
    let looking = Rc::clone(&deadlines);
    let looking = tokio::task::spawn_local(async move { looking.run().await });
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &connections, max) => accepted,
            () = shutdown.requested() => break,
        };
        match accepted {
            Ok(stream) => {
                connections.open.set(connections.open.get() + 1);
                worker.metrics.connection_opened();
                let serving = connection(stream, Rc::clone(&worker), deadlines.watch());
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
    deadlines.drain();
    let drained = async {
        while connections.open.get() > 0 {
            connections.closed.notified().await;
        }
    };
    _ = within(gateway.drain_timeout, "the drain", drained).await;
    looking.abort();
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

/// Serves a connection to its end. `deadline` bounds its silence between two requests, and how long a
/// header may take; while a request is answered, [`crate::body`] sets it.
async fn connection(stream: TcpStream, worker: Rc<Worker>, deadline: Deadline) {
    _ = stream.set_nodelay(true);
    let gateway = &worker.config.gateway;
    let stream = Patient::new(stream, gateway.body_timeout);
    let deadline = Rc::new(deadline);
    let answering = Rc::new(Cell::new(false));
    deadline.set(gateway.idle_timeout, NEVER);
    let service = service_fn(|request| {
        let (worker, deadline) = (Rc::clone(&worker), Rc::clone(&deadline));
        let answering = Rc::clone(&answering);
        async move {
            deadline.clear();
            answering.set(true);
            let response = worker.handle(request, &deadline).await;
            answering.set(false);
            deadline.set(worker.config.gateway.idle_timeout, NEVER);
            Ok::<_, Infallible>(response)
        }
    });
    let serving = http1::Builder::new()
        .max_headers(HEADER_FIELDS_MAX)
        .max_buf_size(gateway.header_bytes_max + READ_BUFFER_SLACK)
        .writev(false) // an answer is small: one piece costs less than two
        .half_close(true) // who has sent its last byte may still wait for an answer
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(serving);
    let is_silent = |context: &Context<'_>| !answering.get() && deadline.is_over(context);
    let served = poll_fn(|context| {
        if deadline.is_draining(context) {
            serving.as_mut().graceful_shutdown();
        }
        match serving.as_mut().poll(context) {
            Poll::Pending if is_silent(context) => Poll::Ready(Ok(())),
            served => served,
        }
    });
    if let Err(error) = served.await {
        worker.metrics.connection_broken(&error);
    }
}
