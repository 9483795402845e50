//! What every test here needs: a database, a topic and a group of its own.

use std::{
    process::Command,
    sync::{Arc, LazyLock},
    time::SystemTime,
};

use aguacero::{config::Config, id::EventId};
use consumer::{
    postgres, process,
    tables::{Rows, migrate},
    transaction::TransactionSink,
};
use deadpool_postgres::Pool;
use serde_json::Value;
use tempfile::NamedTempFile;

use crate::world::{Running, World, command, eventually};

/// Who may do everything in PostgreSQL, also make roles.
pub(crate) const ADMIN: &str = "admin";
/// Whose the databases are.
pub(crate) const OWNER: &str = "aguacero";
/// The number of the stream that has a table, beside one of the same topic that has none.
pub(crate) const STREAM: usize = 1;

pub(crate) struct Tables {
    pub(crate) world: World,
    /// As `consumer tables` has it, by way of nobody.
    pub(crate) config: Config,
    /// Connections of the owner's.
    pub(crate) pool: Pool,
    pub(crate) database: String,
}

fn variable(name: &str) -> String {
    let needs = "these tests need PostgreSQL, run `make test`, or scripts/services run --postgres";
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: {needs}"))
}

/// `host:port` of the server.
pub(crate) fn host() -> String {
    let url = variable("AGUACERO_POSTGRES_URL");
    consumer::retry::hosts(&url).to_owned()
}

/// Where a database is, for somebody; `host` may be that of a proxy.
pub(crate) fn url(user: &str, host: &str, database: &str) -> String {
    format!("postgres://{user}@{host}/{database}")
}

pub(crate) fn pool(url: String) -> Pool {
    let (tls, username, credentials) = (None, None, None);
    let config = aguacero::config::Postgres {
        url,
        tls,
        username,
        credentials,
    };
    postgres::pool(&config, 4).unwrap()
}

impl Tables {
    /// With the table `ventas` ([`VENTAS`]), made.
    pub(crate) async fn new(partitions: i32) -> Self {
        Self::with(partitions, VENTAS).await
    }

    /// With a stream whose `fields` and `table` are these lines, made.
    pub(crate) async fn with(partitions: i32, stream: &str) -> Self {
        let tables = Self::bare(partitions, "", stream).await;
        tables.apply().await;
        tables
    }

    /// Without its tables; `process` are more lines for `[tables]`.
    pub(crate) async fn bare(partitions: i32, process: &str, stream: &str) -> Self {
        let more = STREAMS
            .replace("PROCESS", process)
            .replace("STREAM", stream);
        let world = World::with(partitions, "", &more).await;
        let database = world.config.mongodb.database.replace('-', "_");
        let server = pool(url(OWNER, &host(), OWNER));
        // Nobody else can be in that template, which would be in the way.
        let create = format!("CREATE DATABASE {database} TEMPLATE template0");
        let client = server.get().await.unwrap();
        client.batch_execute(&create).await.unwrap();
        let here = url(OWNER, &host(), &database);
        let mut config = world.config.narrowed(|stream| stream.table.is_some());
        config.consumer = config.tables.clone();
        config.postgres.url.clone_from(&here);
        Self {
            world,
            config,
            pool: pool(here),
            database,
        }
    }

    /// Makes the tables as declared; says what was done.
    pub(crate) async fn apply(&self) -> Vec<String> {
        let mut client = self.pool.get().await.unwrap();
        migrate::apply(&self.config, &mut client).await.unwrap()
    }

    /// The process, in this one.
    pub(crate) async fn start(&self) -> Running {
        self.start_with(self.config.clone()).await
    }

    /// A named member of the group.
    pub(crate) async fn start_as(&self, instance: &str) -> Running {
        let mut config = self.config.clone();
        config.consumer.instance = Some(instance.to_owned());
        self.start_with(config).await
    }

    pub(crate) async fn start_with(&self, config: Config) -> Running {
        let client = self.pool.get().await.unwrap();
        let rows = Rows::look(&config, &client).await.unwrap();
        consumer::metric::describe(&config);
        let config = Arc::new(config);
        let connections = postgres::pool(&config.postgres, config.consumer.writers + 2).unwrap();
        let sink = Arc::new(TransactionSink::new(config.clone(), connections, rows));
        Running::of(|shutdown| process::run(config, sink, || (), shutdown))
    }

    /// `consumer tables VERB…`, as somebody in this test's database.
    pub(crate) fn command(&self, verb: &[&str], user: &str) -> (Command, NamedTempFile) {
        let verb: Vec<_> = ["tables"].iter().chain(verb).copied().collect();
        let (mut command, file) = command(self.world.toml(), &verb);
        for name in [
            "USERNAME",
            "PASSWORD_FILE",
            "TLS",
            "CA",
            "CERTIFICATE",
            "KEY",
        ] {
            command.env_remove(format!("AGUACERO_POSTGRES_{name}"));
        }
        command.env("AGUACERO_POSTGRES_URL", url(user, &host(), &self.database));
        (command, file)
    }

