//! A file of streams under which another test may run at the same time: its topics get a prefix.

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
    fn only_topics_are_called_differently() {
        let toml = " [topics.messages] # a topic\n[streams.messages]\n  topic   = \"messages\" # it\narchive = \"messages\"\n";
        let renamed = "[topics.x-messages] # a topic\n[streams.messages]\ntopic = \"x-messages\" # it\narchive = \"messages\"\n";
        assert_eq!(with_topics_called("x-", toml), renamed);
    }
}
