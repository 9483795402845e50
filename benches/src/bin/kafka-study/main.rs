//! How Kafka behaves while events go through it: what `docs/kafka.md` explains. librdkafka in this process, with the
//! settings of the kafka-producer but for the one that is varied. Whatever is compared takes turns, round by round.
//! `make kafka-study` starts the brokers for it: one, then three.

mod acks;
mod archive;
mod batches;
mod brokers;
mod fan_in;
mod first;
mod members;
mod partitions;
mod reading;
mod replicas;
mod requests;
mod sizes;
mod turn;

use std::{path::PathBuf, pin::Pin, sync::Arc, time::Duration};

use anyhow::Context as _;
use benches::{
    events,
    page::{self, Page},
    turns,
};
use clap::Parser;

use brokers::Brokers;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Different events: more than the greatest batch, which would otherwise compress too well.
const EVENTS: u64 = 20_000;

/// Measures how Kafka behaves.
#[derive(Parser)]
#[command(name = "make kafka-study ARGS=\"…\"")]
struct Arguments {
    /// Turns of each side.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of each turn, beside a warm-up of a third of it.
    #[arg(long, default_value_t = 0.75)]
    seconds: f64,
    /// Seconds in which a broker that has just been started is measured.
    #[arg(long, default_value_t = 40)]
    start_seconds: usize,
    /// Only chapters with this in their names.
    #[arg(long)]
    only: Option<String>,
    /// Folder for tables and plots.
    #[arg(long, default_value = "docs/kafka")]
    out: PathBuf,
}

/// What a chapter needs.
struct Study {
    brokers: Brokers,
    /// Of some 110 bytes.
    events: Arc<Vec<String>>,
    rounds: usize,
    warm_up: Duration,
    duration: Duration,
    start_seconds: usize,
}

/// A question, and the page that answers it.
struct Chapter {
    /// Also the page's name.
    name: &'static str,
    title: &'static str,
    /// On so many.
    brokers: usize,
    write: for<'a> fn(&'a Study, &'a mut Page) -> Written<'a>,
}

type Written<'a> = Pin<Box<dyn Future<Output = anyhow::Result<()>> + 'a>>;

/// In the order in which they are measured; the first of each number of brokers warms them up.
const CHAPTERS: &[Chapter] = &[
    first::CHAPTER,
    acks::CHAPTER,
    batches::LINGER,
    batches::COMPRESSION,
    partitions::CHAPTER,
    sizes::CHAPTER,
    reading::LAG,
    reading::CACHE,
    members::CHAPTER,
    archive::CHAPTER,
    replicas::CHAPTER,
    fan_in::CHAPTER,
];

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let study = Study {
        brokers: Brokers::find()?,
        events: Arc::new((0..EVENTS).map(events::event).collect()),
        rounds: arguments.rounds,
        warm_up: Duration::from_secs_f64(arguments.seconds / 3.0),
        duration: Duration::from_secs_f64(arguments.seconds),
        start_seconds: arguments.start_seconds,
    };
    let here = |chapter: &&Chapter| chapter.brokers == study.brokers.len();
    let wanted = |chapter: &&Chapter| match &arguments.only {
        Some(only) => chapter.name.contains(only.as_str()),
        None => true,
    };
    let chapters: Vec<_> = CHAPTERS.iter().filter(here).filter(wanted).collect();
    if !chapters
        .iter()
        .any(|chapter| chapter.name == first::CHAPTER.name)
        && !chapters.is_empty()
    {
        eprintln!("the brokers warm up …");
        runtime.block_on(first::warm_up(&study))?;
    }
    for chapter in chapters {
        eprintln!("{} …", chapter.name);
        let mut page = Page::new(&arguments.out, chapter.name, chapter.title)?;
        let written = runtime.block_on((chapter.write)(&study, &mut page));
        written.with_context(|| chapter.name)?;
        eprintln!("{}", page.finish()?.display());
    }
    Ok(())
}
