//! `consumer tables`: the process that writes rows, and what an operator does about the tables.

use std::{
    io::{self, Write},
    sync::Arc,
    time::Duration,
};

use aguacero::{
    admin::Admin,
    cli::{self, ConfigFile},
    config::{Config, FilesOf},
    essential::essential,
    shutdown::{self, Shutdown},
};
use anyhow::bail;
use clap::Subcommand;
use deadpool_postgres::{Client, Pool};
use tokio::{sync::watch, task::JoinSet};

use super::{
    dead_letters::Which,
    pass_over::{Place, Stopped, find},
    retry::retry,
};
use crate::{
    decode::dead_letter::beginning,
    metric, postgres, process,
    retry::{Backoff, RetryLimit, hosts},
    tables::{Rows, migrate},
    transaction::{self, Said, StoredLetter, TransactionSink, count, list, told},
};

/// Whose files are read, of some commands only the first.
const FILES: [FilesOf; 2] = [FilesOf::Postgres, FilesOf::Kafka];
/// Connections beside those that write: what is asked before a partition is read.
const CONNECTIONS_BESIDE: usize = 2;
/// How long `check --connect` waits for PostgreSQL.
const CHECK_TIMEOUT: Duration = Duration::from_secs(3);
/// Characters of a value that a list shows.
const EXCERPT: usize = 60;

/// What to do with tables.
#[allow(missing_docs)] // of flattened fields, which clap would show as help of its own
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Write rows until SIGTERM
    Run(ConfigFile),
    /// Read the configuration, report every mistake, and tell what it declares
    Check(cli::Check),
    /// Print what would make the tables as declared
    Plan(ConfigFile),
    /// Make the tables as declared
    Apply(ConfigFile),
    /// What PostgreSQL did not take: a line for each, the newest first
    DeadLetters {
        #[command(flatten)]
        which: Which,
        /// At most so many
        #[arg(long, default_value_t = 50)]
        limit: i64,
        #[command(flatten)]
        of: Of,
        #[command(flatten)]
        file: ConfigFile,
    },
    /// Let a partition that has stopped at a record go on behind it
    PassOver {
        /// Where it has stopped: TOPIC/PARTITION/OFFSET, as the log has it
        place: Place,
        /// Why, for whoever looks at the dead letter later
        #[arg(long, value_name = "TEXT")]
        why: Option<String>,
        #[command(flatten)]
        of: Of,
        #[command(flatten)]
        file: ConfigFile,
    },
    /// Try dead letters again, once their cause is mended
    Retry {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        file: ConfigFile,
    },
}

/// Whose.
#[derive(Debug, clap::Args)]
pub struct Of {
    /// Of a processor, by its consumer group; of `consumer tables` unless told
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
}

/// Does it.
pub async fn tables(verb: &Verb) -> anyhow::Result<()> {
    let (file, files) = match verb {
        Verb::Check(check) => cli::check_with_stores(check, &FILES, explain).await,
        Verb::Run(file) | Verb::PassOver { file, .. } => (file, &FILES[..]),
        // Who makes tables needs no password of Kafka's.
        Verb::Plan(file)
        | Verb::Apply(file)
        | Verb::DeadLetters { file, .. }
        | Verb::Retry { file, .. } => (file, &FILES[..1]),
    };
    let config = cli::load_for(file, files);
    let config = match verb {
        Verb::PassOver { of, .. } | Verb::DeadLetters { of, .. } => of.narrowed(config)?,
        _ => of_tables(&config)?,
    };
    match verb {
        Verb::Check(_) => Ok(()), // it has ended
        Verb::PassOver { place, why, .. } => {
            pass_over(Arc::new(config), place, why.as_deref()).await
        }
        Verb::Run(_) => {
            aguacero::telemetry::init("tables");
            cli::warn(&config);
            run(Arc::new(config), shutdown::on_signals()?).await?;
            std::process::exit(0) // the runtime would wait for calls to a Kafka that does not answer
        }
        Verb::Plan(_) => plan(&config).await,
        Verb::Apply(_) => apply(&config).await,
        Verb::DeadLetters { which, limit, .. } => dead_letters(&config, which, *limit).await,
        Verb::Retry { which, .. } => retry(Arc::new(config), which).await,
    }
}

