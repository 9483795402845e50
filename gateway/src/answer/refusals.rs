//! The answers that refuse a request, by reason. With [`crate::answer::respond`], the place that knows HTTP's status
//! codes.

use std::time::Duration;

use aguacero::{
    accept::Refusal,
    config::{Config, Rate},
};
use hyper::{
    Method,
    header::{ACCEPT_ENCODING, ALLOW, RETRY_AFTER, WWW_AUTHENTICATE},
};
use serde_json::json;

use crate::{
    answer::respond::{Answer, Body, PREFERENCE_APPLIED, RETRY_AFTER_SECONDS, status_of},
    request::expand::CODINGS,
};

/// How a client says who it is (RFC 6750).
const CHALLENGE: &str = "Bearer realm=\"aguacero\"";

/// What may be done with a stream's path.
const METHODS: &str = "POST, OPTIONS";

impl Answer {
    /// An event, or all of the body, that the client has to mend.
    pub(crate) fn refused(refusal: &Refusal) -> Self {
        let mut answer = Self::problem(status_of(refusal.kind), &refusal.detail);
        if let Some(field) = &refusal.field {
            answer = answer.with("field", field.as_str());
        }
        match refusal.offset {
            Some(offset) => answer.with("offset", offset),
            None => answer,
        }
    }

    pub(crate) fn empty() -> Self {
        Self::problem(422, "the body holds no event")
    }

    pub(crate) fn bad_request(detail: String) -> Self {
        Self::problem(400, detail)
    }

    /// RFC 9112, section 3.2: an asterisk is for OPTIONS, and a host alone for CONNECT, which is for proxies and
    /// has no body, whatever its Content-Length says.
    pub(crate) fn no_path() -> Self {
        let detail = "the target has to be a path, as in POST /input, and this is no proxy";
        Self::problem(400, detail).closing()
    }

    /// RFC 9112, section 3.2: a target has no fragment.
    pub(crate) fn has_fragment() -> Self {
        let detail =
            "the target has a # in it, which is no part of any target: leave it out, or write %23";
        Self::problem(400, detail).closing()
    }

    pub(crate) fn bad_framing() -> Self {
        let detail = "a Transfer-Encoding may be chunked, once, and nothing else";
        Self::problem(400, detail).closing()
    }

    pub(crate) fn too_many_bodies() -> Self {
        let detail =
            "certainly not stored: too many bytes of bodies are on their way, send it again";
        Self::problem(503, detail).closing()
    }

    /// The body is there; nobody got round to it.
    pub(crate) fn no_turn() -> Self {
        let detail =
            "certainly not stored: too many large bodies wait for their turn, send it again";
        Self::problem(503, detail)
    }

    pub(crate) fn too_many_records(max: usize) -> Self {
        Self::problem(
            413,
            format!("a batch may have {max} records: send it in parts"),
        )
    }

    pub(crate) fn body_too_large(max: usize) -> Self {
        Self::problem(
            413,
            format!("a body may have {max} bytes: send it in parts"),
        )
        .closing()
    }

    pub(crate) fn header_too_large(bytes: usize, max: usize) -> Self {
        Self::problem(
            431,
            format!("the header fields may have {max} bytes, they have {bytes}"),
        )
        .closing()
    }

    pub(crate) fn uri_too_long(max: usize) -> Self {
        Self::problem(414, format!("a path may have {max} bytes")).closing()
    }

    pub(crate) fn length_required() -> Self {
        let detail = "the request says nothing of its body: send Content-Length or chunks";
        Self::problem(411, detail).closing()
    }

    pub(crate) fn unsupported(detail: String) -> Self {
        Self::problem(415, detail)
    }

    pub(crate) fn unknown_coding(name: &str) -> Self {
        let detail = format!("Content-Encoding may be one of {CODINGS}, it is {name}");
        Self::unsupported(detail).field(&ACCEPT_ENCODING, CODINGS)
    }

    pub(crate) fn badly_packed(coding: &str, why: &str) -> Self {
        Self::problem(
            400,
            format!("the body is not {coding}, as Content-Encoding says: {why}"),
        )
    }

