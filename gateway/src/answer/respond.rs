//! Answers. The one place that knows HTTP's status codes.

use aguacero::accept::Kind;
use bytes::Bytes;
use hyper::{
    Response, StatusCode,
    header::{CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER},
};
use serde_json::{Map, Value, json};

use crate::{
    answer::outcomes::{Outcomes, RecordOutcome},
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
            "type": format!("urn:aguacero:problem:{kind}"),
            "title": title,
            "status": status,
            "detail": detail.into(),
        }) else {
            unreachable!("the literal above is an object")
        };
        Self::new(status, Body::Problem(document))
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
