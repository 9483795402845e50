//! The tables of a processor, made in steps: each step once, in the order in which releases have added them.

use aguacero::config::Postgres;
use anyhow::{Context as _, bail};
use consumer::{
    retry::{RetryLimit, hosts},
    transaction::{missing, told, told_of_pool},
};
use deadpool_postgres::{Object, Pool, Transaction};
use tokio_postgres::{Error, error::SqlState};

/// Processes that make tables at the same time wait for each other.
const ALONE: &str = "SELECT pg_advisory_xact_lock(hashtextextended('aguacero processors', 0))";

/// What a processor keeps its state in.
#[derive(Debug, Clone, Copy)]
pub struct Tables {
    /// The processor's name.
    pub processor: &'static str,
    /// The schema that they are in: an identifier that needs no quotation marks.
    pub schema: &'static str,
    /// Statements. A later release adds some; those that there are never change.
    pub steps: &'static [&'static str],
}

/// Why tables cannot be made.
enum Failure {
    /// The server is away, or busy: it is tried again.
    Passing(String),
    /// Somebody has to do something.
    Lasting(String),
}

impl Tables {
    /// Makes what is missing: the frame's own tables, the schema, and the steps that were not made yet. Waits for a
    /// server that is away.
    pub async fn ensure(&self, pool: &Pool, postgres: &Postgres) -> anyhow::Result<()> {
        self.ensure_within(RetryLimit::endless(), pool, postgres)
            .await
    }

    /// The same for a command, which does not wait for ever.
    pub async fn ensure_soon(&self, pool: &Pool, postgres: &Postgres) -> anyhow::Result<()> {
        self.ensure_within(RetryLimit::of_a_command(), pool, postgres)
            .await
    }

    async fn ensure_within(
        &self,
        limit: RetryLimit,
        pool: &Pool,
        postgres: &Postgres,
    ) -> anyhow::Result<()> {
        let address = postgres.address();
        let server = format!("PostgreSQL at {}", hosts(&address));
        let made = limit.retry(&server, || async {
            match self.make(pool).await {
                Ok(()) => Ok(Ok(())),
                Err(Failure::Lasting(why)) => Ok(Err(why)),
                Err(Failure::Passing(why)) => Err(why),
            }
        });
        match made.await? {
            Ok(()) => Ok(()),
            Err(why) => bail!("{server}: {why}"),
        }
    }

    async fn make(&self, pool: &Pool) -> Result<(), Failure> {
        let mut client = pool
            .get()
            .await
            .map_err(|e| Failure::Passing(told_of_pool(&e)))?;
        let transaction = client.transaction().await.map_err(|e| self.failure(&e))?;
        let done = self
            .done(&transaction)
            .await
            .map_err(|e| self.failure(&e))?;
        if done > self.steps.len() {
            return Err(Failure::Lasting(format!(
                "the tables of {} were made by a later release",
                self.processor
            )));
        }
        self.add(&transaction, done)
            .await
            .map_err(|e| self.failure(&e))?;
        transaction.commit().await.map_err(|e| self.failure(&e))
    }

    /// Steps that were made. Whoever is told that some are missing is alone until the end of the transaction.
    async fn done(&self, transaction: &Transaction<'_>) -> Result<usize, Error> {
        let frame = missing(transaction).await?;
        if frame.is_empty() {
            let done = self.recorded(transaction).await?;
            if done >= self.steps.len() {
                return Ok(done);
            }
        }
        transaction.batch_execute(ALONE).await?;
        for statement in missing(transaction).await? {
            transaction.batch_execute(&statement).await?;
        }
        self.recorded(transaction).await
    }

    async fn recorded(&self, transaction: &Transaction<'_>) -> Result<usize, Error> {
        let table = format!("{}.processors", self.schema);
        let there = "SELECT to_regclass($1) IS NOT NULL";
        if !transaction
            .query_one(there, &[&table])
            .await?
            .get::<_, bool>(0)
        {
            return Ok(0);
        }
        let steps = format!("SELECT steps FROM {table} WHERE name = $1");
        let row = transaction.query_opt(&steps, &[&self.processor]).await?;
        Ok(row.map_or(0, |row| usize::try_from(row.get::<_, i32>(0)).unwrap_or(0)))
    }

    /// Makes the steps from `done` on.
    async fn add(&self, transaction: &Transaction<'_>, done: usize) -> Result<(), Error> {
        let schema = self.schema;
        let steps = &self.steps[done..];
        if steps.is_empty() {
            return Ok(());
        }
        let there = "SELECT to_regnamespace($1) IS NOT NULL";
        if !transaction
            .query_one(there, &[&schema])
            .await?
            .get::<_, bool>(0)
        {
            transaction
                .batch_execute(&format!("CREATE SCHEMA {schema}"))
                .await?;
        }
        let list = format!(
            "CREATE TABLE IF NOT EXISTS {schema}.processors (name text PRIMARY KEY, steps integer NOT NULL)"
        );
        transaction.batch_execute(&list).await?;
        for step in steps {
            transaction.batch_execute(step).await?;
        }
        let record = format!(
            "INSERT INTO {schema}.processors (name, steps) VALUES ($1, $2) \
             ON CONFLICT (name) DO UPDATE SET steps = EXCLUDED.steps"
        );
        let all = i32::try_from(self.steps.len()).unwrap_or(i32::MAX);
        transaction
            .execute(&record, &[&self.processor, &all])
            .await?;
        tracing::info!(schema, steps = steps.len(), "tables were made");
        Ok(())
    }

    fn failure(&self, error: &Error) -> Failure {
        let why = told(error);
        let Some(code) = error.code() else {
            return Failure::Passing(why); // the connection is gone
        };
        if *code == SqlState::INSUFFICIENT_PRIVILEGE {
            let processor = self.processor;
            return Failure::Lasting(format!(
                "{why}: the tables of {processor} are missing, and a user who may create them has to start it once"
            ));
        }
        // Somebody else may make the same tables at the same time.
        let is_made_meanwhile = [SqlState::DUPLICATE_TABLE, SqlState::DUPLICATE_SCHEMA];
        match code.code().starts_with("42") && !is_made_meanwhile.contains(code) {
            true => Failure::Lasting(format!(
                "the tables of {} cannot be made: {why}",
                self.processor
            )),
            false => Failure::Passing(why),
        }
    }
}

/// A connection for a command.
pub async fn connection(pool: &Pool) -> anyhow::Result<Object> {
    let got = pool.get().await;
    got.map_err(|error| anyhow::anyhow!(told_of_pool(&error)))
        .context("PostgreSQL")
}
