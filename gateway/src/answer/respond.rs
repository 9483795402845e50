//! Answers. The one place that knows HTTP's status codes.

use aguacero::accept::Kind;
use bytes::Bytes;
use hyper::{
    Response, StatusCode,
    header::{CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER},
};
use serde_json::{Map, Value, json};

use crate::{
    answer::{
        json::Object,
        outcomes::{Outcomes, RecordOutcome},
    },
    intake::ids::{Base, IDEMPOTENCY_KEY},
};

/// Seconds after which a client may try again what was not stored.
pub(super) const RETRY_AFTER_SECONDS: &str = "1";

/// Which preferences the answer is according to (RFC 7240).
pub(super) static PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

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
pub(super) enum Body {
    Nothing,
    /// `{"accepted":1}`
    One,
    /// Any other JSON.
    Json(Value),
    /// A problem document (RFC 9457).
    Problem(Map<String, Value>),
    /// Written already, since it lists records.
    Listed {
        written: Bytes,
        is_problem: bool,
        /// What is said in its stead where that is too much.
        short: Box<Answer>,
    },
}

impl Answer {
    pub(super) fn new(status: u16, body: Body) -> Self {
        Self {
            status,
            body,
            close: false,
            is_cut_off: false,
            fields: Vec::new(),
        }
    }

    pub(super) fn problem(status: u16, detail: impl Into<String>) -> Self {
        let (kind, title) = kind_and_title(status);
        let Value::Object(document) = json!({
            "type": problem_type(kind),
            "title": title,
            "status": status,
            "detail": detail.into(),
        }) else {
            unreachable!("the literal above is an object")
        };
        Self::new(status, Body::Problem(document))
    }

    /// With what became of each record; `short` of it leaves that out.
    fn listed(status: u16, written: Vec<u8>, short: Self) -> Self {
        let body = Body::Listed {
            written: written.into(),
            is_problem: status >= 400,
            short: Box::new(short),
        };
        Self::new(status, body)
    }

    pub(super) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
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

    /// Less of it: what became of each record is left out. Of a mixture that is no answer.
    pub(crate) fn without_list(self) -> Self {
        let Body::Listed { short, .. } = self.body else {
            return self;
        };
        let mut fields = self.fields;
        fields.retain(|(name, _)| *name != PREFERENCE_APPLIED);
        Self {
            fields,
            close: self.close,
            is_cut_off: self.is_cut_off,
            ..*short
        }
    }

    /// Its body as it is written.
    pub(crate) fn body(&self) -> Bytes {
        match &self.body {
            Body::Nothing => Bytes::new(),
            Body::One => Bytes::from_static(b"{\"accepted\":1}"),
            Body::Json(value) => value.to_string().into(),
            Body::Problem(document) => serde_json::to_vec(document).unwrap_or_default().into(),
            Body::Listed { written, .. } => written.clone(),
        }
    }

    /// The response as hyper sends it, around [`Self::body`].
    pub(crate) fn into_response(self, body: Bytes) -> Response<Bytes> {
        let content_type = match self.body {
            Body::Nothing => None,
            Body::Problem(_)
            | Body::Listed {
                is_problem: true, ..
            } => Some("application/problem+json"),
            Body::One | Body::Json(_) | Body::Listed { .. } => Some("application/json"),
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

/// Bytes of one record in a list, about.
const LISTED_BYTES: usize = 128;

fn batch(outcomes: &Outcomes, topic: &str) -> Answer {
    let records = &outcomes.records[..];
    let stored = |record: &&RecordOutcome| matches!(record, RecordOutcome::Stored);
    let accepted = records.iter().filter(stored).count();
    let rejected = records.len() - accepted;
    let good = match outcomes.is_dry_run {
        true => "valid",
        false => "accepted",
    };
    if rejected == 0 && outcomes.places.is_none() {
        return Answer::new(200, Body::Json(json!({ good: accepted })));
    }
    let listed = match outcomes.places {
        None => rejected,
        Some(_) => records.len(),
    };
    let mut written = Vec::with_capacity(LISTED_BYTES * (1 + listed));
    let mut object = Object::begin(&mut written);
    // Its members in the order in which those of every other answer are: by name.
    if rejected > 0
        && let Some(status) = status_of_all(records, accepted)
    {
        let (kind, title) = kind_and_title(status);
        object.member("detail", common_detail(status));
        outcomes.write_errors(&mut object);
        object
            .member("status", &status)
            .member("title", title)
            .member("type", &problem_type(kind));
        object.end();
        let short = Answer::problem(status, common_detail(status));
        return Answer::listed(status, written, short);
    }
    if !outcomes.is_dry_run {
        object.member(good, &accepted);
    }
    if rejected > 0 {
        outcomes.write_errors(&mut object);
    }
    outcomes.write_stored(topic, &mut object);
    if rejected > 0 {
        object.member("rejected", &rejected);
    }
    if outcomes.is_dry_run {
        object.member(good, &accepted);
    }
    object.end();
    let (status, short) = match rejected {
        0 => (200, Answer::new(200, Body::Json(json!({ good: accepted })))),
        _ if outcomes.is_dry_run => {
            let short = json!({ good: accepted, "rejected": rejected });
            (207, Answer::new(207, Body::Json(short)))
        }
        _ => (207, Answer::problem(504, common_detail(504))),
    };
    let answer = Answer::listed(status, written, short);
    match outcomes.places {
        None => answer,
        Some(_) => answer.field(&PREFERENCE_APPLIED, "return=representation"),
    }
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

pub(super) fn status_of(kind: Kind) -> u16 {
    match kind {
        Kind::Malformed => 400,
        Kind::Unfit => 422,
        Kind::TooLarge => 413,
    }
}

pub(super) fn common_detail(status: u16) -> &'static str {
    match status {
        503 => "certainly not stored: send it again",
        504 => {
            "it may be stored or not: send it again with the Idempotency-Key of this answer, which is harmless"
        }
        _ => "no record of the batch was accepted",
    }
}

fn problem_type(kind: &str) -> String {
    format!("urn:aguacero:problem:{kind}")
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
