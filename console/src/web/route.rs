//! What a request is for.

use std::{sync::Arc, time::Duration};

use aguacero::config::{Config, Stream};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use hyper::{
    HeaderMap, Method, Request, StatusCode,
    body::{Body as _, Incoming},
    header::{
        ACCEPT_LANGUAGE, ALLOW, AUTHORIZATION, CONNECTION, CONTENT_TYPE, HOST, HeaderValue, ORIGIN,
        RETRY_AFTER,
    },
};
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use uuid::Uuid;

use super::{
    answer::{Answer, file, held, json, page, secured, wrong},
    events::{STREAMS_MAX, events},
    host,
};
use crate::{
    feed::Feed,
    letters::{self, Operator, Outcome},
    live::History,
    log, metric,
    mongo::Mongo,
    pages::Page,
    text::Language,
    token::{self, Verdict},
    try_it,
};

/// Questions of single visitors that are worked on at the same time; more wait.
const ASKED_MAX: usize = 8;
/// Events that visitors are sending at the same time; more wait.
const BODIES_MAX: usize = 32;
/// How long a turn is waited for.
const TURN_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a body may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(20);
/// Bytes of what an operator sends.
const OPERATOR_BYTES_MAX: usize = 8192;

/// Everything that can be asked for.
pub struct Site {
    pub(crate) config: Arc<Config>,
    pub(crate) mongo: Mongo,
    pub(crate) history: History,
    pub(crate) live: Feed,
    /// Of each stream.
    pub(crate) logs: Vec<Feed>,
    pub(crate) pipeline: Feed,
    pub(crate) letters: Feed,
    pub(crate) operator: Operator,
    streams: Arc<Semaphore>,
    asked: Arc<Semaphore>,
    bodies: Arc<Semaphore>,
    /// It listens on the loopback, and is served under the loopback's names alone.
    is_local: bool,
}

impl Site {
    /// With feeds that nobody fills yet, at an address of the loopback if it `is_local`.
    #[must_use]
    pub fn new(config: Arc<Config>, mongo: Mongo, is_local: bool) -> Self {
        Self {
            operator: Operator::new(config.clone(), mongo.clone()),
            logs: config.streams.iter().map(|_| Feed::new()).collect(),
            history: History::default(),
            live: Feed::new(),
            pipeline: Feed::new(),
            letters: Feed::new(),
            streams: Arc::new(Semaphore::new(STREAMS_MAX)),
            asked: Arc::new(Semaphore::new(ASKED_MAX)),
            bodies: Arc::new(Semaphore::new(BODIES_MAX)),
            is_local,
            config,
            mongo,
        }
    }

    /// The answer to a request, whatever it is.
    pub(super) async fn answer(&self, request: Request<Incoming>) -> Answer {
        let answer = secured(self.find(request).await);
        metric::answered(answer.status());
        answer
    }

    async fn find(&self, request: Request<Incoming>) -> Answer {
        let host = text_of(request.headers(), HOST.as_str());
        if self.is_local && !host::is_loopback(host) {
            let words = "on a loopback address the console is served as localhost, 127.0.0.1 or [::1] alone";
            return wrong(StatusCode::MISDIRECTED_REQUEST, "host", words);
        }
        let path = request.uri().path().to_owned();
        let query = request.uri().query().unwrap_or_default().to_owned();
        match *request.method() {
            Method::GET | Method::HEAD => self.get(&path, &query, request.headers()).await,
            Method::POST => self.post(&path, &query, request).await,
            _ => not_allowed("GET, HEAD, POST"),
        }
    }

    async fn get(&self, path: &str, query: &str, headers: &HeaderMap) -> Answer {
        if let Some(found) = Page::ALL.into_iter().find(|page| page.path() == path) {
            let accept = text_of(headers, ACCEPT_LANGUAGE.as_str());
            let language = Language::wanted(accept);
            return page(found.render(&self.config, language), language);
        }
        const SCRIPT: &str = "text/javascript; charset=utf-8";
        match path {
            "/style.css" => file(
                "text/css; charset=utf-8",
                include_str!("../../pages/style.css"),
            ),
            "/icon.svg" => file("image/svg+xml", include_str!("../../pages/icon.svg")),
            "/common.js" => file(SCRIPT, include_str!("../../pages/common.js")),
            "/live.js" => file(SCRIPT, include_str!("../../pages/live.js")),
            "/log.js" => file(SCRIPT, include_str!("../../pages/log.js")),
            "/pipeline.js" => file(SCRIPT, include_str!("../../pages/pipeline.js")),
            "/dead-letters.js" => file(SCRIPT, include_str!("../../pages/dead-letters.js")),
            "/try.js" => file(SCRIPT, include_str!("../../pages/try.js")),
            "/api/live/history" => json(StatusCode::OK, &self.history.of(&self.config)),
            "/api/live/stream" => events("live", &self.live, &self.streams),
            "/api/pipeline/stream" => events("pipeline", &self.pipeline, &self.streams),
            "/api/dead-letters/stream" => events("dead-letters", &self.letters, &self.streams),
            "/api/dead-letters/one" => {
                let id = parameter(query, "id").unwrap_or_default();
                self.ask(async { letters::whole(&self.mongo, &id).await })
                    .await
            }
            "/api/try" | "/api/dead-letters/replay" | "/api/dead-letters/discard" => {
                not_allowed("POST")
            }
            _ => self.log(path).await,
        }
    }

