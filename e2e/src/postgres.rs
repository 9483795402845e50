//! What PostgreSQL holds, as `psql` tells it: a client that has nothing in common with what is tested.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Output,
};

use serde_json::Value;
use tokio::process::Command;

use crate::{Services, eventually};

/// Between two values, and between two rows: in no value of a test.
const VALUE: &str = "\u{1f}";
const ROW: &str = "\u{1e}";

/// The database of one pipeline, as its owner sees it.
#[derive(Debug, Clone)]
pub struct Postgres {
    psql: PathBuf,
    /// Where the database is that was there before.
    first_url: String,
    url: String,
    database: String,
    /// A test has made it.
    is_own: bool,
    environment: BTreeMap<String, String>,
}

impl Postgres {
    /// A new database called `name`, or the one that is there, if that is its name.
    ///
    /// # Panics
    /// `scripts/services` was not told `--postgres`.
    pub async fn open(services: &Services, name: &str) -> Self {
        let first_url = services.postgres.clone();
        let first_url =
            first_url.expect("PostgreSQL: run this by `scripts/services run --postgres`");
        let state = Services::started().unwrap_or_else(|e| panic!("{e:#}"));
        let program = state["postgres"]["program"].as_str();
        let psql = Path::new(program.expect("where PostgreSQL is")).with_file_name("psql");
        let url = with_database(&first_url, name);
        let this = Self {
            psql,
            is_own: url != first_url,
            url,
            first_url,
            database: name.to_owned(),
            environment: environment(services, &state["postgres"]["env"]),
        };
        if this.is_own {
            let create = format!("CREATE DATABASE {}", quoted(name));
            this.ask(&this.first_url, &create).await;
        }
        this
    }

    /// Where it is, as `postgres.url` has it.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The same by way of another address.
    #[must_use]
    pub(crate) fn url_by(&self, address: &str) -> String {
        format!("postgres://{address}/{}", self.database)
    }

    /// Runs a statement and returns its rows: their values as PostgreSQL writes them, and NULL as nothing. Several
    /// statements are one transaction, and their rows follow each other.
    ///
    /// # Panics
    /// PostgreSQL does not answer, or refuses it.
    pub async fn rows(&self, sql: &str) -> Vec<Vec<String>> {
        self.ask(&self.url, sql).await
    }

    /// The same while it may be away; or why not.
    ///
    /// # Errors
    /// PostgreSQL does not answer, or refuses it.
    pub async fn try_rows(&self, sql: &str) -> Result<Vec<Vec<String>>, String> {
        self.try_ask(&self.url, sql).await
    }

    /// How many rows a table has.
    pub async fn count(&self, table: &str) -> u64 {
        let rows = self.rows(&format!("SELECT count(*) FROM {table}")).await;
        rows[0][0].parse().expect("a number")
    }

    /// Waits until a table has so many rows.
    pub async fn counts(&self, table: &str, rows: u64) {
        eventually(&format!("{rows} rows in {table}"), async || {
            let select = format!("SELECT count(*) FROM {table}");
            let found = self.try_rows(&select).await?;
            let found: u64 = found[0][0].parse().expect("a number");
            (found == rows).then_some(()).ok_or(format!("{found} rows"))
        })
        .await;
    }

    /// Takes the database away, if the test has made it, and if PostgreSQL answers.
    pub async fn forget(&self) {
        if self.is_own {
            let drop = format!("DROP DATABASE IF EXISTS {} (FORCE)", quoted(&self.database));
            _ = self.try_ask(&self.first_url, &drop).await;
        }
    }

    async fn ask(&self, url: &str, sql: &str) -> Vec<Vec<String>> {
        let rows = self.try_ask(url, sql).await;
        rows.unwrap_or_else(|why| panic!("{sql}: {why}"))
    }

    async fn try_ask(&self, url: &str, sql: &str) -> Result<Vec<Vec<String>>, String> {
        let mut psql = Command::new(&self.psql);
        psql.args(["--no-psqlrc", "--no-password", "--quiet", "--tuples-only"])
            .args([
                "--no-align",
                "--field-separator",
                VALUE,
                "--record-separator",
                ROW,
            ])
            .args(["--set", "ON_ERROR_STOP=1", "--command", sql, url])
            .envs(&self.environment)
            .kill_on_drop(true);
        let output = psql.output().await;
        let output = output.unwrap_or_else(|e| panic!("{}: {e}", self.psql.display()));
        told(&output)
    }
}

/// psql ends with a new line what it tells, if there are rows.
fn told(output: &Output) -> Result<Vec<Vec<String>>, String> {
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
    }
    let text = String::from_utf8_lossy(&output.stdout);
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let rows = text.split(ROW);
    Ok(rows
        .map(|row| row.split(VALUE).map(str::to_owned).collect())
        .collect())
}

/// By which psql comes in as the owner, and finds its libraries.
fn environment(services: &Services, of_program: &Value) -> BTreeMap<String, String> {
    let owner = services.owner_of_tables();
    let of = |key: &str| owner.get(&format!("AGUACERO_POSTGRES_{key}")).cloned();
    let password = of("PASSWORD_FILE").map(|file| {
        let password = fs::read_to_string(&file).unwrap_or_else(|e| panic!("{file}: {e}"));
        password.trim_end().to_owned()
    });
    let variables = [
        ("PGUSER", of("USERNAME")),
        ("PGPASSWORD", password),
        ("PGSSLROOTCERT", of("CA")),
        ("PGSSLCERT", of("CERTIFICATE")),
        ("PGSSLKEY", of("KEY")),
        ("PGSSLMODE", of("TLS").map(|_| "verify-full".to_owned())),
        ("PGCONNECT_TIMEOUT", Some("5".to_owned())),
    ];
    let told = variables.into_iter();
    let told = told.filter_map(|(name, value)| Some((name.to_owned(), value?)));
    let of_program = of_program.as_object().into_iter().flatten();
    let of_program = of_program.filter_map(|(n, v)| Some((n.clone(), v.as_str()?.to_owned())));
    told.chain(of_program).collect()
}

/// The same server's URL, with another database.
fn with_database(url: &str, name: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("postgres", url));
    let server = rest.split('/').next().unwrap_or(rest);
    format!("{scheme}://{server}/{name}")
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_takes_the_place_of_another_in_the_url() {
        let url = "postgres://127.0.0.1:5432/aguacero";
        assert_eq!(with_database(url, "aguacero"), url);
        assert_eq!(
            with_database(url, "e2e-1"),
            "postgres://127.0.0.1:5432/e2e-1"
        );
    }

    #[test]
    fn rows_and_values_are_told_apart() {
        let output = |stdout: &str| Output {
            status: std::process::ExitStatus::default(),
            stdout: stdout.into(),
            stderr: Vec::new(),
        };
        assert_eq!(told(&output("")), Ok(vec![]));
        assert_eq!(told(&output("\n")), Ok(vec![vec![String::new()]]));
        let rows = vec![
            vec!["1".to_owned(), String::new()],
            vec!["a\nb".to_owned(), "2".to_owned()],
        ];
        assert_eq!(told(&output("1\u{1f}\u{1e}a\nb\u{1f}2\n")), Ok(rows));
    }
}
