//! Pages of other origins that write from a browser (CORS, as the Fetch standard has it), without credentials
//! of the browser's own: a key's token is sent by the page.

use aguacero::config::Cors;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, HeaderName, HeaderValue, VARY,
};

use crate::answer::respond::Answer;

/// Fields that mean something here, so that any page may send them.
const SENT: &str = "authorization, content-type, content-encoding, idempotency-key, prefer, traceparent, tracestate";
/// Bytes of the names of others that a page asks for; what is beyond is not allowed.
const ASKED_BYTES_MAX: usize = 2048;
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

    /// The answer to what a browser asks first: whether the page may send the request that it is about to, with the
    /// fields that are `asked` for. Any may be sent unless the stream lists them: no credentials are in play, and the
    /// gateway ignores those that it does not know.
    pub(crate) fn preflight(&self, cors: &Cors, asked: &[&HeaderValue]) -> Answer {
        let answer = Answer::options();
        match self.0 {
            None => answer,
            Some(_) => answer
                .field(&ACCESS_CONTROL_ALLOW_METHODS, "POST")
                .field(&ACCESS_CONTROL_ALLOW_HEADERS, &sendable(cors, asked))
                .field(&ACCESS_CONTROL_MAX_AGE, &cors.max_age.as_secs().to_string()),
        }
    }

    /// With the fields that let the page read it.
    pub(crate) fn add_to(self, answer: Answer) -> Answer {
        let vary = match answer.status {
            204 => "Origin, Access-Control-Request-Headers", // to OPTIONS
            _ => "Origin",
        };
        let answer = answer.field(&VARY, vary);
        match self.0.as_ref().and_then(|origin| origin.to_str().ok()) {
            None => answer,
            Some(origin) => answer
                .field(&ACCESS_CONTROL_ALLOW_ORIGIN, origin)
                .field(&ACCESS_CONTROL_EXPOSE_HEADERS, SHOWN),
        }
    }
}

/// The names of the fields that a page may send.
fn sendable(cors: &Cors, asked: &[&HeaderValue]) -> String {
    if let Some(listed) = &cors.headers {
        let names = std::iter::once(SENT).chain(listed.iter().map(String::as_str));
        return names.collect::<Vec<_>>().join(", ");
    }
    let asked = asked
        .iter()
        .flat_map(|value| value.as_bytes().split(|b| *b == b','));
    let names = asked.filter_map(|name| std::str::from_utf8(name.trim_ascii()).ok());
    let mut sendable = SENT.to_owned();
    for name in names.filter(|name| HeaderName::from_bytes(name.as_bytes()).is_ok()) {
        if SENT.split(", ").any(|sent| name.eq_ignore_ascii_case(sent)) {
            continue;
        }
        if sendable.len() + name.len() > SENT.len() + ASKED_BYTES_MAX {
            break;
        }
        sendable += ", ";
        sendable += &name.to_ascii_lowercase();
    }
    sendable
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn beside_sent(headers: Option<&[&str]>, asked: &[&str]) -> String {
        let cors = Cors {
            origins: vec!["*".into()],
            headers: headers.map(|names| names.iter().map(|name| (*name).to_owned()).collect()),
            max_age: Duration::ZERO,
        };
        let asked: Vec<_> = asked.iter().map(|value| value.parse().unwrap()).collect();
        let sendable = sendable(&cors, &asked.iter().collect::<Vec<_>>());
        sendable.strip_prefix(SENT).unwrap().to_owned()
    }

    #[test]
    fn a_page_may_send_what_it_asks_for_unless_the_stream_lists_it() {
        let asked = ["sentry-trace,baggage", "", "Idempotency-Key, X-Own"];
        assert_eq!(beside_sent(None, &asked), ", sentry-trace, baggage, x-own");
        assert_eq!(beside_sent(Some(&["x-page"]), &asked), ", x-page");
        assert_eq!(beside_sent(Some(&[]), &asked), "");
    }

    #[test]
    fn only_names_are_given_back_and_not_without_end() {
        assert_eq!(beside_sent(None, &["a b, c\"d, (e), \u{e9}, ,f"]), ", f");
        let many = "x-long-name,".repeat(1000);
        let given = beside_sent(None, &[&many]).len();
        assert!(
            (ASKED_BYTES_MAX - 20..=ASKED_BYTES_MAX + 20).contains(&given),
            "{given}"
        );
    }
}
