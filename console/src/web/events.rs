//! A stream of updates: server-sent events.

use std::{convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::stream::unfold;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::{
    Response, StatusCode,
    body::Frame,
    header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::{Instant, sleep, sleep_until},
};

use super::answer::{Answer, wrong};
use crate::{
    feed::Feed,
    metric::{self, Open},
};

/// Streams that may be open.
pub(super) const STREAMS_MAX: usize = 1000;
/// Something is said so often, so that a connection that is gone is noticed.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// A stream ends after this and the browser opens another: whoever is gone without a word does not keep one for ever.
const AGE_MAX: Duration = Duration::from_secs(15 * 60);

struct Stream {
    receiver: watch::Receiver<Option<Bytes>>,
    until: Instant,
    _open: Open,
    _permit: OwnedSemaphorePermit,
}

/// The feed from now on, or 503 if too many look.
pub(super) fn events(page: &'static str, feed: &Feed, streams: &Arc<Semaphore>) -> Answer {
    let Ok(permit) = streams.clone().try_acquire_owned() else {
        metric::stream_refused();
        let words = "too many streams of updates are open";
        let mut answer = wrong(StatusCode::SERVICE_UNAVAILABLE, "too-many", words);
        let after = HeaderValue::from_static("5");
        answer.headers_mut().insert(RETRY_AFTER, after);
        return answer;
    };
    let stream = Stream {
        receiver: feed.subscribe(),
        until: Instant::now() + AGE_MAX,
        _open: Open::of(page),
        _permit: permit,
    };
    let body = StreamBody::new(unfold(stream, next));
    let mut answer = Response::new(body.boxed_unsync());
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    // Proxies that collect answers do not collect this one.
    let name = HeaderName::from_static("x-accel-buffering");
    headers.insert(name, HeaderValue::from_static("no"));
    answer
}

/// It is asked for when the connection takes more, so that a slow one gets the newest value and none of those between.
async fn next(mut stream: Stream) -> Option<(Result<Frame<Bytes>, Infallible>, Stream)> {
    let text = loop {
        tokio::select! {
            changed = stream.receiver.changed() => {
                changed.ok()?;
                let value = stream.receiver.borrow_and_update().clone();
                if let Some(value) = value {
                    break [b"data: ", &*value, b"\n\n"].concat();
                }
            }
            () = sleep(HEARTBEAT) => break b": still here\n\n".to_vec(),
            () = sleep_until(stream.until) => return None,
        }
    };
    Some((Ok(Frame::data(text.into())), stream))
}
