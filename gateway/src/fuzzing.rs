//! The stages that read what a stranger sends, one by one, for `fuzz/`.

use std::{ops::Range, rc::Rc};

use aguacero::config::Config;
use bytes::Bytes;
use hyper::{header::HeaderValue, http::request::Parts};

use crate::{
    answer::response_headers::ResponseHeaders,
    connection::deadlines::Deadlines,
    intake::{ids::Base, split},
    request::{
        body::Limits,
        body_budget::BodyBudget,
        expand::{Coding, Expander},
        keys::Keys,
        route::{self, Format},
    },
};

/// What a header says.
#[derive(Debug, PartialEq, Eq)]
pub struct Routed {
    /// Position in `Config::streams`.
    pub stream: usize,
    /// Whether the body has an event a line.
    pub is_ndjson: bool,
    /// The client's key, as an answer gives it back.
    pub key: Option<String>,
}

/// Where a request leads to, or the status that refuses it.
pub fn route(config: &Config, request: &Parts) -> Result<Routed, u16> {
    let ((_, keys), mut response_headers) = (Keys::new(Vec::new()), ResponseHeaders::default());
    let target = route::route(config, &keys, request, Ok(()), &mut response_headers)
        .map_err(|answer| answer.status)?;
    let key = target.client_key;
    Ok(Routed {
        stream: target.stream,
        is_ndjson: target.format == Format::Ndjson,
        key: key.map(|key| Base::retry_key_of(Some(key))),
    })
}

/// Where each event of a body is, or the status that refuses it.
pub fn split(is_ndjson: bool, body: &[u8], records_max: usize) -> Result<Vec<Range<usize>>, u16> {
    let format = if is_ndjson {
        Format::Ndjson
    } else {
        Format::Json
    };
    let events = split::split(format, body, records_max).map_err(|answer| answer.status)?;
    Ok(events.ranges.into_vec())
}

/// A body without its `Content-Encoding`, or the status that refuses it.
pub async fn expand(config: &Config, coding: &str, packed: Bytes) -> Result<Bytes, u16> {
    let (budget, deadlines) = (
        BodyBudget::new(&config.gateway),
        Rc::new(Deadlines::default()),
    );
    let deadline = deadlines.watch();
    let limits = Limits::of(
        &config.gateway,
        budget.share([127, 0, 0, 1].into()),
        &deadline,
        hyper::Version::HTTP_11,
    );
    let value = HeaderValue::from_str(coding).map_err(|_| 400_u16)?;
    let coding = Coding::of(&[&value]).map_err(|answer| answer.status)?;
    let expander = Expander::default();
    let expanded = expander.expand(coding, packed, &config.gateway, &limits);
    expanded.await.map_err(|answer| answer.status)
}
