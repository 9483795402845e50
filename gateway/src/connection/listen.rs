//! Connections: accepted up to a bound, drained on shutdown.

use std::{cell::Cell, net::SocketAddr, rc::Rc, time::Duration};

use aguacero::{
    essential::essential,
    shutdown::{Shutdown, within},
};
use socket2::{SockFilter, SockRef};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Notify,
    time::{Instant, timeout},
};

use crate::{
    connection::{addresses::Peer, deadlines::Deadlines, descriptors, serve},
    metric,
    on_drop::OnDrop,
    worker::Worker,
};

/// How long a client whose connection is being made when the drain begins may take to complete it.
const LAST_CONNECTIONS: Duration = Duration::from_millis(100);

/// Pause after a connection could not be accepted.
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);

/// The connections of a worker.
struct Connections {
    worker: Rc<Worker>,
    deadlines: Rc<Deadlines>,
    open: Cell<usize>,
    /// The last one took a descriptor that is among the last.
    is_short: Cell<bool>,
    max: usize,
    closed: Notify,
}

/// Accepts and serves until `shutdown` and `gateway.drain_delay_ms` are over, then lets every connection finish
/// what it has begun. Returns when it was to be over, which it may be before.
pub(crate) async fn serve(
    listener: TcpListener,
    worker: Rc<Worker>,
    shutdown: Shutdown,
) -> Instant {
    let gateway = &worker.config.gateway;
    let deadlines = Rc::new(Deadlines::default());
    let looking = Rc::clone(&deadlines);
    let looking = async move { looking.run().await };
    let looking = tokio::task::spawn_local(essential("the deadlines", looking));
    let connections = Rc::new(Connections {
        worker: Rc::clone(&worker),
        deadlines,
        open: Cell::new(0),
        is_short: Cell::new(false),
        max: gateway.connections_max.div_ceil(gateway.workers),
        closed: Notify::new(),
    });
    let accepting = async {
        loop {
            connections.room().await;
            match listener.accept().await {
                Ok((stream, address)) => connections.begin(stream, address),
                Err(error) => {
                    // Out of descriptors, most likely: those that close make room.
                    metric::accept_failed(&error);
                    tokio::time::sleep(ACCEPT_AGAIN).await;
                }
            }
        }
    };
    let draining = async {
        shutdown.requested().await;
        tokio::time::sleep(gateway.drain_delay).await;
    };
    tokio::select! { () = accepting => {}, () = draining => {} }

    let end = Instant::now() + gateway.drain_timeout;
    connections.deadlines.drain();
    let drained = async {
        connections.accept_last(&listener).await;
        drop(listener);
        while connections.open.get() > 0 {
            connections.closed.notified().await;
        }
    };
    _ = within(gateway.drain_timeout, "the drain", drained).await;
    looking.abort();
    end
}

impl Connections {
    /// Waits until one more may be open.
    async fn room(&self) {
        if self.is_short.take() {
            metric::accepting_paused();
            self.closed.notified().await;
        }
        while self.open.get() >= self.max {
            self.closed.notified().await;
        }
    }

    /// Serves a connection that was accepted, unless its address has as many as it may.
    fn begin(self: &Rc<Self>, stream: TcpStream, address: SocketAddr) {
        let worker = &self.worker;
        let peer = worker.addresses.peer(address.ip());
        let place = match peer {
            Peer::Proxy(_) => None,
            Peer::Client(address) => match worker.addresses.take(address) {
                Some(place) => Some(place),
                None => return worker.metrics.connection_refused(address),
            },
        };
        self.is_short.set(descriptors::are_short(&stream));
        self.open.set(self.open.get() + 1);
        worker.metrics.connection_opened();
        let serving = serve::serve(stream, peer, Rc::clone(worker), self.deadlines.watch());
        let connections = Rc::clone(self);
        let closed = OnDrop(move || {
            connections.worker.metrics.connection_closed();
            connections.open.set(connections.open.get() - 1);
            connections.closed.notify_waiters();
        });
        tokio::task::spawn_local(async move {
            let _closed = closed;
            serving.await;
            drop(place);
        });
    }

    /// Accepts those that are connected as their system knows it; it would be told of a reset when the listener
    /// closes. New ones find nobody: they try again a second later, and are refused by then, or served by another
    /// process that listens here.
    async fn accept_last(self: &Rc<Self>, listener: &TcpListener) {
        if let Err(error) = SockRef::from(listener).attach_filter(&WITHOUT_SYN) {
            tracing::debug!(%error, "connections that are begun just now will be reset");
        }
        loop {
            self.room().await;
            match timeout(LAST_CONNECTIONS, listener.accept()).await {
                Ok(Ok((stream, address))) => self.begin(stream, address),
                Ok(Err(_)) => tokio::time::sleep(ACCEPT_AGAIN).await,
                Err(_) => return,
            }
        }
    }
}

/// Lets everything through but segments that begin a connection: SYN without ACK. (A program of the classic Berkeley
/// packet filter, which sees a TCP segment from its header on.)
const WITHOUT_SYN: [SockFilter; 5] = [
    SockFilter::new(0x30, 0, 0, 13),       // load the byte of the flags
    SockFilter::new(0x54, 0, 0, 0x12),     // of them SYN and ACK
    SockFilter::new(0x15, 0, 1, 0x02),     // is it SYN alone?
    SockFilter::new(0x06, 0, 0, 0),        // yes: drop it
    SockFilter::new(0x06, 0, 0, u32::MAX), // no: all of it
];
