//! `guild daily-sales`: each day at 23:59 in Santiago, what every member has sold.
//!
//! Events become rows ([`history`]), exactly once and in whatever order they come. When a day is over and all of it was
//! read, it is closed ([`closer`]): in one transaction ([`close`](self::close)) its sales are matched with carts ([`matching`]), added up
//! ([`reckoning`]) and stored as a report ([`report`]), which then becomes a file ([`file`]). Each sale is in one report:
//! one that comes too late for that of its own day is in the next, which says so.

pub mod calendar;
pub mod matching;
pub mod reckoning;
pub mod report;

pub mod close;
pub mod closer;
pub mod file;
pub mod history;

use std::{path::PathBuf, sync::Arc, time::Duration};

use aguacero::{
    cli,
    config::{Config, FilesOf},
    essential::essential,
    kafka::Topics,
};
use anyhow::{Context as _, bail};
use jiff::civil::{Date, Time};
use processor::{
    App, Options, Pool, connection,
    ends::{self, Ends},
    pool, told,
};

use crate::declared::{MEMBERS, POSITIONS, SALES};
use calendar::{Calendar, ZONE};
use closer::{Closer, now_ms, show};
use history::{History, TABLES};

/// Its name, of which its group is made.
pub const NAME: &str = "daily-sales";
/// Whose files it reads.
const FILES: [FilesOf; 2] = [FilesOf::Kafka, FilesOf::Postgres];
/// How long a preview waits for the processor to have read what there is.
const READ_TIMEOUT: Duration = Duration::from_secs(60);
/// How often it looks.
const READ_EVERY: Duration = Duration::from_millis(200);

/// `daily-sales`
#[derive(Debug, Clone, clap::Args)]
pub struct Command {
    /// Print and write the report of this day again, as 2026-11-21, and end
    #[arg(long, value_name = "DAY")]
    day: Option<Date>,
    /// Print what the day that is open, or that of --day, comes to until now, without closing it, and end; waits until
    /// the processor has read what there is
    #[arg(long)]
    preview: bool,
    /// Where ventas-DAY.txt is written
    #[arg(
        long,
        value_name = "FOLDER",
        env = "GUILD_REPORTS",
        default_value = "."
    )]
    reports: PathBuf,
    /// When a day closes, by the clocks in Santiago
    #[arg(
        long,
        value_name = "TIME",
        env = "GUILD_CLOSES",
        default_value = "23:59"
    )]
    closes: Time,
    #[command(flatten)]
    options: Options,
}

/// Does what the command says.
pub async fn run(command: Command) -> anyhow::Result<()> {
    let calendar = Calendar::santiago(command.closes)?;
    match command.day {
        day if command.preview => preview(&command, &calendar, day).await,
        Some(day) => again(&command, &calendar, day).await,
        None => process(command, calendar).await,
    }
}

/// Until it is told to stop.
async fn process(command: Command, calendar: Calendar) -> anyhow::Result<()> {
    let folder = &command.reports;
    anyhow::ensure!(
        folder.is_dir(),
        "{} is no folder: --reports says where reports are written",
        folder.display()
    );
    let streams = [MEMBERS, SALES, POSITIONS];
    let app = App::build(NAME, &command.options, &FILES, &streams).await?;
    let (config, shutdown) = (app.config().clone(), app.shutdown());
    let history = History::of(&config)?;
    let topics = Arc::new(Topics::new(&config.kafka, NAME).context("librdkafka")?);
    app.exactly_once(&TABLES, |pool| {
        let closer = Closer {
            config,
            calendar,
            pool: pool.clone(),
            topics,
            folder: command.reports,
        };
        tokio::spawn(essential("closing the days", closer.run(shutdown)));
        Ok(history)
    })
    .await
}

/// The report of a day that is closed: the bytes that were stored.
async fn again(command: &Command, calendar: &Calendar, day: Date) -> anyhow::Result<()> {
    let (_, pool) = stores(command).await?;
    let client = connection(&pool).await?;
    let stored = close::stored(&client, day).await;
    let Some(report) = stored.map_err(|e| anyhow::anyhow!(told(&e)))? else {
        let closing = calendar.closing(day);
        if closing > now_ms() {
            let at = calendar.minute(closing);
            bail!(
                "{day} is open until {at} in {ZONE}; `guild daily-sales --preview` tells what it comes to until now"
            );
        }
        bail!(
            "{day} has no report: `guild daily-sales` makes it when it has read everything that arrived before the \
             closing, and has to run for that; before the first event there are none"
        );
    };
    let file = file::of_day(&command.reports, day);
    let written = file::write_whole(&file, report.as_bytes());
    written.with_context(|| format!("{}", file.display()))?;
    show(&report);
    Ok(())
}

/// What a day comes to until now.
async fn preview(command: &Command, calendar: &Calendar, day: Option<Date>) -> anyhow::Result<()> {
    let (config, pool) = stores(command).await?;
    has_read(&config, &pool, &command.options.group_of(NAME)).await?;
    let now = now_ms();
    let day = day.unwrap_or_else(|| calendar.day_of(now));
    let mut client = connection(&pool).await?;
    let fails = |error: processor::Error| anyhow::anyhow!(told(&error));
    if close::stored(&client, day).await.map_err(fails)?.is_some() {
        bail!("{day} is closed: `guild daily-sales --day {day}` has its report");
    }
    let transaction = client.transaction().await.map_err(fails)?;
    let report = close::preview(&transaction, calendar, day)
        .await
        .map_err(fails)?;
    show(&format!(
        "Provisorio, hasta {}\n{report}",
        calendar.second(now)
    ));
    Ok(())
}

/// Waits until the processor has read everything that is in Kafka now.
async fn has_read(config: &Config, pool: &Pool, group: &str) -> anyhow::Result<()> {
    let topics = Arc::new(Topics::new(&config.kafka, NAME).context("librdkafka")?);
    let names = config.topics.iter().map(|topic| topic.name.clone());
    let ends = Ends::now(&topics, names.collect()).await?;
    let read = async {
        loop {
            let client = connection(pool).await?;
            let read = ends::read(&client, group).await;
            let missing = ends.missing(&read.map_err(|e| anyhow::anyhow!(told(&e)))?);
            if missing.is_empty() {
                return anyhow::Ok(());
            }
            tokio::time::sleep(READ_EVERY).await;
        }
    };
    let in_time = tokio::time::timeout(READ_TIMEOUT, read).await;
    in_time.context(
        "`guild daily-sales` has not read everything that there is in a minute: does it run?",
    )?
}

/// What a command works with.
async fn stores(command: &Command) -> anyhow::Result<(Config, Pool)> {
    let config = cli::load_for(command.options.file(), &FILES);
    let config =
        config.narrowed(|stream| [MEMBERS, SALES, POSITIONS].contains(&stream.name.as_str()));
    let pool = pool(&config.postgres, 1)?;
    TABLES.ensure_soon(&pool, &config.postgres).await?;
    Ok((config, pool))
}