    pub(crate) fn expanded_too_large(max: usize) -> Self {
        let detail = format!("a body may have {max} bytes when it is expanded: send it in parts");
        Self::problem(413, detail)
    }

    pub(crate) fn expands_too_much(times: usize) -> Self {
        let detail = format!("a body may expand to {times} times its bytes: send it less packed");
        Self::problem(413, detail)
    }

    pub(crate) fn body_stalled() -> Self {
        Self::problem(
            408,
            "the body did not arrive in time: nothing of it is stored, send it again",
        )
        .cut_off()
    }

    /// So many bytes came in all the time that a body may take.
    pub(crate) fn body_too_slow(bytes: usize, body_max: Duration) -> Self {
        let seconds = body_max.as_secs_f64();
        let detail = format!(
            "the body may take {seconds} s, and {bytes} bytes of it came: nothing of it is stored. Sent again at this pace \
             it cannot come in time either: send smaller parts, of fewer bytes than that"
        );
        Self::problem(408, detail).cut_off()
    }

    pub(crate) fn body_broken(why: impl std::fmt::Display) -> Self {
        Self::problem(400, format!("the body cannot be read: {why}")).cut_off()
    }

    pub(crate) fn too_many_of_address(max: usize) -> Self {
        let detail = format!("an address may have {max} requests in progress: send it again");
        Self::problem(429, detail).field(&RETRY_AFTER, RETRY_AFTER_SECONDS)
    }

    /// Who it is was not said, or not as it can be said.
    pub(crate) fn unauthorized(detail: &str) -> Self {
        Self::problem(401, detail).field(&WWW_AUTHENTICATE, CHALLENGE)
    }

    /// A token that is not good, or not any more.
    pub(crate) fn invalid_token() -> Self {
        let detail =
            "the token is wrong, revoked or expired: ask whoever runs the gateway for another";
        let challenge = format!("{CHALLENGE}, error=\"invalid_token\"");
        Self::problem(401, detail).field(&WWW_AUTHENTICATE, &challenge)
    }

    /// A key of somebody who may not write here.
    pub(crate) fn insufficient_scope(stream: &str) -> Self {
        let detail = format!("this key may not write to the stream {stream}");
        let challenge = format!("{CHALLENGE}, error=\"insufficient_scope\"");
        Self::problem(403, detail).field(&WWW_AUTHENTICATE, &challenge)
    }

    /// More events than the rate allows; `wait` until there is anything in the bucket again.
    pub(crate) fn too_fast(rate: Rate, wait: Duration) -> Self {
        let Rate { per_second, burst } = rate;
        let detail = format!(
            "nothing was stored: this key may send {per_second} events a second, and {burst} at once; send it \
             again after Retry-After"
        );
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        Self::problem(429, detail).field(&RETRY_AFTER, &seconds.max(1).to_string())
    }

    /// So many records are on their way: whether they are stored, this answer did not wait for.
    pub(crate) fn received(records: usize) -> Self {
        Self::new(202, Body::Json(json!({ "received": records })))
            .field(&PREFERENCE_APPLIED, "respond-async")
    }

    /// What may be done with a path, asked by `OPTIONS`.
    pub(crate) fn options() -> Self {
        Self::new(204, Body::Nothing).field(&ALLOW, METHODS)
    }

    pub(crate) fn method_not_allowed(method: &Method) -> Self {
        let detail = format!("events are sent by POST, not {:.20}", method.as_str());
        Self::problem(405, detail).field(&ALLOW, METHODS)
    }

    pub(crate) fn no_such_route(path: &str, config: &Config) -> Self {
        let routes = config
            .streams
            .iter()
            .flat_map(|s| &s.routes)
            .map(|r| r.path.as_str());
        let routes: Vec<_> = routes.collect();
        let detail = format!(
            "nothing takes events at {path}; events are taken at {}",
            routes.join(", ")
        );
        Self::problem(404, detail)
    }
}