/// What the process works with: streams that have a table, as `consumer.group` that of the tables.
fn of_tables(config: &Config) -> anyhow::Result<Config> {
    let mut narrowed = config.narrowed(|stream| stream.table.is_some());
    if narrowed.streams.is_empty() {
        bail!("no stream has a table: write [streams.NAME.table] with its columns");
    }
    narrowed.consumer = config.tables.clone();
    Ok(narrowed)
}

/// A connection, as soon as the server gives one.
pub(super) async fn client(
    config: &Config,
    pool: &Pool,
    limit: RetryLimit,
) -> anyhow::Result<Client> {
    let postgres = format!("PostgreSQL at {}", hosts(&config.postgres.url));
    let connected = limit.retry(&postgres, || async {
        let client = pool.get().await;
        client.map_err(|error| crate::transaction::told_of_pool(&error))
    });
    connected.await
}

/// What `check --connect` tells of PostgreSQL, and whether nothing of it would be refused at start.
async fn explain(config: &Config) -> Vec<(String, bool)> {
    let kafka = aguacero::kafka::explain(config, "tables").await;
    let asked = async {
        let config = of_tables(config)?;
        let pool = postgres::pool(&config.postgres, 1)?;
        let limit = RetryLimit::after(CHECK_TIMEOUT);
        let client = client(&config, &pool, limit).await?;
        let plan = migrate::plan(&config, &client).await;
        plan.map_err(|error| anyhow::anyhow!("{}", told(&error)))
    };
    let (text, is_right) = match asked.await {
        Err(error) => (format!("{error:#}"), false),
        Ok(plan) if !plan.mistakes.is_empty() => (plan.mistakes.join("\n"), false),
        Ok(plan) if plan.statements.is_empty() => ("the tables are as declared".to_owned(), true),
        Ok(plan) => {
            let statements = plan.statements.join(";\n");
            let text = format!("`consumer tables apply` would do this:\n{statements};");
            (text, false)
        }
    };
    vec![kafka, (format!("PostgreSQL: {text}\n"), is_right)]
}

impl Of {
    /// What whoever it is works with. A processor may read streams that have no table.
    fn narrowed(&self, mut config: Config) -> anyhow::Result<Config> {
        let Some(group) = &self.group else {
            return of_tables(&config);
        };
        config.consumer.group.clone_from(group);
        Ok(config)
    }
}

async fn pass_over(config: Arc<Config>, place: &Place, why: Option<&str>) -> anyhow::Result<()> {
    let (asking, asked) = (config.clone(), place.clone());
    let found = tokio::task::spawn_blocking(move || find(&asking, &asked)).await?;
    let Stopped { batch, cut, to } = found?;
    let pool = postgres::pool(&config.postgres, 1)?;
    let mut client = client(&config, &pool, RetryLimit::of_a_command()).await?;
    let why = why.unwrap_or("an operator has passed it over").to_owned();
    let detail = cut.map_or(why.clone(), |cut| format!("{why}; {cut}"));
    let done = transaction::pass_over(&mut client, &config, &batch, (detail, to)).await;
    done.map_err(Said::from)?;
    print(&format!(
        "passed over; its partition goes on at {to} within seconds\n"
    ));
    Ok(())
}

/// Waits for PostgreSQL and Kafka, then writes rows until `shutdown`.
async fn run(config: Arc<Config>, shutdown: Shutdown) -> anyhow::Result<()> {
    metric::describe(&config);
    let admin = Admin::bind(config.consumer.admin).await?;
    let (ready, seen) = watch::channel(false);
    let mut beside = JoinSet::new(); // ends with this function
    beside.spawn(essential(
        "the admin port",
        admin.serve(seen, shutdown.clone()),
    ));
    let pool = postgres::pool(
        &config.postgres,
        config.consumer.writers + CONNECTIONS_BESIDE,
    )?;
    let rows = tokio::select! {
        rows = rows(&config, &pool) => rows?,
        () = shutdown.requested() => return Ok(()),
    };
    let sink = Arc::new(TransactionSink::new(config.clone(), pool, rows));
    let ready = move || _ = ready.send_replace(true);
    process::run(config, sink, ready, shutdown).await
}

