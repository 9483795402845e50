//! A configuration: what it declares, or every mistake with its place.

use aguacero::config::Config;

/// Between the file and the environment, one `NAME=value` a line.
const ENVIRONMENT: &str = "\n#environment\n";

pub(super) fn run(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let (file, environment) = text.split_once(ENVIRONMENT).unwrap_or((&text, ""));
    let variables = environment.lines().filter_map(|line| line.split_once('='));
    let variables: Vec<_> = variables
        .map(|(n, v)| (n.to_owned(), v.to_owned()))
        .collect();
    match Config::parse(file, "fuzzed.toml", variables) {
        Ok(config) => {
            let gateway = &config.gateway;
            assert!(!config.streams.is_empty() && !config.topics.is_empty());
            assert!(config.kafka.message_timeout < gateway.ack_timeout);
            assert!(gateway.ack_timeout < gateway.request_timeout);
            assert!(gateway.workers > 0);
            for stream in &config.streams {
                assert!(!config.topic_of(stream).ordinary.is_empty());
                assert!(stream.name.len() <= 64, "{}", stream.name);
            }
        }
        Err(mistakes) => {
            let lines = file.lines().count() + 1;
            assert!(mistakes.iter().len() > 0);
            for mistake in mistakes.iter() {
                assert!(
                    mistake.line <= lines,
                    "line {} of {lines}: {}",
                    mistake.line,
                    mistake.what
                );
                assert!(!mistake.what.is_empty());
            }
            assert!(!mistakes.to_string().is_empty());
        }
    }
}