    /// `/api/log/STREAM/stream` and `/api/log/STREAM/ID`
    async fn log(&self, path: &str) -> Answer {
        let rest = path.strip_prefix("/api/log/");
        let Some((stream, what)) = rest.and_then(|rest| rest.split_once('/')) else {
            return unknown("there is no such page");
        };
        let Some(stream) = self.config.stream(&decoded(stream)) else {
            return unknown("no stream is called so");
        };
        if what == "stream" {
            return events("log", &self.logs[stream.index], &self.streams);
        }
        match Uuid::try_parse(what) {
            Ok(id) => self.ask(log::whole(&self.mongo, stream, id)).await,
            Err(_) => unknown("an event's id is a UUID"),
        }
    }

    /// What one visitor asks MongoDB for.
    async fn ask(&self, asking: impl Future<Output = Result<Option<Value>, String>>) -> Answer {
        let turn = match turn(&self.asked).await {
            Ok(turn) => turn,
            Err(answer) => return answer,
        };
        match asking.await {
            Ok(Some(found)) => held(&found, turn),
            Ok(None) => unknown("it is not there"),
            Err(why) => wrong(StatusCode::SERVICE_UNAVAILABLE, "away", &why),
        }
    }

    async fn post(&self, path: &str, query: &str, request: Request<Incoming>) -> Answer {
        // No page of another origin can send this without asking first, and it would not be allowed to.
        if let Some(why) = foreign(request.headers()) {
            return wrong(StatusCode::FORBIDDEN, "foreign", why);
        }
        match path {
            "/api/try" => {
                let route = parameter(query, "path").unwrap_or_default();
                match try_it::route(&self.config, &route) {
                    Some((stream, route)) => self.try_it(stream, route, request).await,
                    None => unknown("no route has this path"),
                }
            }
            "/api/dead-letters/replay" | "/api/dead-letters/discard" => {
                self.operate(path.ends_with("replay"), request).await
            }
            _ => unknown("there is nothing to post to"),
        }
    }

    async fn try_it(
        &self,
        stream: &Stream,
        route: &aguacero::config::Route,
        request: Request<Incoming>,
    ) -> Answer {
        let _room = match turn(&self.bodies).await {
            Ok(room) => room,
            Err(answer) => return answer,
        };
        let (head, body) = request.into_parts();
        let event = match read(body, try_it::bytes_max(&self.config)).await {
            Ok(event) => event,
            Err(answer) => return answer,
        };
        // Whoever is slow to send keeps nobody from reading.
        let turn = match turn(&self.asked).await {
            Ok(turn) => turn,
            Err(answer) => return answer,
        };
        match try_it::post(&self.config, stream, route, &head.headers, event).await {
            Ok(answered) => held(&answered, turn),
            Err(why) => wrong(StatusCode::BAD_GATEWAY, "gateway", &why),
        }
    }

    async fn operate(&self, is_replay: bool, request: Request<Incoming>) -> Answer {
        let given = request.headers().get(AUTHORIZATION);
        match token::judge(&self.config.console, given.map(HeaderValue::as_bytes)) {
            Verdict::Operator => {}
            Verdict::Wrong => {
                let words = "the token is not the operator's";
                let mut answer = wrong(StatusCode::UNAUTHORIZED, "token", words);
                let scheme = HeaderValue::from_static("Bearer realm=\"aguacero console\"");
                answer.headers_mut().insert("www-authenticate", scheme);
                return answer;
            }
            Verdict::Nobody => {
                let words = "no token is configured, so that nobody may: write one into a file, and its path as console.token_file";
                return wrong(StatusCode::FORBIDDEN, "no-token", words);
            }
        }
        let body = match read(request.into_body(), OPERATOR_BYTES_MAX).await {
            Ok(body) => serde_json::from_slice::<Value>(&body).unwrap_or_default(),
            Err(answer) => return answer,
        };
        let Some(id) = body["id"].as_str() else {
            return wrong(StatusCode::BAD_REQUEST, "body", "write {\"id\": \"…\"}");
        };
        let stream_of = body["as"].as_str().filter(|name| !name.is_empty());
        let outcome = match is_replay {
            true => self.operator.replay(id, stream_of).await,
            false => self.operator.discard(id).await,
        };
        tracing::info!(
            id,
            is_replay,
            ?outcome,
            "an operator has dealt with a dead letter"
        );
        match outcome {
            Outcome::Done(offset) => json(StatusCode::OK, &json!({ "id": id, "offset": offset })),
            Outcome::Unknown => unknown("there is no such dead letter"),
            Outcome::Failed(why) => wrong(StatusCode::CONFLICT, "failed", &why),
        }
    }
}

