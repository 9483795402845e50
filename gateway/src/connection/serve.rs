//! One connection, from its first byte to its end.
//!
//! hyper keeps 16 KiB of buffers for a connection as long as it serves it. One that says nothing for a while
//! is taken from hyper, and given back when it speaks: ten thousand idle clients cost little more than their
//! sockets.

use std::{cell::Cell, future::poll_fn, rc::Rc, task::Poll};

use tokio::net::TcpStream;

use crate::{
    connection::{
        addresses::Peer,
        deadlines::{Deadline, NEVER},
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
    let state = Rc::new(State {
        phase: Cell::new(Phase::Idle),
        deadline,
        idle_timeout: gateway.idle_timeout,
        header_timeout: gateway.header_timeout,
        last: Cell::new(NEVER),
        signals: Rc::default(),
        is_draining: Cell::new(false),
        peer,
    });
    let stream = match &worker.tls {
        Some(tls) => match handshake::tls(tls, stream, &state).await {
            Ok(stream) => stream,
            Err(error) => return worker.metrics.connection_broken(&error),
        },
        None => Socket::Plain(stream),
    };
    let mut stream = ClientStream::new(stream, gateway.body_timeout, Rc::clone(&state.signals));
    state.end_request(Phase::Idle);
    state.wait_on();
    worker.metrics.connection_asleep();
    let speaks_http2 = handshake::speaks_http2(&mut stream, &state).await;
    worker.metrics.connection_awake();
    match speaks_http2 {
        Some(true) => {
            let serving = http2::serve(stream, state.peer, worker, &state.deadline);
            return Box::pin(serving).await;
        }
        Some(false) => state.release_soon(),
        None => return,
    }
    loop {
        stream = match http1::serve(stream, &worker, &state).await {
            Some(silent) => silent,
            None => return,
        };
        state.wait_on();
        worker.metrics.connection_asleep();
        let goes_on = next_request(&stream, &state).await;
        worker.metrics.connection_awake();
        if !goes_on {
            return;
        }
    }
}

/// Waits for a client to go on; whether it does before the deadline.
async fn next_request(stream: &ClientStream, state: &State) -> bool {
    poll_fn(|context| match state.gives_up(context) {
        true => Poll::Ready(false),
        false => stream.poll_more(context).map(|()| true),
    })
    .await
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
