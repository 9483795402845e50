//! The routes into Kafka beside each other: gRPC with librdkafka, gRPC with the engine, and the same engine in WebAssembly.
//! The second beside the first is what the client library makes, the third beside the second what the sandbox makes. All
//! three take turns in one run; `docs/routes.md` explains what comes of it. `make routes` starts the services for it.

mod border;
mod events;
mod fate;
mod latency;
mod process;
mod side;
mod trapping;

use std::{path::PathBuf, pin::Pin};

use anyhow::Context as _;
use benches::{
    page::Page,
    sides::{self, Effort},
};
use clap::Parser;

use events::Events;
use side::Side;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures the routes into Kafka.
#[derive(Parser)]
#[command(name = "make routes ARGS=\"…\"")]
struct Arguments {
    /// Turns of each side.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of each turn, beside a warm-up of a third of it.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Only chapters with this in their names: latency, batches, locust, process, fate, border.
    #[arg(long)]
    only: Option<String>,
    /// Folder for tables and plots.
    #[arg(long, default_value = "docs/routes")]
    out: PathBuf,
    /// The broker has been under load for half a minute already.
    #[arg(long, hide = true)]
    warm: bool,
}

/// What a chapter needs.
struct Study {
    events: Events,
    effort: Effort,
}

/// A question, and the page that answers it.
struct Chapter {
    /// Also the page's name.
    name: &'static str,
    title: &'static str,
    /// Whether it sends anything to Kafka.
    is_load: bool,
    write: for<'a> fn(&'a Study, &'a mut Page) -> Written<'a>,
}

type Written<'a> = Pin<Box<dyn Future<Output = anyhow::Result<()>> + 'a>>;

const CHAPTERS: &[Chapter] = &[
    latency::LATENCY,
    latency::BATCHES,
    latency::LOCUST,
    process::CHAPTER,
    fate::CHAPTER,
    border::CHAPTER,
];

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let study = Study {
        events: Events::new()?,
        effort: Effort::of(arguments.rounds.max(1), arguments.seconds),
    };
    let is_wanted = |chapter: &&Chapter| match &arguments.only {
        Some(only) => chapter.name.contains(only.as_str()),
        None => true,
    };
    let chapters: Vec<_> = CHAPTERS.iter().filter(is_wanted).collect();
    if !arguments.warm && chapters.iter().any(|chapter| chapter.is_load) {
        eprintln!("the broker warms up …");
        let server = runtime.block_on(Side::Engine.start())?;
        sides::warm_up_broker(&server, &study.events.singles)?;
    }
    for chapter in chapters {
        eprintln!("{} …", chapter.name);
        let mut page = Page::new(&arguments.out, chapter.name, chapter.title)?;
        page.paragraph(&command());
        let written = runtime.block_on((chapter.write)(&study, &mut page));
        written.with_context(|| chapter.name)?;
        eprintln!("{}", page.finish()?.display());
    }
    Ok(())
}

/// How this was made.
fn command() -> String {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    match arguments.is_empty() {
        true => "`make routes`".to_owned(),
        false => format!("`make routes ARGS=\"{}\"`", arguments.join(" ")),
    }
}
