//! Names and addresses: each function says what is wrong with one, if anything.

/// Counters' keys in Redis that are ours begin with these.
const RESERVED_COUNTERS: [&str; 6] = [
    "total",
    "overflow",
    "meta",
    "watermark",
    "pending",
    "settled",
];

/// The longest path that a Unix socket can have, with some room (`sun_path` has 108 bytes).
const SOCKET_BYTES_MAX: usize = 100;

/// Kafka's rule for topics, which is also that for `group.instance.id`.
pub(in crate::config) fn topic(name: &str) -> Option<&'static str> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let fits = (1..=249).contains(&name.len()) && name.chars().all(legal);
    (!fits || name == "." || name == "..").then_some(
        "must be 1 to 249 of a-z, A-Z, 0-9, \".\", \"_\" and \"-\", and not \".\" or \"..\"",
    )
}

/// Streams, counters and reserved partitions: what is safe in a key of Redis and in a metric.
pub(in crate::config) fn label(name: &str) -> Option<&'static str> {
    let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-');
    let fits = (1..=64).contains(&name.len()) && name.chars().all(legal);
    (!fits).then_some("must be 1 to 64 of a-z, 0-9, \"_\" and \"-\"")
}

/// A counter's.
pub(in crate::config) fn counter(name: &str) -> Option<String> {
    if let Some(what) = label(name) {
        return Some(what.to_owned());
    }
    let ours = RESERVED_COUNTERS
        .iter()
        .find(|reserved| name.starts_with(*reserved))?;
    Some(format!(
        "must not begin with \"{ours}\", which the ledger keeps for itself"
    ))
}

/// MongoDB's rule for databases.
pub(in crate::config) fn database(name: &str) -> Option<&'static str> {
    let illegal = |c: char| "/\\. \"$*<>:|?\0".contains(c);
    (!(1..=63).contains(&name.len()) || name.contains(illegal))
        .then_some("must be 1 to 63 bytes without any of / \\ . \" $ * < > : | ? and spaces")
}

/// MongoDB's rule for collections.
pub(in crate::config) fn collection(name: &str) -> Option<&'static str> {
    let fits = (1..=190).contains(&name.len()) && !name.contains(['$', '\0']);
    (!fits || name.starts_with("system.") || name.starts_with('.') || name.ends_with('.')).then_some(
        "must be 1 to 190 bytes without \"$\", and neither begin with \"system.\" nor begin or end with \".\"",
    )
}

/// A field of an event. It may become an index of the archive, so MongoDB must not read it as a
/// path or an operator.
pub(in crate::config) fn field(name: &str) -> Option<&'static str> {
    match name {
        "_id" | "_aguacero" => Some("is kept for the archive's own use; choose another name"),
        "" => Some("must not be empty"),
        name if name.len() > 255 => Some("must be at most 255 bytes"),
        name if name.starts_with('$') || name.contains(['.', '\0']) => {
            Some("must not begin with \"$\" or contain \".\", which have a meaning in MongoDB")
        }
        _ => None,
    }
}

/// A consumer group's.
pub(in crate::config) fn group(name: &str) -> Option<&'static str> {
    (!(1..=255).contains(&name.len())).then_some("must be 1 to 255 bytes")
}

/// A route's: a path as it stands in a request's target (RFC 3986, section 3.3).
pub(in crate::config) fn path(path: &str) -> Option<String> {
    let what = if !path.starts_with('/') {
        "must begin with \"/\""
    } else if path.contains(['?', '#']) {
        "must be a path alone, without \"?\" or \"#\""
    } else if !path.chars().all(|c| c.is_ascii_graphic()) {
        "must be visible ASCII; write anything else percent-encoded, as it is in the request"
    } else if let Some(c) = path.chars().find(|c| !is_of_path(*c)) {
        let encoded = format!("%{:02X}", u32::from(c));
        return Some(format!(
            "no request's path has \"{c}\" (RFC 3986); write {encoded}, as it is in the request"
        ));
    } else if !path.split('%').skip(1).all(begins_with_hex) {
        "has a \"%\" that two hexadecimal digits must follow; write %25 for the sign itself"
    } else if path.split('/').any(|segment| matches!(segment, "." | "..")) {
        "has a part \".\" or \"..\", which clients take out before they send it"
    } else if path.len() > 255 {
        "must be at most 255 bytes"
    } else {
        return None;
    };
    Some(what.to_owned())
}

