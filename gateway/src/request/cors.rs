//! Pages of other origins that write from a browser (CORS, as the Fetch standard has it), without credentials
//! of the browser's own: a key's token is sent by the page.

use aguacero::config::Cors;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, HeaderValue, VARY,
};

use crate::answer::respond::Answer;

/// Fields that a page may send.
const SENT: &str =
    "authorization, content-type, content-encoding, idempotency-key, prefer, traceparent";
/// Fields of an answer that a page may read.
const SHOWN: &str = "idempotency-key, retry-after, ratelimit, ratelimit-policy, preference-applied, accept-encoding";

/// What a browser is told with every answer of a stream.
#[derive(Debug)]
pub(crate) struct Allowed(Option<HeaderValue>);

impl Allowed {
    /// To a page of `origin`.
    pub(crate) fn to(cors: &Cors, origin: Option<&HeaderValue>) -> Self {
        if cors.is_any() {
            return Self(Some(HeaderValue::from_static("*")));
        }
        let declared = |o: &&HeaderValue| cors.origins.iter().any(|known| **o == known.as_str());
        Self(origin.filter(declared).cloned())
    }

    /// The answer to what a browser asks first: whether the page may send the request that it is about to.
    pub(crate) fn preflight(&self, cors: &Cors) -> Answer {
        let answer = Answer::options();
        match self.0 {
            None => answer,
            Some(_) => answer
                .field(&ACCESS_CONTROL_ALLOW_METHODS, "POST")
                .field(&ACCESS_CONTROL_ALLOW_HEADERS, SENT)
                .field(&ACCESS_CONTROL_MAX_AGE, &cors.max_age.as_secs().to_string()),
        }
    }

    /// With the fields that let the page read it.
    pub(crate) fn add_to(self, answer: Answer) -> Answer {
        let answer = answer.field(&VARY, "Origin");
        match self.0.as_ref().and_then(|origin| origin.to_str().ok()) {
            None => answer,
            Some(origin) => answer
                .field(&ACCESS_CONTROL_ALLOW_ORIGIN, origin)
                .field(&ACCESS_CONTROL_EXPOSE_HEADERS, SHOWN),
        }
    }
}
