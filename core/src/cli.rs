//! The command line that every process shares: `run` and `check`, each with `--config`; `check --connect` of those that
//! talk to stores asks them too.
//!
//! ```no_run
//! use aguacero::cli::{self, ConfigFile};
//! use clap::Parser;
//!
//! #[derive(clap::Parser)]
//! enum Command {
//!     /// Takes events until it is told to stop.
//!     Run(ConfigFile),
//!     /// Reads the configuration and reports every mistake in it.
//!     Check(ConfigFile),
//! }
//!
//! match Command::parse() {
//!     Command::Check(file) => cli::check(&file),
//!     Command::Run(file) => {
//!         let config = cli::load_or_exit(&file);
//!         // … and what came of running it:
//!         cli::exit_on_error(Ok(()))
//!     }
//! }
//! ```

use std::{
    fmt::{self, Display},
    io::Write,
    path::PathBuf,
    process::exit,
    time::Duration,
};

use crate::config::{
    Access, Config, Counter, FilesOf, Key, OnIdConflict, Partitioning, Route, Stream, Topic, Via,
};

/// The exit status of a process whose configuration has mistakes.
const MISTAKES: i32 = 2;
/// The exit status of a process that could not do what it was to do.
const FAILED: i32 = 1;

/// Where the configuration is.
#[derive(Debug, Clone, clap::Args)]
pub struct ConfigFile {
    /// The file that declares topics and streams
    #[arg(
        long,
        value_name = "FILE",
        env = "AGUACERO_CONFIG",
        default_value = "aguacero.toml"
    )]
    pub config: PathBuf,
}

/// Reads the configuration, or prints every mistake in it and exits.
#[must_use]
pub fn load_or_exit(file: &ConfigFile) -> Config {
    load_for(file, &[])
}

/// [`load_or_exit`] of a process that reads `files`: those that are named must be there.
#[must_use]
pub fn load_for(file: &ConfigFile, files: &[FilesOf]) -> Config {
    Config::load(&file.config, files).unwrap_or_else(|mistakes| {
        eprintln!("{mistakes}");
        exit(MISTAKES)
    })
}

/// The same with the keys, for the gateway.
#[must_use]
pub fn load_with_keys_or_exit(file: &ConfigFile) -> (Config, Vec<Key>) {
    Config::load_with_keys(&file.config).unwrap_or_else(|mistakes| {
        mistakes.iter().for_each(|of_file| eprintln!("{of_file}"));
        exit(MISTAKES)
    })
}

/// Reads the configuration, prints what it declares (or every mistake in it), and exits.
pub fn check(file: &ConfigFile) -> ! {
    check_for(file, &[])
}

/// [`check()`] of a process that reads `files`.
pub fn check_for(file: &ConfigFile, files: &[FilesOf]) -> ! {
    tell(file, &load_for(file, files))
}

/// What `check` of a process that talks to stores takes.
#[derive(Debug, Clone, clap::Args)]
pub struct Check {
    #[command(flatten)]
    file: ConfigFile,
    /// Ask the stores too: how they are set, and what that does to what is promised
    #[arg(long)]
    connect: bool,
}

/// [`check()`] of a process that reads `files`. With `--connect`, `ask` asks the stores: each answer is a text,
/// and whether nothing in it would be refused at start. If anything would be, the exit status is 1.
pub async fn check_with_stores(
    check: &Check,
    files: &[FilesOf],
    ask: impl AsyncFnOnce(&Config) -> Vec<(String, bool)>,
) -> ! {
    let config = load_for(&check.file, files);
    if !check.connect {
        tell(&check.file, &config);
    }
    print(&check.file, &config);
    let mut is_right = true;
    for (text, is_right_there) in ask(&config).await {
        // Whoever closed the pipe has seen enough.
        _ = write!(std::io::stdout(), "\n{text}");
        is_right &= is_right_there;
    }
    exit(if is_right { 0 } else { FAILED })
}

/// [`check()`] with the keys, for the gateway.
pub fn check_with_keys(file: &ConfigFile) -> ! {
    tell(file, &load_with_keys_or_exit(file).0)
}

/// Ends a process that could not do what it was to do, with status 1 and one line of what and why: `main` calls
/// this with what came of it. (Were it to return the error, the user got a backtrace where `RUST_BACKTRACE` is
/// set, and the process waited for calls to stores that do not answer.)
pub fn exit_on_error(result: anyhow::Result<()>) {
    if let Err(error) = result {
        // Whoever closed the pipe does not want to know.
        _ = writeln!(std::io::stderr(), "Error: {error:#}");
        exit(FAILED)
    }
}

fn tell(file: &ConfigFile, config: &Config) -> ! {
    print(file, config);
    exit(0)
}

fn print(file: &ConfigFile, config: &Config) {
    let name = file.config.display();
    let warnings: String = config
        .warnings
        .iter()
        .map(|warning| format!("\nwarning: {warning}"))
        .collect();
    // Whoever closed the pipe has seen enough.
    _ = writeln!(
        std::io::stdout(),
        "{name} has no mistakes{warnings}\n\n{}",
        Summary(config)
    );
}

/// Logs what should be looked at; to be called when logs are written.
pub fn warn(config: &Config) {
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
}

/// What a configuration declares, on one screen.
#[derive(Debug, Clone, Copy)]
pub struct Summary<'a>(pub &'a Config);

