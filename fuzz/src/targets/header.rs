//! A request's header: `path`, then one field a line, as hyper would hand them over.

use gateway::fuzzing::route;
use hyper::{
    Request, Version,
    header::{HeaderName, HeaderValue},
    http::{request::Parts, uri::Authority},
};

use super::CONFIG;

pub(super) fn run(input: &[u8]) {
    let mut lines = input.split(|b| *b == b'\n');
    let Some(request) = lines.next().and_then(|path| request(path, lines)) else {
        return;
    };
    let shown = format!("{request:?}");
    match route(&CONFIG, &request) {
        Ok(routed) => {
            check_fields(&request, routed.is_ndjson);
            let Some(key) = routed.key else { return };
            // An answer gives the key back so that it is read as the same.
            let mut again = request;
            let value = HeaderValue::from_str(&key).unwrap_or_else(|e| panic!("{e}: {key}"));
            again.headers.insert("idempotency-key", value);
            let again = route(&CONFIG, &again).map(|routed| routed.key);
            assert_eq!(again, Ok(Some(key)), "{shown}");
        }
        Err(status) => assert!(
            [200, 204, 400, 404, 405, 411, 413, 414, 415, 431, 501].contains(&status),
            "{status}: {shown}"
        ),
    }
}

fn request<'a>(path: &[u8], fields: impl Iterator<Item = &'a [u8]>) -> Option<Parts> {
    let mut request = Request::post(std::str::from_utf8(path).ok()?);
    request = request.version(Version::HTTP_11);
    for field in fields {
        let colon = field.iter().position(|b| *b == b':')?;
        let name = HeaderName::from_bytes(&field[..colon]).ok()?;
        let value = HeaderValue::from_bytes(field[colon + 1..].trim_ascii()).ok()?;
        request = request.header(name, value);
    }
    let request = request.body(()).ok()?;
    Some(request.into_parts().0)
}

/// The names that NDJSON has.
const NDJSON: [&[u8]; 6] = [
    b"application/x-ndjson",
    b"application/ndjson",
    b"application/jsonl",
    b"application/x-jsonl",
    b"application/jsonlines",
    b"application/x-jsonlines",
];

/// What is let in says what it is, once.
fn check_fields(request: &Parts, is_ndjson: bool) {
    let all = |name: &str| {
        request
            .headers
            .get_all(name)
            .iter()
            .map(HeaderValue::as_bytes)
            .collect::<Vec<_>>()
    };
    let [host] = all("host")[..] else {
        panic!("let in without one Host: {request:?}");
    };
    assert!(!host.contains(&b'@'), "{request:?}");
    if !host.is_empty() && !host.starts_with(b":") {
        assert!(Authority::try_from(host).is_ok(), "no host: {request:?}");
    }
    let kinds = all("content-type");
    let kind = kinds
        .first()
        .map(|kind| kind.to_ascii_lowercase())
        .unwrap_or_default();
    let kind = kind.split(|b| *b == b';').next().unwrap_or_default();
    let expected: &[&[u8]] = match is_ndjson {
        true => &NDJSON,
        false => &[b"application/json"],
    };
    assert!(expected.contains(&kind.trim_ascii()), "{request:?}");
    let codings = all("content-encoding");
    let codings = codings.iter().flat_map(|list| list.split(|b| *b == b','));
    let codings = codings.filter(|coding| !coding.trim_ascii().is_empty());
    assert!(
        all("idempotency-key").len() < 2 && codings.count() < 2,
        "{request:?}"
    );
    for key in all("idempotency-key") {
        assert!(
            !key.is_empty() && key.iter().all(u8::is_ascii_graphic),
            "{request:?}"
        );
    }
}
