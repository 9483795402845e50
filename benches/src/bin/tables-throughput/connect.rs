//! Kafka Connect's JDBC sink: a standalone worker out of `benches/connect`, a new one each turn.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use e2e::{Pipeline, Services, postgres::Postgres};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio_postgres::{Client, NoTls};

use crate::{STREAM, turn::Turn};

/// The table that it fills, as `connector.json` names it.
pub(crate) const TABLE: &str = "connected";
/// Its columns are called like the fields, so that none has to be renamed on the way. No built-in transform takes the id
/// out of the header; the place in Kafka is the key instead. It cannot fill a `point`.
const CREATE: &str = r#"CREATE TABLE connected (
    particion integer NOT NULL,
    posicion bigint NOT NULL,
    llegada timestamptz NOT NULL,
    "Cliente" text NOT NULL,
    "Cantidad de Sopaipillas" integer NOT NULL,
    "Hora" text NOT NULL,
    "Stock restante" integer NOT NULL,
    "Ubicación del carrito" text NOT NULL,
    "Patente carrito" text,
    PRIMARY KEY (particion, posicion)
)"#;
/// Every partition is written in the order of its offsets, so the last one of each, at the end of the key's index, tells
/// how many there are: a look costs less than a millisecond.
const SEEN: &str = "SELECT coalesce(sum(upto), 0)::bigint FROM generate_series(0, $1 - 1) AS p, \
     LATERAL (SELECT max(posicion) + 1 AS upto FROM connected WHERE particion = p) AS last";
const LOOK_EVERY: Duration = Duration::from_millis(200);
const END_WITHIN: Duration = Duration::from_secs(30);
const TAIL_LINES: usize = 30;

/// Where its worker and its settings lie.
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/connect");
const WORKER_SETTINGS: &str = include_str!("../../../connect/worker.properties");
const CONNECTOR: &str = include_str!("../../../connect/connector.json");

/// What its turns have in common.
pub(crate) struct Connect {
    client: Client,
    partitions: i32,
    brokers: String,
    topic: String,
    /// As the JDBC driver takes it.
    url: String,
    user: String,
    turns: usize,
}

/// A worker. Dropped, it is killed.
struct Worker {
    child: Child,
    log: PathBuf,
}

impl Connect {
    /// Makes its table.
    pub(crate) async fn new(pipeline: &Pipeline, postgres: &Postgres) -> anyhow::Result<Self> {
        postgres.rows(CREATE).await;
        let topic = pipeline.config.topic_of(pipeline.stream(STREAM));
        let owner = Services::from_env().owner_of_tables();
        let user = owner.get("AGUACERO_POSTGRES_USERNAME").cloned();
        let user = user.context("AGUACERO_POSTGRES_USERNAME is not set")?;
        let mut config: tokio_postgres::Config = postgres.url().parse()?;
        let (client, connection) = config.user(&user).connect(NoTls).await?;
        tokio::spawn(connection); // ends with the client
        Ok(Self {
            client,
            partitions: topic.partitions,
            brokers: pipeline.config.kafka.brokers.clone(),
            topic: topic.name.clone(),
            url: format!(
                "jdbc:postgresql{}",
                postgres.url().trim_start_matches("postgres")
            ),
            user,
            turns: 0,
        })
    }

    /// All of the topic into the empty table, in `mode`: `insert` or `upsert`. The start of Java is not counted, its warm-up
    /// is, as from the first rows that are seen.
    pub(crate) async fn through(
        &mut self,
        mode: &str,
        rows: u64,
        folder: &Path,
    ) -> anyhow::Result<Turn> {
        self.turns += 1;
        // Its group in Kafka has this name, and so none has read anything.
        let name = format!("{}-{mode}-{}", self.topic, self.turns);
        let mut worker = self.start(&name, mode, folder)?;
        let pid = worker.child.id();
        let look = async || {
            worker.runs()?;
            let row = self.client.query_one(SEEN, &[&self.partitions]).await?;
            Ok(row.get::<_, i64>(0) as u64)
        };
        let turn = Turn::of_process(pid, rows, LOOK_EVERY, look).await;
        let turn = turn.with_context(|| format!("Kafka Connect:\n{}", worker.log_tail()))?;
        worker.end().await?;
        Ok(turn)
    }

    fn start(&self, name: &str, mode: &str, folder: &Path) -> anyhow::Result<Worker> {
        let file = |ending: &str| folder.join(format!("{name}.{ending}"));
        let (settings, connector, log) = (file("properties"), file("json"), file("log"));
        let worker = format!(
            "{WORKER_SETTINGS}\nbootstrap.servers={}\noffset.storage.file.filename={}\n",
            self.brokers,
            file("offsets").display()
        );
        fs::write(&settings, worker)?;
        fs::write(&connector, self.connector(name, mode)?)?;
        let output = File::create(&log)?;
        let child = Command::new(Path::new(FOLDER).join("worker"))
            .args([settings, connector])
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("{FOLDER}/worker"))?;
        Ok(Worker { child, log })
    }

    /// What stands in `connector.json`, and what only this run knows.
    fn connector(&self, name: &str, mode: &str) -> anyhow::Result<String> {
        const SCHEMA: &str = "value.converter.schema.content";
        let mut config: Value = serde_json::from_str(CONNECTOR).context("connector.json")?;
        config[SCHEMA] = Value::from(config[SCHEMA].to_string()); // a text with JSON in it
        for (key, value) in [
            ("topics", &self.topic),
            ("connection.url", &self.url),
            ("connection.username", &self.user),
        ] {
            config[key] = Value::from(value.as_str());
        }
        config["insert.mode"] = Value::from(mode);
        Ok(json!({ "name": name, "config": config }).to_string())
    }
}

impl Worker {
    fn runs(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait()? {
            Some(status) => bail!("the worker has ended: {status}"),
            None => Ok(()),
        }
    }

    /// By SIGTERM.
    async fn end(mut self) -> anyhow::Result<()> {
        if let Some(pid) = Pid::from_raw(self.child.id() as i32) {
            kill_process(pid, Signal::TERM)?;
        }
        let told = Instant::now();
        while self.child.try_wait()?.is_none() {
            if told.elapsed() > END_WITHIN {
                bail!("Kafka Connect does not end:\n{}", self.log_tail());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    fn log_tail(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}