/// A turn, or the answer that there is none in time.
async fn turn(turns: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Answer> {
    if let Ok(Ok(turn)) = tokio::time::timeout(TURN_TIMEOUT, turns.clone().acquire_owned()).await {
        return Ok(turn);
    }
    let words = "too many ask at the same time: try again";
    let mut answer = wrong(StatusCode::SERVICE_UNAVAILABLE, "too-many", words);
    let after = HeaderValue::from_static("1");
    answer.headers_mut().insert(RETRY_AFTER, after);
    Err(answer)
}

/// Why a request may not come from a page of ours, if so.
fn foreign(headers: &HeaderMap) -> Option<&'static str> {
    let media_type = text_of(headers, CONTENT_TYPE.as_str());
    let media_type = media_type.split(';').next().unwrap_or_default().trim();
    if !media_type.eq_ignore_ascii_case("application/json") {
        return Some("send it as application/json");
    }
    let site = text_of(headers, "sec-fetch-site");
    if !matches!(site, "" | "same-origin" | "none") {
        return Some("it comes from a page of another site");
    }
    let origin = text_of(headers, ORIGIN.as_str());
    let of = origin.split_once("://").map(|(_, host)| host);
    let host = text_of(headers, HOST.as_str());
    (!origin.is_empty() && of != Some(host)).then_some("it comes from a page of another origin")
}

fn text_of<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    value.unwrap_or_default()
}

/// The whole body, or the answer that there is none.
async fn read(body: Incoming, bytes_max: usize) -> Result<Bytes, Answer> {
    let too_large = || {
        let words = format!("more than {bytes_max} bytes");
        let mut answer = wrong(StatusCode::PAYLOAD_TOO_LARGE, "too-large", &words);
        // The rest of the body is not read.
        let close = HeaderValue::from_static("close");
        answer.headers_mut().insert(CONNECTION, close);
        answer
    };
    if body.size_hint().lower() > bytes_max as u64 {
        return Err(too_large());
    }
    match tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, bytes_max).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => Err(too_large()),
        Ok(Err(_)) => Err(wrong(StatusCode::BAD_REQUEST, "body", "the body broke off")),
        Err(_) => Err(wrong(
            StatusCode::REQUEST_TIMEOUT,
            "body",
            "the body is slow",
        )),
    }
}

fn unknown(words: &str) -> Answer {
    wrong(StatusCode::NOT_FOUND, "not-found", words)
}

fn not_allowed(methods: &'static str) -> Answer {
    let status = StatusCode::METHOD_NOT_ALLOWED;
    let mut answer = wrong(status, "method", methods);
    let methods = HeaderValue::from_static(methods);
    answer.headers_mut().insert(ALLOW, methods);
    answer
}

/// A parameter of a query.
fn parameter(query: &str, name: &str) -> Option<String> {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.find(|(key, _)| *key == name)?;
    Some(decoded(value))
}

/// Without percent signs.
fn decoded(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, more @ ..] = rest {
        let digit = |at: usize| char::from(*more.get(at)?).to_digit(16);
        match (first, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                rest = &more[2..];
            }
            _ => {
                out.push(*first);
                rest = more;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_turn_is_waited_for_and_not_for_ever() {
        let turns = Arc::new(Semaphore::new(1));
        let held = turn(&turns).await.expect("a turn");
        let refused = turn(&turns).await.expect_err("no turn");
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(refused.headers().contains_key(RETRY_AFTER));
        drop(held);
        assert!(turn(&turns).await.is_ok());
    }

    #[test]
    fn percent_signs_are_decoded() {
        for (text, plain) in [
            ("a", "a"),
            ("%2Finput", "/input"),
            ("pa%C3%ads", "país"),
            ("100%", "100%"),
            ("%zz%4", "%zz%4"),
        ] {
            assert_eq!(decoded(text), plain);
        }
        assert_eq!(parameter("a=1&id=x%2Fy", "id").as_deref(), Some("x/y"));
        assert_eq!(parameter("a=1", "id"), None);
    }

    #[test]
    fn what_another_site_sends_is_not_taken() {
        let headers = |pairs: &[(&'static str, &'static str)]| {
            let pairs = pairs.iter();
            let pairs = pairs.map(|(name, value)| {
                let value = HeaderValue::from_static(value);
                (hyper::header::HeaderName::from_static(name), value)
            });
            pairs.collect::<HeaderMap>()
        };
        let json = ("content-type", "application/json");
        let host = ("host", "a.example");
        assert_eq!(foreign(&headers(&[json, host])), None);
        assert_eq!(
            foreign(&headers(&[json, host, ("origin", "https://a.example")])),
            None
        );
        for wrong in [
            &[host][..],
            &[host, ("content-type", "text/plain")],
            &[json, host, ("origin", "https://b.example")],
            &[json, host, ("origin", "null")],
            &[json, host, ("sec-fetch-site", "cross-site")],
        ] {
            assert!(foreign(&headers(wrong)).is_some(), "{wrong:?}");
        }
    }
}