    /// What that says, and whether it ended well.
    pub(crate) fn said(&self, verb: &[&str], user: &str) -> (bool, String) {
        let (mut command, _file) = self.command(verb, user);
        let output = command.output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(text).unwrap())
    }

    /// Puts events of the stream that has a table into `partition`; says the offset of the last.
    pub(crate) fn send(&self, partition: i32, events: &[(EventId, String)]) -> i64 {
        let events: Vec<_> = events
            .iter()
            .map(|(id, json)| (*id, json.as_str()))
            .collect();
        self.world.send_of(STREAM, partition, &events)
    }

    /// An event that arrived then: milliseconds since 1970.
    pub(crate) fn send_at(&self, partition: i32, at_ms: i64, (id, json): (EventId, &str)) -> i64 {
        self.world.send_at(STREAM, partition, at_ms, (id, json))
    }

    pub(crate) async fn execute(&self, sql: &str) {
        let client = self.pool.get().await.unwrap();
        let done = client.batch_execute(sql).await;
        done.unwrap_or_else(|e| panic!("{sql}: {e:?}"));
    }

    /// Ends every session but this one, and waits until they have ended.
    pub(crate) async fn end_sessions(&self) {
        let others = "FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()";
        let ended = self
            .rows(&format!("SELECT pid, pg_terminate_backend(pid) {others}"))
            .await;
        let pids: Vec<_> = ended.iter().map(|row| row["pid"].to_string()).collect();
        let left = format!(
            "SELECT pid {others} AND pid IN (0{})",
            pids.iter().map(|p| format!(",{p}")).collect::<String>()
        );
        eventually("the sessions have ended", async || {
            match self.rows(&left).await {
                left if left.is_empty() => Ok(()),
                left => Err(format!("{left:?}")),
            }
        })
        .await;
    }

    /// Rows as JSON.
    pub(crate) async fn rows(&self, sql: &str) -> Vec<Value> {
        let client = self.pool.get().await.unwrap();
        let sql = format!("SELECT coalesce(json_agg(row_to_json(t)), '[]')::text FROM ({sql}) t");
        let row = client.query_one(&sql, &[]).await;
        let row = row.unwrap_or_else(|e| panic!("{sql}: {e:?}"));
        serde_json::from_str(row.get(0)).unwrap()
    }

    pub(crate) async fn count(&self, of: &str) -> i64 {
        let client = self.pool.get().await.unwrap();
        let sql = format!("SELECT count(*) FROM {of}");
        client.query_one(&sql, &[]).await.unwrap().get(0)
    }

    /// Waits until the table has so many rows.
    pub(crate) async fn has_rows(&self, table: &str, n: i64) {
        eventually("the table has every row", async || {
            match self.count(table).await {
                rows if rows == n => Ok(()),
                rows => Err(format!("{rows} of {n}")),
            }
        })
        .await;
    }

    /// Waits until the store has everything of `partition` up to `last`.
    pub(crate) async fn is_finished(&self, partition: i32, last: i64) {
        let of = format!("SELECT next FROM aguacero.offsets WHERE partition = {partition}");
        eventually("the store has everything", async || {
            let next = self.rows(&of).await;
            match next.first().and_then(|row| row["next"].as_i64()) {
                Some(next) if next == last + 1 => Ok(()),
                next => Err(format!("{next:?} instead of {}", last + 1)),
            }
        })
        .await;
    }

    /// Reason and detail of every dead letter, by place.
    pub(crate) async fn dead_letters(&self) -> Vec<(String, String)> {
        let sql = "SELECT reason, detail FROM aguacero.dead_letters ORDER BY partition, \"offset\"";
        let text = |row: &Value, name: &str| row[name].as_str().unwrap().to_owned();
        let rows = self.rows(sql).await;
        rows.iter()
            .map(|row| (text(row, "reason"), text(row, "detail")))
            .collect()
    }
}

impl Drop for Tables {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        self.pool.close();
        let drop = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.database);
        let handle = tokio::runtime::Handle::current();
        tokio::task::block_in_place(|| {
            handle.block_on(async {
                let server = pool(url(OWNER, &host(), OWNER));
                if let Ok(client) = server.get().await {
                    _ = client.batch_execute(&drop).await;
                }
            });
        });
    }
}

/// So many milliseconds before now, since 1970.
pub(crate) fn ago(milliseconds: i64) -> i64 {
    static BEGAN: LazyLock<SystemTime> = LazyLock::new(SystemTime::now);
    let began = BEGAN.duration_since(SystemTime::UNIX_EPOCH).unwrap();
    began.as_millis() as i64 - milliseconds
}

/// `n` sales with ids of their own.
pub(crate) fn sales(n: u64) -> Vec<(EventId, String)> {
    let base = EventId::new_base();
    let sale = |i: u64| {
        let json = format!(r#"{{"cliente":"Ñandú {i} ☔","cantidad":{}}}"#, i % 100);
        (base.plus(i), json)
    };
    (0..n).map(sale).collect()
}

/// The same table in every test that is about other things.
pub(crate) const VENTAS: &str = r#"
fields = [
  { name = "cliente", type = "string" },
  { name = "cantidad", type = "integer" },
]
[streams.NAME-s.table]
name = "ventas"
primary_key = ["id"]
columns = [
  { name = "id", value = "id" },
  { name = "llegada", value = "arrival" },
  { name = "particion", value = "partition" },
  { name = "lugar", value = "offset" },
  { name = "tema", value = "topic" },
  { name = "cliente", field = "cliente", type = "varchar(20)", not_null = true },
  { name = "cantidad", field = "cantidad", type = "integer" },
]
"#;

const STREAMS: &str = r#"
[tables]
admin = "127.0.0.1:0"
group = "NAME"
PROCESS
[streams.NAME-s]
topic = "NAME"
routes = [{ path = "/NAME-s", via = "grpc" }]
STREAM
"#;