impl Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let config = self.0;
        for topic in &config.topics {
            writeln!(f, "topic   {}: {}", topic.name, topic_line(topic))?;
        }
        for stream in &config.streams {
            writeln!(
                f,
                "stream  {}: {}",
                stream.name,
                stream_line(config, stream)
            )?;
            writeln!(f, "        {}", access_line(stream))?;
            writeln!(f, "        counts {}", counters_line(stream))?;
        }
        writeln!(f, "\ndeadlines    {}", deadlines(config))?;
        writeln!(f, "in flight    {}", in_flight(config))?;
        write!(f, "fingerprint  {:016x}", config.fingerprint)
    }
}

fn topic_line(topic: &Topic) -> String {
    let Topic {
        partitions,
        replication,
        min_insync,
        retention_min,
        retention_min_bytes,
        ..
    } = topic;
    let retention_min = match (retention_min.as_millis(), retention_min_bytes) {
        (0, 0) => String::new(),
        (ms, 0) => format!(", kept for {} s at least", ms / 1000),
        (0, bytes) => format!(", {bytes} bytes of a partition kept at least"),
        (ms, bytes) => format!(
            ", kept for {} s and {bytes} bytes of a partition at least",
            ms / 1000
        ),
    };
    let reserved = topic
        .reserved
        .iter()
        .map(|(name, number)| format!(", {number} for {name}"));
    let reserved: String = reserved.collect();
    format!(
        "partitions {partitions}, replication {replication}, min_insync {min_insync}{reserved}{retention_min}"
    )
}

/// `POST /input → messages (sticky) → archive messages`
fn stream_line(config: &Config, stream: &Stream) -> String {
    let path = |route: &Route| match route.via {
        Via::Grpc => route.path.clone(),
        other => format!("{} (by the {})", route.path, other.process()),
    };
    let paths: Vec<_> = stream.routes.iter().map(path).collect();
    let rules = match stream.spread.rules.len() {
        0 => String::new(),
        1 => "1 rule, else ".to_owned(),
        n => format!("{n} rules, else "),
    };
    let otherwise = match stream.spread.otherwise {
        Partitioning::Sticky => "sticky".to_owned(),
        Partitioning::Key(position) => format!("by {}", stream.fields[position].name),
    };
    let (paths, topic, archive) = (
        paths.join(", "),
        &config.topic_of(stream).name,
        &stream.archive,
    );
    let conflict = match stream.on_id_conflict {
        OnIdConflict::DeadLetter => "",
        OnIdConflict::First => " (of events with one id, the first)",
    };
    format!("POST {paths} → {topic} ({rules}{otherwise}) → archive {archive}{conflict}")
}

fn access_line(stream: &Stream) -> String {
    let who = match stream.access {
        Access::Open => "open: anyone may write",
        Access::Keys => "takes events with a key",
    };
    match &stream.cors {
        None => who.to_owned(),
        Some(cors) => format!("{who}; from browsers on {}", cors.origins.join(", ")),
    }
}

fn counters_line(stream: &Stream) -> String {
    let counter = |counter: &Counter| {
        let by: Vec<_> = counter
            .by
            .iter()
            .map(|by| stream.fields[*by].name.as_str())
            .collect();
        format!(
            ", {} ({}, at most {})",
            counter.name,
            by.join(" and "),
            counter.max_distinct
        )
    };
    let counters: String = stream.counters.iter().map(counter).collect();
    format!("total{counters}")
}

fn deadlines(config: &Config) -> String {
    let message = seconds(config.kafka.message_timeout);
    let ack = seconds(config.gateway.ack_timeout);
    let request = seconds(config.gateway.request_timeout);
    format!(
        "Kafka {message} < receipt {ack} < request {request} < what the ingress in front allows"
    )
}

fn in_flight(config: &Config) -> String {
    let partition = mebibytes(config.gateway.partition_bytes_in_flight_max);
    let total = mebibytes(config.gateway.bytes_in_flight_max);
    let queue = mebibytes(config.kafka_producer.queue_bytes_max);
    format!("a partition {partition} ≤ all {total} < librdkafka's queue {queue}")
}

fn seconds(duration: Duration) -> String {
    format!("{} s", duration.as_secs_f64())
}

fn mebibytes(bytes: usize) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_shows_where_events_go_and_what_is_counted() {
        let guild = include_str!("../../examples/guild.toml");
        let config = Config::parse(guild, "guild.toml", []).unwrap_or_else(|e| panic!("{e}"));
        let summary = Summary(&config).to_string();
        for line in [
            "topic   miembros: partitions 3, replication 1, min_insync 1, 2 for premium\n",
            "stream  miembros: POST /miembros → miembros (1 rule, else by Rut) → archive miembros\n",
            "        open: anyone may write\n",
            "        counts total, by_premium (Registro premium, at most 5)\n",
            "deadlines    Kafka 8 s < receipt 10 s < request 20 s < ",
        ] {
            assert!(summary.contains(line), "{line}is not in\n{summary}");
        }
    }

    #[test]
    fn a_summary_shows_which_routes_do_not_go_by_the_kafka_producer() {
        let votes = include_str!("../../examples/votes.toml");
        let config = Config::parse(votes, "votes.toml", []).unwrap_or_else(|e| panic!("{e}"));
        let line = "stream  votes: POST /votes/grpc, /votes/wasm (by the wasm-producer) → votes (sticky) → archive votes\n";
        let summary = Summary(&config).to_string();
        assert!(summary.contains(line), "{line}is not in\n{summary}");
    }
}
