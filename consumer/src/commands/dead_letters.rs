//! `consumer dead-letters`: looks at what could not be archived, and sends it again once the cause is
//! mended, or notes that nobody will.
//!
//! A replay puts the record into its topic again, under the id that it had; the consumers archive and
//! count it like any other. Nothing is written into an archive from here, and replaying twice archives
//! once. What was replayed or discarded is kept, but is not listed any more.

use std::{
    collections::BTreeSet,
    io::{self, Write},
    path::PathBuf,
    sync::Arc,
};

use aguacero::{cli::ConfigFile, config::Config};
use anyhow::{Context as _, bail, ensure};
use clap::{Args, Subcommand};

use super::{
    pass_over::{Place, pass_over},
    replay::Replayer,
};
use crate::{
    archive::{Archive, Filter, StoredDeadLetter},
    decode::dead_letter::Reason,
    retry::{RetryLimit, hosts},
};

/// Characters of a value that `list` shows.
const EXCERPT: usize = 60;

/// What to do with dead letters.
#[allow(missing_docs)] // of flattened fields, which clap would show as help of its own
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// A line for each: id, time, reason, bytes, the value's beginning
    List {
        #[command(flatten)]
        which: Which,
        /// Those, too, that were replayed or discarded
        #[arg(long)]
        every: bool,
        /// At most so many, the newest
        #[arg(long, default_value_t = 50)]
        limit: usize,
        #[command(flatten)]
        file: ConfigFile,
    },
    /// All that is kept of one
    Show {
        /// Its id, as `list` prints it
        id: String,
        /// Print the bytes of its value and nothing else
        #[arg(long)]
        value: bool,
        #[command(flatten)]
        file: ConfigFile,
    },
    /// Put records into their topic again, under the ids that they had
    Replay {
        /// Ids, as `list` prints them
        #[arg(required_unless_present = "all")]
        ids: Vec<String>,
        /// All that were not replayed or discarded before (and that --reason and --stream allow)
        #[arg(long, conflicts_with = "ids")]
        all: bool,
        #[command(flatten)]
        which: Which,
        /// A file with the value that one letter is sent with instead of its own
        #[arg(long, value_name = "FILE", conflicts_with = "all")]
        value: Option<PathBuf>,
        /// The stream of a record whose header does not tell it
        #[arg(long = "as", value_name = "STREAM")]
        stream_of: Option<String>,
        #[command(flatten)]
        file: ConfigFile,
    },
    /// Note that nobody will replay them: they are kept, and not listed any more
    Discard {
        /// Ids, as `list` prints them
        #[arg(required_unless_present = "all")]
        ids: Vec<String>,
        /// All that were not replayed or discarded before (and that --reason and --stream allow)
        #[arg(long, conflicts_with = "ids")]
        all: bool,
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        file: ConfigFile,
    },
    /// Let a partition that has stopped at a record go on behind it
    PassOver {
        /// Where it has stopped: TOPIC/PARTITION/OFFSET, as the consumer's log has it
        place: Place,
        /// Why, for whoever looks at the dead letter later
        #[arg(long, value_name = "TEXT")]
        why: Option<String>,
        #[command(flatten)]
        file: ConfigFile,
    },
}

/// Which dead letters.
#[derive(Debug, Clone, Args)]
pub struct Which {
    /// Only of this reason
    #[arg(long, value_parser = Reason::ALL)]
    reason: Option<String>,
    /// Only of this stream
    #[arg(long)]
    stream: Option<String>,
}

impl Verb {
    /// Where the configuration is.
    #[must_use]
    pub fn file(&self) -> &ConfigFile {
        match self {
            Self::List { file, .. }
            | Self::Show { file, .. }
            | Self::Replay { file, .. }
            | Self::Discard { file, .. }
            | Self::PassOver { file, .. } => file,
        }
    }
}

