//! Which stream a request is for, and whether its header lets it in: what there is (404, 405), who may write (401,
//! 403), how fast (429), and then the rest.

use aguacero::config::{Access, Config, Stream, TextPlain, Via};
use hyper::{
    Method, Version,
    header::{
        ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, AUTHORIZATION,
        CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderMap, HeaderValue, ORIGIN,
        TRANSFER_ENCODING,
    },
    http::request::Parts,
};
use smallvec::SmallVec;

use crate::{
    answer::{respond::Answer, response_headers::ResponseHeaders},
    connection::request_target::Fragment,
    intake::ids::{ClientKey, IDEMPOTENCY_KEY},
    request::{
        cors::Allowed,
        expand::Coding,
        keys::Keys,
        preferences::{PREFER, Preferences},
        trace::{TRACEPARENT, TRACESTATE, Trace},
    },
};

/// Bytes of a path; no stream has one that long.
const PATH_BYTES_MAX: usize = 2048;

/// The media types of NDJSON; none is registered.
const NDJSON: [&str; 6] = [
    "application/x-ndjson",
    "application/ndjson",
    "application/jsonl",
    "application/x-jsonl",
    "application/jsonlines",
    "application/x-jsonlines",
];

/// What a routed request is held against.
#[derive(Debug)]
pub(crate) struct Target {
    /// Position in `Config::streams`.
    pub(crate) stream: usize,
    /// The route's way into Kafka.
    pub(crate) via: Via,
    pub(crate) coding: Coding,
    pub(crate) format: Format,
    /// The request's `Idempotency-Key`.
    pub(crate) client_key: Option<ClientKey>,
    pub(crate) trace: Option<Trace>,
    pub(crate) preferences: Preferences,
}

/// How a body holds its events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// An object, or an array of them.
    Json,
    /// One object a line.
    Ndjson,
}

impl Format {
    /// Whether `body` is a batch, even of one.
    pub(crate) fn is_batch(self, body: &[u8]) -> bool {
        self == Self::Ndjson || aguacero::accept::trim(body).first() == Some(&b'[')
    }
}

/// Finds the stream of a request, or the answer that refuses it; and what any answer to it carries. `place` is
/// whether there is one for its client.
pub(crate) fn route(
    config: &Config,
    keys: &Keys,
    request: &Parts,
    place: Result<(), Box<Answer>>,
    response_headers: &mut ResponseHeaders,
) -> Result<Target, Box<Answer>> {
    let path = request.uri.path();
    if path.len() > PATH_BYTES_MAX {
        return Err(Answer::uri_too_long(PATH_BYTES_MAX).into());
    }
    let serves = |path: &str| {
        config.streams.iter().enumerate().find_map(|(at, stream)| {
            let route = stream.routes.iter().find(|route| route.path == path)?;
            Some((at, route.via))
        })
    };
    let fields = Fields::of(&request.headers);
    check_host(request, &fields)?;
    if request.extensions.get::<Fragment>().is_some() {
        return Err(Answer::has_fragment().into());
    }
    if request.method == Method::OPTIONS && path == "*" {
        return Err(Answer::options().into());
    }
    if !path.starts_with('/') || request.method == Method::CONNECT {
        return Err(Answer::no_path().into());
    }
    let Some((stream, via)) = serves(path) else {
        return Err(Answer::no_such_route(path, config).into());
    };
    let declared = &config.streams[stream];
    response_headers.stream = Some(stream);
    if let Some(cors) = &declared.cors {
        let allowed = response_headers
            .allowed
            .insert(Allowed::to(cors, fields.origin));
        if request.method == Method::OPTIONS && fields.origin.is_some() && fields.is_preflight {
            return Err(allowed.preflight(cors, &fields.asked_headers).into());
        }
    }
    place?;
    match request.method {
        Method::POST => {}
        Method::OPTIONS => return Err(Answer::options().into()),
        ref other => return Err(Answer::method_not_allowed(other).into()),
    }
    if declared.access == Access::Keys {
        let owner = response_headers
            .owner
            .insert(keys.owner(&fields.authorizations)?);
        owner.may_write(&declared.name)?;
        owner.enter()?;
    }
    let is_chunked = check_framing(&fields)?;
    if request.version <= Version::HTTP_11 && fields.length.is_none() && !is_chunked {
        return Err(Answer::length_required().into());
    }
    check_sizes(config, &fields)?;
    Ok(Target {
        stream,
        via,
        coding: Coding::of(&fields.codings)?,
        format: format(&fields, declared)?,
        client_key: ClientKey::from_values(&fields.keys)?,
        trace: Trace::of(&fields.traceparents, &fields.tracestates),
        preferences: Preferences::of(request.uri.query(), &fields.preferences)?,
    })
}

