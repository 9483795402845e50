//! What every answer to a request carries, whatever it says: fields for browsers, and what is left of a rate.

use std::sync::Arc;

use hyper::header::HeaderName;

use crate::{
    answer::respond::Answer,
    request::{cors::Allowed, keys::Owner},
};

/// Of draft-ietf-httpapi-ratelimit-headers: what the rate is …
static RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
/// … and what is left of it.
static RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// Filled in as the request is routed; most requests leave it empty.
#[derive(Debug, Default)]
pub(crate) struct ResponseHeaders {
    /// The stream that the request is for: its position in `Config::streams`.
    pub(crate) stream: Option<usize>,
    pub(crate) allowed: Option<Allowed>,
    /// Who sends the request, if the stream takes events with a key.
    pub(crate) owner: Option<Arc<Owner>>,
}

impl ResponseHeaders {
    /// The name that goes into the ids of the events.
    pub(crate) fn owner_name(&self) -> &str {
        self.owner.as_ref().map_or("", |owner| owner.name())
    }

    /// The request has so many records.
    pub(crate) fn has_sent(&self, records: usize) {
        if let Some(owner) = &self.owner {
            owner.has_sent(records);
        }
    }

    pub(crate) fn add_to(self, mut answer: Answer) -> Answer {
        if let Some(allowed) = self.allowed {
            answer = allowed.add_to(answer);
        }
        match self.owner.as_ref().and_then(|owner| owner.bucket()) {
            None => answer,
            Some(bucket) => {
                let (quota, window, level) = (bucket.rate().burst, bucket.window(), bucket.level());
                let policy = format!("\"events\";q={quota};w={window}");
                let left = format!("\"events\";r={};t={}", level.remaining, level.full_in);
                answer
                    .field(&RATE_LIMIT_POLICY, &policy)
                    .field(&RATE_LIMIT, &left)
            }
        }
    }
}
