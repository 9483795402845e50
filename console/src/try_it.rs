//! An event that somebody tries: to the gateway, as any client's.

use std::time::Duration;

use aguacero::config::{Config, Route, Stream};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    HeaderMap, Request,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue},
};
use serde_json::{Value, json};

use crate::{fetch::Target, text::cut};

/// What an answer may take beside the gateway's own deadline.
const GRACE: Duration = Duration::from_secs(2);
/// Bytes of an answer.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// Characters of an answer that are shown.
const ANSWER_CHARS: usize = 64 << 10;
/// What the gateway is asked for, so that it tells where the event is.
const PREFER: &str = "return=representation";

/// Bytes that an event may have here.
#[must_use]
pub fn bytes_max(config: &Config) -> usize {
    config
        .gateway
        .event_bytes_max
        .min(config.gateway.body_bytes_max)
}

/// The stream and the route whose path is `path`.
#[must_use]
pub fn route<'a>(config: &'a Config, path: &str) -> Option<(&'a Stream, &'a Route)> {
    let routes = config
        .streams
        .iter()
        .flat_map(|stream| stream.routes.iter().map(move |route| (stream, route)));
    { routes }.find(|(_, route)| route.path == path)
}

/// Where the gateway is.
fn gateway(config: &Config) -> Option<Target> {
    if !config.console.gateway.is_empty() {
        return Target::of(&config.console.gateway);
    }
    let mut address = config.gateway.listen;
    if address.ip().is_unspecified() {
        address.set_ip([127, 0, 0, 1].into());
    }
    let scheme = match config.gateway.tls {
        Some(_) => "https",
        None => "http",
    };
    Target::of(&format!("{scheme}://{address}"))
}

/// Posts `event` to the route, with the visitor's own key for the stream if there is one: what was asked and answered.
pub async fn post(
    config: &Config,
    stream: &Stream,
    route: &Route,
    headers: &HeaderMap,
    event: Bytes,
) -> Result<Value, String> {
    let target = gateway(config).ok_or("console.gateway is no URL")?;
    let mut request = Request::post(&route.path)
        .header(CONTENT_TYPE, "application/json")
        .header("prefer", PREFER);
    let mut shown = vec![
        json!(["Content-Type", "application/json"]),
        json!(["Prefer", PREFER]),
    ];
    for (name, shown_as) in [(AUTHORIZATION.as_str(), "…"), ("idempotency-key", "")] {
        if let Some(value) = headers.get(name) {
            request = request.header(name, value);
            let value = match shown_as {
                "" => text(value),
                hidden => hidden.to_owned(),
            };
            shown.push(json!([name, value]));
        }
    }
    let bytes = event.len();
    let request = request.body(Full::new(event)).map_err(|e| e.to_string())?;
    let timeout = config.gateway.request_timeout + GRACE;
    let answer = target.send(request, timeout, ANSWER_BYTES_MAX).await;
    let answer =
        answer.map_err(|error| format!("the gateway at {}: {error:#}", target.authority()))?;
    let fields: Vec<_> = answer
        .headers()
        .iter()
        .map(|(name, value)| json!([name.as_str(), text(value)]))
        .collect();
    let body = String::from_utf8_lossy(answer.body());
    let stored = serde_json::from_slice::<Value>(answer.body()).unwrap_or_default();
    Ok(json!({
        "request": { "method": "POST", "path": route.path, "to": target.authority(), "headers": shown, "bytes": bytes },
        "status": answer.status().as_u16(),
        "headers": fields,
        "body": cut(&body, ANSWER_CHARS),
        "stream": stream.name,
        "records": stored.get("records"),
    }))
}

fn text(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}
