//! Answers, and the headers that all of them have.

use std::convert::Infallible;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, combinators::UnsyncBoxBody};
use hyper::{
    Response, StatusCode,
    header::{
        CACHE_CONTROL, CONTENT_LANGUAGE, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName,
        HeaderValue, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
    },
};
use serde_json::{Value, json};
use tokio::sync::OwnedSemaphorePermit;

use crate::text::Language;

/// What an answer is sent as.
pub(super) type Body = UnsyncBoxBody<Bytes, Infallible>;
pub(super) type Answer = Response<Body>;

/// A page loads what is here and nothing else, runs no script but ours, and is in no frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Puts in what every answer has.
pub(super) fn secured(mut answer: Answer) -> Answer {
    let headers = answer.headers_mut();
    for (name, value) in [
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    let cached = HeaderValue::from_static("no-store");
    headers.entry(CACHE_CONTROL).or_insert(cached);
    answer
}

pub(super) fn whole(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Answer {
    let mut answer = Response::new(Full::new(body.into()).boxed_unsync());
    *answer.status_mut() = status;
    let content_type = HeaderValue::from_static(content_type);
    answer.headers_mut().insert(CONTENT_TYPE, content_type);
    answer
}

pub(super) fn page(html: String, language: Language) -> Answer {
    let mut answer = whole(StatusCode::OK, "text/html; charset=utf-8", html);
    let headers = answer.headers_mut();
    let code = HeaderValue::from_static(language.code());
    headers.insert(CONTENT_LANGUAGE, code);
    headers.insert(VARY, HeaderValue::from_static("Accept-Language"));
    answer
}

/// Style and scripts: a browser asks whether they are still the same.
pub(super) fn file(content_type: &'static str, text: &'static str) -> Answer {
    let mut answer = whole(StatusCode::OK, content_type, text);
    let cached = HeaderValue::from_static("no-cache");
    answer.headers_mut().insert(CACHE_CONTROL, cached);
    answer
}

pub(super) fn json(status: StatusCode, value: &Value) -> Answer {
    whole(status, "application/json", value.to_string())
}

/// The same, and `permit` is kept until it is sent or its reader is gone.
pub(super) fn held(value: &Value, permit: OwnedSemaphorePermit) -> Answer {
    let held = Held {
        text: value.to_string(),
        _permit: permit,
    };
    whole(StatusCode::OK, "application/json", Bytes::from_owner(held))
}

struct Held {
    text: String,
    _permit: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        self.text.as_bytes()
    }
}

/// What went wrong, for a script (`error`) and for people.
pub(super) fn wrong(status: StatusCode, error: &str, words: &str) -> Answer {
    json(status, &json!({ "error": error, "detail": words }))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::Semaphore;

    use super::*;

    #[test]
    fn a_turn_lasts_until_the_answer_is_gone() {
        let turns = Arc::new(Semaphore::new(1));
        let permit = turns.clone().try_acquire_owned().expect("a turn");
        let answer = held(&json!({ "a": 1 }), permit);
        assert_eq!(turns.available_permits(), 0);
        drop(answer);
        assert_eq!(turns.available_permits(), 1);
    }
}
