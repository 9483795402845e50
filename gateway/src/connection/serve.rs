//! One connection, from its first byte to its end.
//!
//! hyper keeps 16 KiB of buffers for a connection as long as it serves it. One that says nothing for a while
//! is taken from hyper, and given back when it speaks: ten thousand idle clients cost little more than their
//! sockets.

use std::{future::poll_fn, rc::Rc, task::Poll};

use tokio::{io::AsyncWriteExt as _, net::TcpStream};

use crate::{
    connection::{
        addresses::Peer,
        deadlines::Deadline,
        handshake, http1, http2,
        socket::Socket,
        state::{Phase, State},
        write_timeout::ClientStream,
    },
    worker::Worker,
};

/// Serves a connection to its end.
pub(crate) async fn serve(stream: TcpStream, peer: Peer, worker: Rc<Worker>, deadline: Deadline) {
    _ = stream.set_nodelay(true);
    let gateway = &worker.config.gateway;
    let state = Rc::new(State::new(gateway, peer, deadline));
    let stream = match &worker.tls {
        Some(tls) => match handshake::tls(tls, stream, &worker, &state).await {
            Ok(stream) => stream,
            Err(error) => return worker.metrics.connection_broken(&error),
        },
        None => Socket::Plain(stream),
    };
    let mut stream = ClientStream::new(stream, gateway.body_timeout, Rc::clone(&state.signals));
    state.end_request(Phase::Idle);
    state.wait();
    worker.metrics.connection_asleep();
    let speaks_http2 = handshake::speaks_http2(&mut stream, &state).await;
    worker.metrics.connection_awake();
    match speaks_http2 {
        Some(true) => {
            let serving = http2::serve(stream, state.peer, worker, &state.deadline);
            return Box::pin(serving).await;
        }
        Some(false) => state.release_soon(),
        None => {
            _ = stream.shutdown().await; // an error: it is closed already
            return;
        }
    }
    loop {
        let Some(released) = http1::serve(stream, &worker, &state).await else {
            return;
        };
        stream = released.stream;
        let goes_on = match released.is_timed_out {
            true => false,
            false => next_request(&stream, &worker, &state).await,
        };
        if goes_on {
            continue;
        }
        if !(state.is_idle() && stream.has_unread()) {
            break;
        }
        state.begin_header(); // a request came at the last moment
    }
    _ = stream.shutdown().await;
}

/// Waits for a client to go on; whether it does before the deadline.
async fn next_request(stream: &ClientStream, worker: &Worker, state: &State) -> bool {
    state.wait();
    worker.metrics.connection_asleep();
    let goes_on = poll_fn(|context| match stream.poll_more(context) {
        Poll::Pending if state.is_timed_out(context) => Poll::Ready(false),
        more => more.map(|()| true),
    });
    let goes_on = goes_on.await;
    worker.metrics.connection_awake();
    goes_on
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Bytes of the future of an async function of four.
    pub(crate) fn size<A, B, C, D, F: Future>(_: impl Fn(A, B, C, D) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_connection_has_no_room_for_what_it_needs_only_while_it_is_in_use() {
        let bytes = size(serve);
        assert!(bytes < 512, "{bytes} bytes");
    }
}