/// The fields of a header that matter here, found in one pass: to look each of them up takes longer than all
/// the rest of routing.
#[derive(Default)]
struct Fields<'a> {
    /// Bytes of all fields.
    bytes: usize,
    hosts: SmallVec<[&'a HeaderValue; 1]>,
    length: Option<&'a HeaderValue>,
    transfer_codings: SmallVec<[&'a HeaderValue; 1]>,
    codings: SmallVec<[&'a HeaderValue; 1]>,
    content_types: SmallVec<[&'a HeaderValue; 1]>,
    keys: SmallVec<[&'a HeaderValue; 1]>,
    traceparents: SmallVec<[&'a HeaderValue; 1]>,
    tracestates: SmallVec<[&'a HeaderValue; 1]>,
    authorizations: SmallVec<[&'a HeaderValue; 1]>,
    preferences: SmallVec<[&'a HeaderValue; 1]>,
    origin: Option<&'a HeaderValue>,
    /// A browser asks before it sends the request itself.
    is_preflight: bool,
    asked_headers: SmallVec<[&'a HeaderValue; 1]>,
}

impl<'a> Fields<'a> {
    fn of(headers: &'a HeaderMap) -> Self {
        let mut fields = Self::default();
        for (name, value) in headers {
            fields.bytes += name.as_str().len() + value.len() + 4;
            match name {
                n if n == HOST => fields.hosts.push(value),
                n if n == CONTENT_LENGTH => fields.length = fields.length.or(Some(value)),
                n if n == CONTENT_TYPE => fields.content_types.push(value),
                n if n == CONTENT_ENCODING => fields.codings.push(value),
                n if n == TRANSFER_ENCODING => fields.transfer_codings.push(value),
                n if *n == IDEMPOTENCY_KEY => fields.keys.push(value),
                n if *n == TRACEPARENT => fields.traceparents.push(value),
                n if *n == TRACESTATE => fields.tracestates.push(value),
                n if n == AUTHORIZATION => fields.authorizations.push(value),
                n if n == ORIGIN => fields.origin = fields.origin.or(Some(value)),
                n if n == ACCESS_CONTROL_REQUEST_METHOD => fields.is_preflight = true,
                n if n == ACCESS_CONTROL_REQUEST_HEADERS => fields.asked_headers.push(value),
                n if *n == PREFER => fields.preferences.push(value),
                _ => {}
            }
        }
        fields
    }
}

/// RFC 9112, section 3.2: one field `Host` in HTTP/1.1, and in any version none that could be read in two ways.
fn check_host(request: &Parts, fields: &Fields<'_>) -> Result<(), Box<Answer>> {
    let is_http2 = request.version == Version::HTTP_2;
    let authority = request.uri.authority().map(|a| a.as_str());
    let detail = match fields.hosts[..] {
        _ if authority.is_some_and(|a| a.contains('@')) => "the target has a user's name in it",
        // RFC 9113, section 8.3.1.
        [host] if is_http2 && authority.is_some_and(|a| host != a) => {
            "the field Host is another than :authority"
        }
        [] if is_http2 && authority.is_none() => "the request has neither :authority nor Host",
        [] if request.version == Version::HTTP_11 => "the request has no field Host",
        [] => return Ok(()),
        [host] if is_host(host.as_bytes()) => return Ok(()),
        [_] => "the field Host is not the name or address of a host",
        _ => "the field Host is given more than once",
    };
    Err(Answer::bad_request(detail.into()).closing().into())
}

/// `uri-host [ ":" port ]` (RFC 3986, section 3.2.2), without percent signs, which no host's name has.
fn is_host(value: &[u8]) -> bool {
    let port = match value {
        [b'[', rest @ ..] => match memchr::memchr(b']', rest) {
            Some(end) if rest[..end].iter().all(is_of_address) => &rest[end + 1..],
            _ => return false,
        },
        _ => {
            let end = value.iter().position(|b| !OF_A_NAME[usize::from(*b)]);
            &value[end.unwrap_or(value.len())..]
        }
    };
    match port {
        [] => true,
        [colon, digits @ ..] => *colon == b':' && digits.iter().all(u8::is_ascii_digit),
    }
}

/// What the name of a host may have in it. Every request is looked at, so by a table.
static OF_A_NAME: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        table[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let others = b"-._~!$&'()*+,;=";
    let mut at = 0;
    while at < others.len() {
        table[others[at] as usize] = true;
        at += 1;
    }
    table
};

fn is_of_address(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b":.".contains(byte)
}

/// hyper has cut the body out already; whoever stands in front of us might have cut otherwise. (Beside a
/// Content-Length, hyper goes by the chunks and ends the connection, as RFC 9112 has it.) Whether the body
/// comes in chunks. Not even an empty member is
/// ignored in this list, as others would be: who ignores it sees chunks, and who does not sees none.
fn check_framing(fields: &Fields<'_>) -> Result<bool, Box<Answer>> {
    match fields.transfer_codings[..] {
        [] => Ok(false),
        [coding] if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(true),
        _ => Err(Answer::bad_framing().into()),
    }
}

fn check_sizes(config: &Config, fields: &Fields<'_>) -> Result<(), Box<Answer>> {
    if fields.bytes > config.gateway.header_bytes_max {
        let max = config.gateway.header_bytes_max;
        return Err(Answer::header_too_large(fields.bytes, max).into());
    }
    match fields
        .length
        .and_then(|v| v.to_str().ok()?.parse::<u64>().ok())
    {
        Some(length) if length > config.gateway.body_bytes_max as u64 => {
            Err(Answer::body_too_large(config.gateway.body_bytes_max).into())
        }
        _ => Ok(()),
    }
}

/// How the body holds its events. Parameters mean nothing: JSON has no charset (RFC 8259, section 11), and its bytes tell
/// whether they are UTF-8.
fn format(fields: &Fields<'_>, stream: &Stream) -> Result<Format, Box<Answer>> {
    const SEND: &str = "send application/json or application/x-ndjson";
    let [value] = fields.content_types[..] else {
        let number = if fields.content_types.is_empty() {
            "no"
        } else {
            "more than one"
        };
        let detail = format!("the request has {number} Content-Type: {SEND}");
        return Err(Answer::unsupported(detail).into());
    };
    match value.as_bytes() {
        b"application/json" => return Ok(Format::Json), // as nearly everybody says it
        b"application/x-ndjson" => return Ok(Format::Ndjson),
        _ => {}
    }
    let text = String::from_utf8_lossy(value.as_bytes());
    let kind = text.split(';').next().unwrap_or_default().trim();
    match kind.to_ascii_lowercase().as_str() {
        "application/json" => Ok(Format::Json),
        kind if NDJSON.contains(&kind) => Ok(Format::Ndjson),
        "text/plain" if stream.text_plain == Some(TextPlain::Json) => Ok(Format::Json),
        "text/plain" if stream.text_plain == Some(TextPlain::Ndjson) => Ok(Format::Ndjson),
        _ => {
            Err(Answer::unsupported(format!("Content-Type {kind} is not supported: {SEND}")).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_name_or_an_address_and_perhaps_a_port() {
        for host in [
            "",
            "x",
            "a.example",
            "127.0.0.1:8080",
            "a:",
            "[::1]",
            "[::1]:80",
            "a-b_c~d",
        ] {
            assert!(is_host(host.as_bytes()), "{host}");
        }
        for host in [
            "a b",
            "a/b",
            "u@a",
            "a:b",
            "a:1:2",
            "a:b:c]%zz",
            "[::1",
            "[::1]x",
            "[::1]:x",
            "[g/]",
            "a%41",
            "a\u{e9}",
        ] {
            assert!(!is_host(host.as_bytes()), "{host}");
        }
    }
}