/// RFC 3986's `pchar`, the slash between them, and the sign that begins a byte in hexadecimal digits.
fn is_of_path(c: char) -> bool {
    c.is_ascii_alphanumeric() || "/%-._~!$&'()*+,;=:@".contains(c)
}

fn begins_with_hex(text: &str) -> bool {
    let digits = text.as_bytes().get(..2);
    digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
}

/// `host:port`, comma-separated.
pub(in crate::config) fn brokers(list: &str) -> Option<String> {
    let wrong = list
        .split(',')
        .map(str::trim)
        .find(|broker| !is_host_and_port(broker))?;
    Some(format!(
        "must be host:port, and more of them after commas; \"{wrong}\" is not one"
    ))
}

fn is_host_and_port(broker: &str) -> bool {
    let Some((host, port)) = broker.rsplit_once(':') else {
        return false;
    };
    let port = port.parse::<u16>().is_ok_and(|port| port > 0);
    port && !host.is_empty() && !host.contains(|c: char| c.is_whitespace() || c == '/')
}

/// Redis'. What is wrong does not repeat the URL, which may hold a password.
pub(in crate::config) fn redis_url(url: &str) -> Option<&'static str> {
    if url.contains("#insecure") {
        return Some(
            "asks that Redis' certificate be believed unseen; take \"#insecure\" out and name its authority by ca",
        );
    }
    redis::IntoConnectionInfo::into_connection_info(url)
        .is_err()
        .then_some("must be like redis://host:port/db, or rediss://host:port/db for TLS")
}

/// Where a gateway is.
pub(in crate::config) fn http_url(url: &str) -> Option<&'static str> {
    let host = url.strip_prefix("http://").or(url.strip_prefix("https://"));
    let fits = host.is_some_and(|host| !host.is_empty() && !host.contains(['/', ' ', '@']));
    (!fits && !url.is_empty()).then_some("must be like http://host:port, without a path")
}

/// MongoDB's. What is wrong does not repeat the URI, which may hold a password.
pub(in crate::config) fn mongodb_uri(uri: &str) -> Option<&'static str> {
    const BLIND: [&str; 3] = [
        "tlsinsecure",
        "tlsallowinvalidcertificates",
        "tlsallowinvalidhostnames",
    ];
    let options = uri
        .split_once('?')
        .map_or("", |(_, options)| options)
        .to_ascii_lowercase();
    let mut options = options
        .split('&')
        .filter_map(|option| option.strip_suffix("=true"));
    if options.any(|option| BLIND.contains(&option)) {
        return Some(
            "asks that MongoDB's certificate be believed unseen; take the option out and name its authority by ca",
        );
    }
    let hosts = uri
        .strip_prefix("mongodb://")
        .or_else(|| uri.strip_prefix("mongodb+srv://"));
    hosts
        .is_none_or(str::is_empty)
        .then_some("must be like mongodb://host:port")
}

/// PostgreSQL's. What is wrong does not repeat the URL, which may hold a password.
pub(in crate::config) fn postgres_url(url: &str) -> Option<&'static str> {
    if url.contains("sslmode") || url.contains("sslnegotiation") {
        return Some("says how TLS is spoken; take that out, and write tls = true beside it");
    }
    let rest = url
        .strip_prefix("postgres://")
        .or_else(|| url.strip_prefix("postgresql://"));
    let database = rest
        .and_then(|rest| rest.split_once('/'))
        .map_or("", |(_, database)| database);
    let fits = !hosts(url).is_empty() && !database.is_empty() && !database.starts_with('?');
    (rest.is_none() || !fits).then_some("must be like postgres://host:port/database")
}

