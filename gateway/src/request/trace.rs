//! A request's trace context (W3C Trace Context), which is passed on to Kafka: only what is one, so that whoever reads the
//! records can rely on it.

use bytes::Bytes;
use hyper::header::{HeaderName, HeaderValue};

/// Which span the request is part of.
pub(crate) static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// What tracing systems add to that.
pub(crate) static TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Bytes of a `traceparent` of version 00, with which those of later versions begin.
const PARENT_BYTES: usize = 55;
/// Bytes of a `traceparent` of a later version.
const PARENT_BYTES_MAX: usize = 128;
/// Bytes of a `tracestate` that everybody has to pass on (section 3.3.1.5); a longer one is left out.
const STATE_BYTES_MAX: usize = 512;
/// Members of a `tracestate`.
const MEMBERS_MAX: usize = 32;

/// A trace context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trace {
    /// `traceparent`
    pub(crate) parent: Bytes,
    /// `tracestate`, or empty.
    pub(crate) state: Bytes,
}

impl Trace {
    /// That of the fields `traceparent` and `tracestate`; none if the former is not one, since the latter means nothing
    /// alone. What is no `tracestate` is left out.
    pub(crate) fn of(parents: &[&HeaderValue], states: &[&HeaderValue]) -> Option<Self> {
        let [parent] = parents else { return None };
        let parent = parent.as_bytes();
        is_parent(parent).then(|| Self {
            parent: Bytes::copy_from_slice(parent),
            state: state(states).unwrap_or_default(),
        })
    }
}

/// `version "-" trace-id "-" parent-id "-" trace-flags`, each in hexadecimal digits in lower case (section 3.2.2).
fn is_parent(value: &[u8]) -> bool {
    let Some((first, rest)) = value.split_at_checked(PARENT_BYTES) else {
        return false;
    };
    let hex = |bytes: &[u8]| bytes.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let is_zero = |bytes: &[u8]| bytes.iter().all(|b| *b == b'0');
    let [version, trace, span, flags] = [0..2, 3..35, 36..52, 53..55].map(|part| &first[part]);
    let is_separated = [2, 35, 52].iter().all(|at| first[*at] == b'-');
    let has_known_end = match version {
        b"00" => rest.is_empty(),
        b"ff" => false,
        _ => rest.first().is_none_or(|b| *b == b'-') && value.len() <= PARENT_BYTES_MAX,
    };
    let parts = [version, trace, span, flags];
    is_separated
        && has_known_end
        && parts.iter().all(|p| hex(p))
        && !is_zero(trace)
        && !is_zero(span)
}

/// The list of all the fields, if it is one (section 3.3.1).
fn state(fields: &[&HeaderValue]) -> Option<Bytes> {
    let mut list: Vec<u8> = Vec::new();
    let mut keys: Vec<&[u8]> = Vec::new();
    for member in fields
        .iter()
        .flat_map(|field| field.as_bytes().split(|b| *b == b','))
    {
        let member = member.trim_ascii();
        if member.is_empty() {
            continue;
        }
        let equals = memchr::memchr(b'=', member)?;
        let (key, value) = (&member[..equals], &member[equals + 1..]);
        if !is_key(key) || !is_value(value) || keys.contains(&key) || keys.len() == MEMBERS_MAX {
            return None;
        }
        keys.push(key);
        if !list.is_empty() {
            list.push(b',');
        }
        list.extend_from_slice(member);
    }
    (list.len() <= STATE_BYTES_MAX).then(|| list.into())
}

/// `simple-key`, or `tenant-id "@" system-id` (section 3.3.1.3.1).
fn is_key(key: &[u8]) -> bool {
    let other = |b: &u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'*' | b'/');
    let (tenant, system) = match memchr::memchr(b'@', key) {
        Some(at) => (Some(&key[..at]), &key[at + 1..]),
        None => (None, key),
    };
    let is_tenant = |tenant: &[u8]| {
        (1..=241).contains(&tenant.len())
            && !b"_-*/".contains(&tenant[0])
            && tenant.iter().all(other)
    };
    let system_max = if tenant.is_some() { 14 } else { 256 };
    tenant.is_none_or(is_tenant)
        && (1..=system_max).contains(&system.len())
        && system[0].is_ascii_lowercase()
        && system.iter().all(other)
}

