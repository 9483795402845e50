//! Names under which the console is served.

use std::net::IpAddr;

/// Whether `host`, as a browser sends it, is a name of the loopback, with any port or none. Only these are served on
/// a loopback address: a page of another site may let its own name stand for `127.0.0.1`, and would be of one
/// origin with the console.
pub(super) fn is_loopback(host: &str) -> bool {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, port),
        _ => (host, ""),
    };
    if !port.bytes().all(|b| b.is_ascii_digit()) {
        return false;
    }
    if let Some(inside) = name.strip_prefix('[') {
        let address = inside.strip_suffix(']').map(str::parse::<IpAddr>);
        return matches!(address, Some(Ok(IpAddr::V6(ip))) if ip.is_loopback());
    }
    name.eq_ignore_ascii_case("localhost")
        || matches!(name.parse(), Ok(IpAddr::V4(ip)) if ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_the_loopback_are_its_names() {
        for host in [
            "localhost",
            "LOCALHOST:8090",
            "127.0.0.1",
            "127.0.0.1:8090",
            "[::1]",
            "[::1]:8090",
        ] {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "",
            "a.example",
            "a.example:8090",
            "localhost.a.example",
            "127.0.0.1.a.example:8090",
            "10.0.0.1:8090",
            "[::2]:8090",
            "::1",
            "[::1",
            "localhost:a.example",
            "a.example@localhost",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