/// PostgreSQL's tables, columns and schemas: what needs no quotes there, and is not cut.
pub(in crate::config) fn sql(name: &str) -> Option<&'static str> {
    let legal = |c: char| c == '_' || c.is_ascii_digit() || c.is_alphabetic() && !c.is_uppercase();
    let fits = (1..=63).contains(&name.len()) && name.chars().all(legal);
    (!fits || name.starts_with(|c: char| c.is_ascii_digit())).then_some(
        "must be 1 to 63 bytes of small letters, digits and \"_\", and not begin with a digit",
    )
}

/// A type of PostgreSQL's, as it stands in SQL.
pub(in crate::config) fn sql_type(name: &str) -> Option<&'static str> {
    let legal = |c: char| c.is_alphanumeric() || " _.,()[]".contains(c);
    (name.len() > 200 || !name.chars().all(legal) || !name.starts_with(char::is_alphabetic))
        .then_some("must be a type of PostgreSQL's, like text, varchar(128) or numeric(12, 2)")
}

/// The database that knows a user of MongoDB; `$external` is one.
pub(in crate::config) fn auth_source(name: &str) -> Option<&'static str> {
    (name != "$external").then(|| database(name)).flatten()
}

/// `host:port` of a URL.
pub(in crate::config) fn hosts(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let rest = rest.rsplit_once('@').map_or(rest, |(_, hosts)| hosts);
    rest.split(['/', '?']).next().unwrap_or_default()
}

/// Whether `scheme://user:password@host` has a password.
pub(in crate::config) fn has_password(url: &str) -> bool {
    let after_scheme = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = after_scheme.split('/').next().unwrap_or_default();
    authority
        .rsplit_once('@')
        .is_some_and(|(user, _)| user.contains(':'))
}

/// A file's; an empty one is as good as none.
pub(in crate::config) fn file(path: &str) -> Option<&'static str> {
    path.contains('\0')
        .then_some("must be the path of a file, without NUL")
}

/// The name of a field of HTTP (RFC 9110, section 5.1).
pub(super) fn header_field(name: &str) -> Option<&'static str> {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    let is_name = !name.is_empty() && name.bytes().all(token);
    (!is_name).then_some("must be the name of a header field, like x-page")
}

/// An origin as a browser sends it (RFC 6454, section 6.2): in any other spelling it would never match.
pub(in crate::config) fn origin(origin: &str) -> Option<&'static str> {
    if origin == "null" {
        return Some("is what any sandboxed page sends; name the pages' own origin");
    }
    let Some((scheme, host)) = origin.split_once("://") else {
        return Some("must be scheme://host or scheme://host:port, like https://a.example");
    };
    let lower = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
        _ => (host, None),
    };
    let ordinary = match (scheme, port) {
        ("https", Some("443")) | ("http", Some("80")) => {
            return Some("must not name the scheme's own port, which a browser leaves out");
        }
        (_, None) => true,
        (_, Some(port)) => port
            .parse::<u16>()
            .is_ok_and(|p| p > 0 && p.to_string() == port),
    };
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_lowercase())
        && scheme.chars().all(|c| lower(c) || "+-.".contains(c));
    let is_name = match name.strip_prefix('[').and_then(|n| n.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !name.is_empty() && name.chars().all(|c| lower(c) || "-._".contains(c)),
    };
    (!ordinary || !is_scheme || !is_name).then_some(
        "must be scheme://host or scheme://host:port as a browser sends it: in lower case, with nothing behind",
    )
}

/// A Unix socket's.
pub(in crate::config) fn socket(path: &str) -> Option<String> {
    let length = path.len();
    (!(1..=SOCKET_BYTES_MAX).contains(&length)).then(|| {
        format!(
            "must be a path of 1 to {SOCKET_BYTES_MAX} bytes (a Unix socket's limit), has {length}"
        )
    })
}
