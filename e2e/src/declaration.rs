//! A file of streams as a test runs it: its topics get a prefix, so that another test may run at the same time, and its
//! routes go by another producer, if the whole run is to.

use aguacero::config::Via;

/// The producer that every route of every test goes by, if the environment says so: `E2E_VIA=wasm`.
pub(crate) fn via_of_all() -> Option<Via> {
    let name = std::env::var("E2E_VIA").ok().filter(|n| !n.is_empty())?;
    let via = Via::ALL.into_iter().find(|via| via.name() == name);
    Some(via.unwrap_or_else(|| panic!("E2E_VIA={name}: there is no such transport")))
}

/// `toml` with every route going by `via`.
pub(crate) fn with_routes_by(via: Via, toml: &str) -> String {
    let mut is_route = false;
    let rerouted = |line: &str| {
        let trimmed = line.trim_start();
        if trimmed.starts_with('[') {
            is_route = trimmed.starts_with("[[streams.") && trimmed.contains(".routes]]");
        }
        let key = trimmed.split('=').next().unwrap_or_default().trim_end();
        match (is_route, key) {
            (true, "via") => "\n".to_owned(),
            (true, "path") => format!("{line}\nvia = \"{}\"\n", via.name()),
            _ => format!("{line}\n"),
        }
    };
    toml.lines().map(rerouted).collect()
}

/// `toml` with every topic called `{prefix}{its name}`; nothing else is changed.
pub(crate) fn with_topics_called(prefix: &str, toml: &str) -> String {
    let renamed = |line: &str| {
        let line = line.trim_start();
        if let Some(name) = line.strip_prefix("[topics.") {
            return format!("[topics.{prefix}{name}\n");
        }
        let value = line
            .strip_prefix("topic")
            .map(str::trim_start)
            .and_then(|l| l.strip_prefix('='));
        match value.and_then(|v| v.trim_start().strip_prefix('"')) {
            Some(name) => format!("topic = \"{prefix}{name}\n"),
            None => format!("{line}\n"),
        }
    };
    toml.lines().map(renamed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_routes_go_another_way() {
        let toml = "[topics.t]\n[streams.s]\n[[streams.s.routes]]\nvia = \"grpc\" # as ever\n  path = \"/s\"\n\
                    [consumer]\npath = 1\n";
        let rerouted = "[topics.t]\n[streams.s]\n[[streams.s.routes]]\n\n  path = \"/s\"\nvia = \"wasm\"\n\
                        [consumer]\npath = 1\n";
        assert_eq!(with_routes_by(Via::Wasm, toml), rerouted);
    }

    #[test]
    fn only_topics_are_called_differently() {
        let toml = " [topics.messages] # a topic\n[streams.messages]\n  topic   = \"messages\" # it\narchive = \"messages\"\n";
        let renamed = "[topics.x-messages] # a topic\n[streams.messages]\ntopic = \"x-messages\" # it\narchive = \"messages\"\n";
        assert_eq!(with_topics_called("x-", toml), renamed);
    }
}
