//! A connection that speaks HTTP/1.1, as long as hyper has it.

use std::{convert::Infallible, future::poll_fn, pin::Pin, rc::Rc, task::Poll};

use http_body_util::Full;
use hyper::{
    Request,
    body::Incoming,
    header::{CONNECTION, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;

use crate::{
    connection::{
        request_target::{Fragment, RequestTarget},
        state::{Phase, Silence, State},
        write_timeout::ClientStream,
    },
    worker::Worker,
};

/// Fields that a header may have; with more, hyper answers 431 by itself.
const HEADER_FIELDS_MAX: usize = 100;
/// Room for a header beyond the configured bound, so that the 431 is ours and says why.
const READ_BUFFER_SLACK: usize = 64 << 10;

/// A connection that hyper was made to let go of.
pub(super) struct Released {
    pub(super) stream: ClientStream,
    pub(super) is_timed_out: bool,
}

/// Serves it until it ends, or its client is silent. While the process drains, the next answer is the last one.
pub(super) async fn serve(
    stream: ClientStream,
    worker: &Rc<Worker>,
    state: &Rc<State>,
) -> Option<Released> {
    let service = service_fn(|mut request: Request<Incoming>| {
        let (worker, state) = (Rc::clone(worker), Rc::clone(state));
        async move {
            state.begin_request();
            if state.signals.target.get() == RequestTarget::HasFragment {
                request.extensions_mut().insert(Fragment);
            }
            let mut answer = worker.handle(request, state.peer, &state.deadline).await;
            if state.deadline.is_draining() {
                answer.is_last = true;
                let headers = answer.response.headers_mut();
                headers.insert(CONNECTION, HeaderValue::from_static("close"));
            }
            state.end_request(match answer.is_last {
                true => Phase::Closing,
                false => Phase::Idle,
            });
            state.signals.pending_answer.set(answer.held);
            Ok::<_, Infallible>(answer.response.map(Full::new))
        }
    });
    let serving = http1::Builder::new()
        .max_headers(HEADER_FIELDS_MAX)
        .max_buf_size(worker.config.gateway.header_bytes_max + READ_BUFFER_SLACK)
        .writev(false) // an answer is small: one piece costs less than two
        .half_close(true) // who has sent its last byte may still wait for an answer
        .serve_connection(TokioIo::new(stream), service);
    let mut serving = Box::new(serving); // an idle connection has no room for it
    let served = poll_fn(|context| match Pin::new(&mut *serving).poll(context) {
        Poll::Ready(ended) => Poll::Ready(Err(ended)),
        Poll::Pending => state.silence(context).map(Ok),
    });
    let silence = match served.await {
        Ok(silence) => silence,
        Err(ended) => {
            if let Err(error) = ended {
                worker.metrics.connection_broken(&error);
            }
            return None;
        }
    };
    let parts = serving.into_parts();
    let mut stream = parts.io.into_inner();
    stream.put_back(&parts.read_buf);
    Some(Released {
        stream,
        is_timed_out: matches!(silence, Silence::TimedOut),
    })
}
