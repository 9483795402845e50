//! Connections: accepted up to a bound, drained on shutdown.

use std::{cell::Cell, net::SocketAddr, rc::Rc, time::Duration};

use aguacero::{
    essential::essential,
    shutdown::{Shutdown, within},
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Notify,
};

use crate::{
    connection::{addresses::Peer, deadlines::Deadlines, serve},
    metric,
    worker::Worker,
};

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
    let looking = async move { looking.run().await };
    let looking = tokio::task::spawn_local(essential("the deadlines", looking));
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &connections, max) => accepted,
            () = shutdown.requested() => break,
        };
        match accepted {
            Ok((stream, address)) => {
                let peer = worker.addresses.peer(address.ip());
                let place = match peer {
                    Peer::Proxy(_) => None,
                    Peer::Client(address) => match worker.addresses.take(address) {
                        Some(place) => Some(place),
                        None => {
                            worker.metrics.connection_refused(address);
                            continue;
                        }
                    },
                };
                connections.open.set(connections.open.get() + 1);
                worker.metrics.connection_opened();
                let watch = deadlines.watch();
                let serving = serve::serve(stream, peer, Rc::clone(&worker), watch);
                let (connections, worker) = (Rc::clone(&connections), Rc::clone(&worker));
                tokio::task::spawn_local(async move {
                    serving.await;
                    drop(place);
                    worker.metrics.connection_closed();
                    connections.open.set(connections.open.get() - 1);
                    connections.closed.notify_waiters();
                });
            }
            Err(error) => {
                // Out of descriptors, most likely: those that close make room.
                metric::accept_failed(&error);
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
) -> std::io::Result<(TcpStream, SocketAddr)> {
    while connections.open.get() >= max {
        connections.closed.notified().await;
    }
    listener.accept().await
}