/// Does it.
pub async fn dead_letters(config: Config, verb: &Verb) -> anyhow::Result<()> {
    let config = Arc::new(config);
    let archive = Archive::new(config.clone()).await.context("MongoDB")?;
    let mongodb = format!("MongoDB at {}", hosts(&config.mongodb.uri));
    let limit = RetryLimit::of_a_command();
    let (filter, of) = match verb {
        Verb::List { which, every, .. } => (which.filter((!every).then_some(true)), None),
        Verb::PassOver { place, why, .. } => {
            limit.retry(&mongodb, || archive.ping()).await?;
            return pass_over(&config, &archive, place, why.as_deref()).await;
        }
        Verb::Show { id, .. } => (Filter::of(id), Some(1)),
        Verb::Replay {
            all: true, which, ..
        }
        | Verb::Discard {
            all: true, which, ..
        } => (which.filter(Some(true)), None),
        Verb::Replay { ids, which, .. } | Verb::Discard { ids, which, .. } => {
            let mut filter = which.filter(None);
            let once: BTreeSet<_> = ids.iter().cloned().collect();
            filter.ids = once.into_iter().collect();
            let asked = filter.ids.len();
            (filter, Some(asked))
        }
    };
    limit.retry(&mongodb, || archive.ping()).await?;
    if let Verb::Discard { all: true, .. } = verb {
        let discarded = archive.discard_dead_letters(&filter).await;
        println!("{} dead letters discarded", discarded.context(mongodb)?);
        return Ok(());
    }
    let letters = archive.dead_letters(&filter).await;
    let letters = letters.context(mongodb.clone())?;
    if let Some(asked) = of.filter(|asked| letters.len() < *asked) {
        let known = |id: &&String| letters.iter().any(|l| l.id() == id.as_str());
        let missing: Vec<_> = filter.ids.iter().filter(|id| !known(id)).cloned().collect();
        bail!(
            "{} of {asked} dead letters are not there, or not such: {}",
            missing.len(),
            missing.join(", ")
        );
    }
    match verb {
        Verb::List { limit, which, .. } => {
            let hidden = match filter.is_open {
                Some(_) => archive.count_dead_letters(&which.filter(Some(false))).await,
                None => Ok(0),
            };
            list(&letters, *limit, hidden.context(mongodb)?).or_else(closed_pipe)?;
        }
        Verb::Show { value, .. } => show(&letters[0], *value).or_else(closed_pipe)?,
        Verb::Replay {
            value, stream_of, ..
        } => {
            ensure!(
                value.is_none() || letters.len() == 1,
                "--value belongs to one letter, not to {}",
                letters.len()
            );
            let value = value
                .as_ref()
                .map(|path| std::fs::read(path).with_context(|| path.display().to_string()));
            let replayer = Replayer::new(
                config,
                Arc::new(archive),
                stream_of.as_deref(),
                value.transpose()?,
            )?;
            replayer.reach(limit).await?;
            return replayer.replay(&letters).await;
        }
        Verb::Discard { .. } => {
            let discarded = archive.discard_dead_letters(&filter).await;
            discarded.context(mongodb)?;
            for letter in &letters {
                println!("{}: discarded", letter.id());
            }
        }
        Verb::PassOver { .. } => {}
    }
    Ok(())
}

impl Which {
    /// Reason and stream, where they are given.
    pub(super) fn words(&self) -> (Option<&str>, Option<&str>) {
        (self.reason.as_deref(), self.stream.as_deref())
    }

    fn filter(&self, is_open: Option<bool>) -> Filter {
        Filter {
            reason: self.reason.clone(),
            stream: self.stream.clone(),
            is_open,
            ..Filter::default()
        }
    }
}

impl Filter {
    fn of(id: &str) -> Self {
        Self {
            ids: vec![id.to_owned()],
            ..Self::default()
        }
    }
}

/// `hidden` others were replayed or discarded.
fn list(letters: &[StoredDeadLetter], limit: usize, hidden: u64) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for letter in &letters[letters.len().saturating_sub(limit)..] {
        let done = |field, what| letter.time(field).map_or("", |_| what);
        writeln!(
            out,
            "{}  {}  {}  {} bytes  {}{}{}",
            letter.id(),
            letter.time("at").unwrap_or_default(),
            letter.text("reason").unwrap_or_default(),
            letter.value_bytes(),
            excerpt(letter.value().unwrap_or_default()),
            done("replayed_at", "  (replayed)"),
            done("discarded_at", "  (discarded)")
        )?;
    }
    let all = letters.len();
    let mut summary = format!("{all} dead letters");
    if all > limit {
        summary += &format!("; {} older ones are not shown (--limit)", all - limit);
    }
    if hidden > 0 {
        summary += &format!("; {hidden} that were replayed or discarded are not shown (--every)");
    }
    writeln!(io::stderr(), "{summary}")
}

fn show(letter: &StoredDeadLetter, only_value: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let value = letter.value().unwrap_or_default();
    if only_value {
        return out.write_all(value);
    }
    let mut field = |name: &str, value: Option<String>| match value {
        Some(value) => writeln!(out, "{name:<10} {value}"),
        None => Ok(()),
    };
    field("id", Some(letter.id().to_owned()))?;
    field("reason", letter.text("reason").map(Into::into))?;
    field("detail", letter.text("detail").map(Into::into))?;
    field("at", letter.time("at"))?;
    field("stream", letter.text("stream").map(Into::into))?;
    field("event", letter.event())?;
    field("replayed", letter.time("replayed_at"))?;
    field("discarded", letter.time("discarded_at"))?;
    field("key", letter.key().map(text))?;
    for (name, value) in letter.headers() {
        field(
            "header",
            Some(format!("{name} = {}", text(value.unwrap_or_default()))),
        )?;
    }
    field("cut", letter.text("cut").map(Into::into))?;
    field("bytes", Some(letter.value_bytes().to_string()))?;
    field("value", letter.value().map(text))
}

/// Bytes as text, with escapes for what is none.
fn text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.chars().any(|c| c.is_control() && c != '\n') => text.to_owned(),
        _ => bytes.escape_ascii().to_string(),
    }
}

fn excerpt(bytes: &[u8]) -> String {
    let mut excerpt: String = text(&bytes[..bytes.len().min(4 * EXCERPT)])
        .replace('\n', " ")
        .chars()
        .take(EXCERPT)
        .collect();
    if bytes.len() > excerpt.len() {
        excerpt.push('…');
    }
    excerpt
}

/// Whoever reads our output has seen enough.
fn closed_pipe(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return Ok(());
    }
    Err(error)
}