/// Printable ASCII without commas and equals signs, not ending in a space (section 3.3.1.3.2).
fn is_value(value: &[u8]) -> bool {
    (1..=256).contains(&value.len())
        && value
            .iter()
            .all(|b| matches!(b, b' '..=b'~') && !b",=".contains(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn of(parents: &[&str], states: &[&str]) -> Option<(String, String)> {
        let values = |texts: &[&str]| -> Vec<HeaderValue> {
            let value = |text: &&str| HeaderValue::from_bytes(text.as_bytes()).unwrap();
            texts.iter().map(value).collect()
        };
        let (parents, states) = (values(parents), values(states));
        let (parents, states): (Vec<_>, Vec<_>) =
            (parents.iter().collect(), states.iter().collect());
        let trace = Trace::of(&parents, &states)?;
        let text = |bytes: Bytes| String::from_utf8(bytes.to_vec()).unwrap();
        Some((text(trace.parent), text(trace.state)))
    }

    #[test]
    fn only_what_is_a_traceparent_is_one() {
        let later = PARENT.replacen("00", "cc", 1);
        for good in [
            PARENT.to_owned(),
            later.clone(),
            format!("{later}-what-comes-later"),
        ] {
            assert_eq!(of(&[&good], &[]), Some((good, String::new())));
        }
        for bad in [
            "",
            "x",
            &PARENT[..54],
            &format!("{PARENT}-00"),
            &format!("{later}x"),
            &format!("{later}-{}", "x".repeat(PARENT_BYTES_MAX)),
            &PARENT.replacen("00", "ff", 1),
            &PARENT.to_uppercase(),
            &PARENT.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            &PARENT.replace("00f067aa0ba902b7", &"0".repeat(16)),
            &PARENT.replacen('-', "_", 1),
            &PARENT.replacen("-01", "-0g", 1),
            "00-4bf92f3577b34da6a3ce929d0e0e47\u{e9}-00f067aa0ba902b7-01",
        ] {
            assert_eq!(of(&[bad], &["a=1"]), None, "{bad}");
        }
        assert_eq!(of(&[PARENT, PARENT], &[]), None, "two of them");
        assert_eq!(of(&[], &["a=1"]), None, "nothing to add to");
    }

    #[test]
    fn only_what_is_a_tracestate_goes_with_it() {
        let state = |states: &[&str]| of(&[PARENT], states).expect("a traceparent").1;
        assert_eq!(
            state(&["congo=t61 rcWkgMzE ,, rojo=00f067", "", "fw529a3039@dt=x"]),
            "congo=t61 rcWkgMzE,rojo=00f067,fw529a3039@dt=x"
        );
        for bad in [
            "a",
            "=1",
            "a=",
            "A=1",
            "a=b=c",
            "a=1,a=2",
            "1a=1",
            "@dt=1",
            "a@=1",
            "a@toolongsystemid=1",
            "a=\u{e9}",
            "a=1\tb",
            &format!("a={}", "x".repeat(257)),
        ] {
            assert_eq!(state(&[bad]), "", "{bad}");
        }
        let members = |n: usize| {
            (0..n)
                .map(|i| format!("k{i}=1"))
                .collect::<Vec<_>>()
                .join(",")
        };
        assert_eq!(state(&[&members(32)]), members(32));
        assert_eq!(state(&[&members(33)]), "");
        let long = |n: usize| {
            (0..3)
                .map(|i| format!("k{i}={}", "x".repeat(n)))
                .collect::<Vec<_>>()
                .join(",")
        };
        assert_eq!(state(&[&long(160)]), long(160));
        assert_eq!(state(&[&long(180)]), "");
    }
}