/// The tables, which are to be as declared. A server that goes meanwhile is waited for.
async fn rows(config: &Config, pool: &Pool) -> anyhow::Result<Rows> {
    let mut backoff = Backoff::new();
    loop {
        let client = client(config, pool, RetryLimit::endless()).await?;
        let looked = as_declared(config, &client).await;
        match looked {
            Err(error) if error.downcast_ref().is_some_and(|said: &Said| said.is_away) => {
                backoff
                    .after("a store is away", "looking at the tables", &error)
                    .await;
            }
            looked => return looked,
        }
    }
}

async fn as_declared(config: &Config, client: &Client) -> anyhow::Result<Rows> {
    let plan = migrate::plan(config, client).await.map_err(Said::from)?;
    if !plan.mistakes.is_empty() {
        bail!("{}", plan.mistakes.join("\n"));
    }
    if !plan.statements.is_empty() {
        bail!(
            "the tables are not as declared: run `consumer tables apply`, which would do this:\n{};",
            plan.statements.join(";\n")
        );
    }
    Rows::look(config, client).await
}

async fn plan(config: &Config) -> anyhow::Result<()> {
    let pool = postgres::pool(&config.postgres, 1)?;
    let client = client(config, &pool, RetryLimit::of_a_command()).await?;
    let plan = migrate::plan(config, &client).await;
    let plan = plan.map_err(Said::from)?;
    for statement in &plan.statements {
        print(&format!("{statement};\n"));
    }
    if !plan.mistakes.is_empty() {
        bail!("{}", plan.mistakes.join("\n"));
    }
    if plan.statements.is_empty() {
        print("-- nothing is to be done: the tables are as declared\n");
    }
    Ok(())
}

async fn apply(config: &Config) -> anyhow::Result<()> {
    let pool = postgres::pool(&config.postgres, 1)?;
    let mut client = client(config, &pool, RetryLimit::of_a_command()).await?;
    let done = migrate::apply(config, &mut client).await?;
    for statement in &done {
        print(&format!("{statement};\n"));
    }
    if done.is_empty() {
        print("-- nothing was to be done: the tables are as declared\n");
    }
    Ok(())
}

async fn dead_letters(config: &Config, which: &Which, limit: i64) -> anyhow::Result<()> {
    let pool = postgres::pool(&config.postgres, 1)?;
    let client = client(config, &pool, RetryLimit::of_a_command()).await?;
    let group = &config.consumer.group;
    let letters = list(&client, group, which.words(), limit).await;
    let letters = letters.map_err(Said::from)?;
    for letter in &letters {
        print(&line(letter));
    }
    let all = count(&client, group, which.words())
        .await
        .map_err(Said::from)?;
    let shown = letters.len();
    print(&format!("{all} dead letters, {shown} shown\n"));
    Ok(())
}

/// `topic/partition/offset`, reason, what PostgreSQL said and the value's beginning.
fn line(letter: &StoredLetter) -> String {
    let value = letter.value.as_deref().unwrap_or_default();
    let value = String::from_utf8_lossy(value);
    // Nothing of an event moves the cursor.
    let value: String = value.chars().filter(|c| !c.is_control()).collect();
    format!(
        "{}/{}/{}  {}  {}  {}\n",
        letter.topic,
        letter.partition,
        letter.offset,
        letter.reason,
        beginning(&letter.detail, 200),
        beginning(&value, EXCERPT),
    )
}

/// Whoever closed the pipe has seen enough.
pub(super) fn print(text: &str) {
    _ = io::stdout().write_all(text.as_bytes());
}
