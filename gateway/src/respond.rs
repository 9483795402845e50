//! Answers. The one place that knows HTTP's status codes.

use std::time::Duration;

use aguacero::{
    accept::{Kind, Refusal},
    config::{Config, Rate},
    id::EventId,
};
use bytes::Bytes;
use hyper::{
    Method, Response, StatusCode,
    header::{
        ACCEPT_ENCODING, ALLOW, CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER,
        WWW_AUTHENTICATE,
    },
};
use serde_json::{Map, Value, json};
use smallvec::SmallVec;

use crate::{
    expand::CODINGS,
    ids::{Base, IDEMPOTENCY_KEY},
};

/// Seconds after which a client may try again what was not stored.
const RETRY_AFTER_SECONDS: &str = "1";

/// Which preferences the answer is according to (RFC 7240).
static PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// How a client says who it is (RFC 6750).
const CHALLENGE: &str = "Bearer realm=\"aguacero\"";

/// What may be done with a stream's path.
const METHODS: &str = "POST, OPTIONS";

/// What became of one record.
#[derive(Debug, Clone)]
pub(crate) enum RecordOutcome {
    /// In Kafka.
    Stored,
    /// The client's to mend.
    Refused(Box<Refusal>),
    /// More bytes than the topic takes in a record; how many it takes, if known.
    TooLarge(Option<usize>),
    /// Certainly not in Kafka, and why.
    NotStored(String),
    /// Nobody can know.
    Unknown,
}

/// What became of the records of one request.
pub(crate) struct Outcomes {
    /// An array or NDJSON, however many records it has.
    pub(crate) is_batch: bool,
    /// In the order of the body.
    pub(crate) records: SmallVec<[RecordOutcome; 1]>,
    /// What is good was not to be stored, and counts as [`RecordOutcome::Stored`] here.
    pub(crate) is_dry_run: bool,
    /// Of each record, what it became; only if the client asked for it.
    pub(crate) places: Option<Vec<Represented>>,
}

/// What a stored record became.
#[derive(Debug, Clone)]
pub(crate) struct Represented {
    pub(crate) id: EventId,
    /// Partition and offset.
    pub(crate) at: Option<(i32, Option<i64>)>,
}

impl Outcomes {
    /// Whether every record is on its way, and none of them refused.
    pub(crate) fn are_open(&self) -> bool {
        let mut records = self.records.iter();
        records.all(|record| matches!(record, RecordOutcome::Unknown))
    }

    /// Each stored record, as JSON.
    fn stored(&self, topic: &str) -> Option<Value> {
        let records = self.places.as_ref()?.iter().zip(&self.records).enumerate();
        let stored = records.filter(|(_, (_, r))| matches!(r, RecordOutcome::Stored));
        let record = |(index, (place, _)): (usize, (&Represented, _))| {
            let (partition, offset) = place.at.map_or((None, None), |(p, o)| (Some(p), o));
            json!({
                "index": index, "id": place.id.to_string(), "topic": topic,
                "partition": partition, "offset": offset,
            })
        };
        Some(stored.map(record).collect())
    }
}

/// An answer before it is written.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    body: Body,
    close: bool,
    /// The request did not come whole.
    is_cut_off: bool,
    /// Header fields of this answer alone.
    fields: Vec<(HeaderName, HeaderValue)>,
}

#[derive(Debug)]
enum Body {
    Nothing,
    /// `{"accepted":1}`
    One,
    /// Any other JSON.
    Json(Value),
    /// A problem document (RFC 9457).
    Problem(Map<String, Value>),
}

impl Answer {
    fn new(status: u16, body: Body) -> Self {
        Self {
            status,
            body,
            close: false,
            is_cut_off: false,
            fields: Vec::new(),
        }
    }

    fn problem(status: u16, detail: impl Into<String>) -> Self {
        let (kind, title) = kind_and_title(status);
        let Value::Object(document) = json!({
            "type": format!("urn:aguacero:problem:{kind}"),
            "title": title,
            "status": status,
            "detail": detail.into(),
        }) else {
            unreachable!("the literal above is an object")
        };
        Self::new(status, Body::Problem(document))
    }

    fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        if let Body::Problem(document) = &mut self.body {
            document.insert(name.into(), value.into());
        }
        self
    }

    /// The connection ends with this answer.
    pub(crate) fn closing(mut self) -> Self {
        self.close = true;
        self
    }

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

    pub(crate) fn bad_framing() -> Self {
        let detail = "a Transfer-Encoding may be chunked, once, and nothing else";
        Self::problem(400, detail).closing()
    }

    pub(crate) fn too_many_bodies() -> Self {
        let detail =
            "certainly not stored: too many bytes of bodies are on their way, send it again";
        Self::problem(503, detail).closing()
    }

    /// To a request that did not come whole; what is left of it may still come.
    pub(crate) fn cut_off(mut self) -> Self {
        self.is_cut_off = true;
        self.closing()
    }

    /// Whether the request did not come whole.
    pub(crate) fn is_cut_off(&self) -> bool {
        self.is_cut_off
    }

    /// Whether the connection ends with it.
    pub(crate) fn is_last(&self) -> bool {
        self.close
    }

    /// With a header field; a value that cannot be one is left out.
    pub(crate) fn field(mut self, name: &HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.fields.push((name.clone(), value));
        }
        self
    }

    /// The key under which sending the same body again is harmless.
    pub(crate) fn retriable_under(self, key: &str) -> Self {
        self.field(&IDEMPOTENCY_KEY, key)
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

    pub(crate) fn badly_packed(coding: &str, error: &std::io::Error) -> Self {
        Self::problem(
            400,
            format!("the body is not {coding}, as Content-Encoding says: {error}"),
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

    /// Less of it: what became of each record is left out. Of a mixture that is no answer.
    pub(crate) fn without_list(mut self) -> Self {
        match &mut self.body {
            Body::Problem(document) => {
                document.remove("errors");
            }
            Body::Json(Value::Object(body))
                if body.contains_key("valid") || !body.contains_key("errors") =>
            {
                body.remove("errors");
                body.remove("records");
                self.fields.retain(|(name, _)| *name != PREFERENCE_APPLIED);
            }
            _ => {
                let (close, fields) = (self.close, self.fields);
                self = Self::problem(504, common_detail(504));
                (self.close, self.fields) = (close, fields);
            }
        }
        self
    }

    /// Its body as it is written.
    pub(crate) fn body(&self) -> Bytes {
        match &self.body {
            Body::Nothing => Bytes::new(),
            Body::One => Bytes::from_static(b"{\"accepted\":1}"),
            Body::Json(value) => value.to_string().into(),
            Body::Problem(document) => serde_json::to_vec(document).unwrap_or_default().into(),
        }
    }

    /// The response as hyper sends it, around [`Self::body`].
    pub(crate) fn into_response(self, body: Bytes) -> Response<Bytes> {
        let content_type = match self.body {
            Body::Nothing => None,
            Body::One | Body::Json(_) => Some("application/json"),
            Body::Problem(_) => Some("application/problem+json"),
        };
        let mut response = Response::new(body);
        *response.status_mut() =
            StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        if let Some(content_type) = content_type {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        }
        if self.status == 503 {
            headers.insert(RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS));
        }
        if self.close {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        headers.extend(self.fields);
        response
    }
}

/// The answer to a request whose every record has its outcome, and whose stream writes to `topic`.
pub(crate) fn answer(outcomes: &Outcomes, base: &Base, topic: &str) -> Answer {
    let answer = match &outcomes.records[..] {
        [RecordOutcome::Stored] if !outcomes.is_dry_run && outcomes.places.is_none() => {
            Answer::new(200, Body::One)
        }
        [RecordOutcome::Stored] => batch(outcomes, topic),
        [only] if !outcomes.is_batch => single(only),
        _ => batch(outcomes, topic),
    };
    match answer.status {
        _ if outcomes.is_dry_run => answer,
        207 | 503 | 504 => answer.retriable_under(&base.retry_key()),
        _ => answer,
    }
}

fn single(outcome: &RecordOutcome) -> Answer {
    match outcome {
        RecordOutcome::Refused(refusal) => Answer::refused(refusal),
        other => Answer::problem(other.status(), other.detail()),
    }
}

fn batch(outcomes: &Outcomes, topic: &str) -> Answer {
    let records = &outcomes.records[..];
    let good = match outcomes.is_dry_run {
        true => "valid",
        false => "accepted",
    };
    let accepted = records
        .iter()
        .filter(|r| matches!(r, RecordOutcome::Stored))
        .count();
    if accepted == records.len() {
        return represented(200, json!({ good: accepted }), outcomes, topic);
    }
    let errors: Vec<Value> = records
        .iter()
        .enumerate()
        .filter(|(_, record)| !matches!(record, RecordOutcome::Stored))
        .map(|(index, record)| record.error(index))
        .collect();
    match status_of_all(records, accepted) {
        Some(status) => Answer::problem(status, common_detail(status)).with("errors", errors),
        None => {
            let rejected = errors.len();
            let body = json!({ good: accepted, "rejected": rejected, "errors": errors });
            represented(207, body, outcomes, topic)
        }
    }
}

/// With what the records became, if that was asked for.
fn represented(status: u16, mut body: Value, outcomes: &Outcomes, topic: &str) -> Answer {
    let Some(stored) = outcomes.stored(topic) else {
        return Answer::new(status, Body::Json(body));
    };
    body["records"] = stored;
    Answer::new(status, Body::Json(body)).field(&PREFERENCE_APPLIED, "return=representation")
}

/// The status that is true of every record, if there is one.
fn status_of_all(records: &[RecordOutcome], accepted: usize) -> Option<u16> {
    if accepted > 0 {
        return None;
    }
    let has = |wanted: fn(u16) -> bool| records.iter().any(|r| wanted(r.status()));
    let first = records.first()?.status();
    match () {
        () if records.iter().all(|r| r.status() == first) => Some(first),
        () if !has(|s| s >= 500) => Some(422), // all unfit, each in its way
        () if !has(|s| s < 500) => Some(504),  // not stored or unknown
        () => None,
    }
}

impl RecordOutcome {
    pub(crate) fn status(&self) -> u16 {
        match self {
            Self::Stored => 200,
            Self::Refused(refusal) => status_of(refusal.kind),
            Self::TooLarge(_) => 413,
            Self::NotStored(_) => 503,
            Self::Unknown => 504,
        }
    }

    fn detail(&self) -> String {
        match self {
            Self::Stored => String::new(),
            Self::Refused(refusal) => refusal.detail.clone(),
            Self::TooLarge(Some(max)) => format!("the stream's topic takes records of {max} bytes"),
            Self::TooLarge(None) => "larger than the stream's topic takes".into(),
            Self::NotStored(why) => format!("certainly not stored: {why}"),
            Self::Unknown => common_detail(504).into(),
        }
    }

    fn error(&self, index: usize) -> Value {
        let mut error = json!({ "index": index, "status": self.status(), "detail": self.detail() });
        if let (Self::Refused(refusal), Value::Object(error)) = (self, &mut error) {
            if let Some(field) = &refusal.field {
                error.insert("field".into(), field.as_str().into());
            }
            if let Some(offset) = refusal.offset {
                error.insert("offset".into(), offset.into());
            }
        }
        error
    }
}

fn status_of(kind: Kind) -> u16 {
    match kind {
        Kind::Malformed => 400,
        Kind::Unfit => 422,
        Kind::TooLarge => 413,
    }
}

fn common_detail(status: u16) -> &'static str {
    match status {
        503 => "certainly not stored: send it again",
        504 => {
            "it may be stored or not: send it again with the Idempotency-Key of this answer, which is harmless"
        }
        _ => "no record of the batch was accepted",
    }
}

fn kind_and_title(status: u16) -> (&'static str, &'static str) {
    match status {
        400 => ("malformed", "Malformed request"),
        401 => ("unauthorized", "A key is needed"),
        403 => ("forbidden", "Not with this key"),
        404 => ("no-such-route", "No such route"),
        405 => ("method-not-allowed", "Method not allowed"),
        408 => ("body-stalled", "The body did not arrive in time"),
        411 => ("length-required", "Length required"),
        413 => ("too-large", "Too large"),
        414 => ("uri-too-long", "URI too long"),
        415 => ("unsupported", "Unsupported media type or encoding"),
        422 => ("unfit", "Does not fit the stream"),
        429 => ("too-many", "Too many requests or events"),
        431 => ("header-too-large", "Header too large"),
        503 => ("not-stored", "Not stored, try again"),
        504 => ("unknown", "Outcome unknown"),
        _ => ("other", "Problem"),
    }
}
