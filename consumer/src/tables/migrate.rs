//! What makes the tables as declared: planned, looked at by people, and done in one transaction.
//!
//! A change that would lose or reinterpret what is there is no part of a plan, but a mistake that says what to do.

use std::collections::BTreeMap;

use aguacero::config::{Column, Config, SqlTable, quoted};
use anyhow::bail;
use deadpool_postgres::GenericClient;
use tokio_postgres::Error;

use crate::transaction::{missing, told};

/// What is to be done, in this order, and what cannot be done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Statements of SQL.
    pub statements: Vec<String>,
    /// What stands against a declaration: a line each.
    pub mistakes: Vec<String>,
}

/// Types whose every value the other holds unchanged, without their bounds.
const WIDER: [(&str, &[&str]); 6] = [
    ("smallint", &["integer", "bigint", "numeric", "text"]),
    ("integer", &["bigint", "numeric", "text"]),
    ("bigint", &["numeric", "text"]),
    ("real", &["double precision"]),
    ("character varying", &["text"]),
    ("uuid", &["text"]),
];

/// Of all `apply`s of a database, one at a time.
const LOCK: &str = "SELECT pg_advisory_xact_lock(hashtext('aguacero tables'))";

const COLUMNS: &str = "SELECT attname::text, format_type(atttypid, atttypmod), attnotnull, atthasdef OR attidentity <> '' \
     FROM pg_attribute WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped ORDER BY attnum";

const PRIMARY_KEY: &str = "SELECT attribute.attname::text FROM pg_index index \
     CROSS JOIN LATERAL unnest(index.indkey) WITH ORDINALITY AS key (number, place) \
     JOIN pg_attribute attribute ON attribute.attrelid = index.indrelid AND attribute.attnum = key.number \
     WHERE index.indrelid = to_regclass($1) AND index.indisprimary ORDER BY key.place";

/// A column as it is.
struct There {
    sql_type: String,
    not_null: bool,
    has_default: bool,
}

/// Compares what is declared with what is there.
pub async fn plan(config: &Config, client: &impl GenericClient) -> Result<Plan, Error> {
    let mut plan = Plan {
        statements: missing(client).await?,
        mistakes: Vec::new(),
    };
    for stream in &config.streams {
        if let Some(table) = &stream.table {
            of_table(table, client, &mut plan).await?;
        }
    }
    Ok(plan)
}

/// Does it all, or nothing. Returns what was done.
pub async fn apply(
    config: &Config,
    client: &mut deadpool_postgres::Client,
) -> anyhow::Result<Vec<String>> {
    let said = |error: Error| anyhow::anyhow!("{}", told(&error));
    let transaction = client.transaction().await.map_err(said)?;
    transaction.execute(LOCK, &[]).await.map_err(said)?;
    let plan = plan(config, &transaction).await.map_err(said)?;
    if !plan.mistakes.is_empty() {
        bail!("{}", plan.mistakes.join("\n"));
    }
    for statement in &plan.statements {
        let done = transaction.batch_execute(statement).await;
        done.map_err(|error| anyhow::anyhow!("{}\n{statement}", told(&error)))?;
    }
    transaction.commit().await.map_err(said)?;
    Ok(plan.statements)
}

async fn of_table(
    table: &SqlTable,
    client: &impl GenericClient,
    plan: &mut Plan,
) -> Result<(), Error> {
    let name = table.name.to_string();
    let schema = quoted(&table.name.schema);
    let there = "SELECT to_regnamespace($1) IS NOT NULL";
    let has_schema: bool = client.query_one(there, &[&schema]).await?.get(0);
    let create_schema = format!("CREATE SCHEMA {schema}");
    if !has_schema && !plan.statements.contains(&create_schema) {
        plan.statements.push(create_schema);
    }
    let rows = client.query(COLUMNS, &[&name]).await?;
    if rows.is_empty() {
        plan.statements.push(create(table));
        return Ok(());
    }
    let there = rows.iter().map(|row| {
        let column = There {
            sql_type: row.get(1),
            not_null: row.get(2),
            has_default: row.get(3),
        };
        (row.get::<_, String>(0), column)
    });
    let there: BTreeMap<_, _> = there.collect();
    for column in &table.columns {
        of_column(table, column, there.get(&column.name), client, plan).await?;
    }
    let declared = |name: &String| table.columns.iter().any(|column| column.name == *name);
    for (column, is) in there.iter().filter(|(name, _)| !declared(name)) {
        if is.not_null && !is.has_default {
            plan.mistakes.push(format!(
                "table {name}: column {column} is not declared, and every row must have it: declare it, or give it a default"
            ));
        }
    }
    let key = client.query(PRIMARY_KEY, &[&name]).await?;
    let key: Vec<String> = key.iter().map(|row| row.get(0)).collect();
    let wanted: Vec<_> = table
        .primary_key
        .iter()
        .map(|i| table.columns[*i].name.clone())
        .collect();
    if key.is_empty() && !wanted.is_empty() {
        let columns = list(&wanted);
        let add = format!("ALTER TABLE {name} ADD PRIMARY KEY ({columns})");
        plan.statements.push(add);
    } else if key != wanted {
        plan.mistakes.push(format!(
            "table {name}: its primary key is ({}), and ({}) is declared: whoever knows what depends on it has to change it",
            key.join(", "),
            wanted.join(", ")
        ));
    }
    Ok(())
}

fn list(names: &[String]) -> String {
    let quoted: Vec<_> = names.iter().map(|name| quoted(name)).collect();
    quoted.join(", ")
}

fn create(table: &SqlTable) -> String {
    let mut lines: Vec<_> = table.columns.iter().map(definition).collect();
    if !table.primary_key.is_empty() {
        let key = table.primary_key.iter();
        let key: Vec<_> = key.map(|i| table.columns[*i].name.clone()).collect();
        lines.push(format!("PRIMARY KEY ({})", list(&key)));
    }
    let lines = lines.join(",\n  ");
    format!("CREATE TABLE {} (\n  {lines})", table.name)
}

fn definition(column: &Column) -> String {
    let null = if column.not_null { " NOT NULL" } else { "" };
    format!("{} {}{null}", quoted(&column.name), column.sql_type)
}

async fn of_column(
    table: &SqlTable,
    column: &Column,
    there: Option<&There>,
    client: &impl GenericClient,
    plan: &mut Plan,
) -> Result<(), Error> {
    let (name, quoted_column) = (table.name.to_string(), quoted(&column.name));
    let mut mistake = |what: String| {
        let column = &column.name;
        plan.mistakes
            .push(format!("table {name}: column {column} {what}"));
    };
    let Some(there) = there else {
        if column.not_null && has_rows(&name, "true", client).await? {
            mistake("is new, and rows that are there have nothing in it: declare it with not_null = false".to_owned());
            return Ok(());
        }
        let add = format!("ALTER TABLE {name} ADD COLUMN {}", definition(column));
        plan.statements.push(add);
        return Ok(());
    };
    let Some(declared) = normal(&column.sql_type, client).await? else {
        let declared = &column.sql_type;
        mistake(format!(
            "is declared as {declared}, a type that PostgreSQL has not"
        ));
        return Ok(());
    };
    if declared != there.sql_type {
        if !is_wider(&there.sql_type, &declared) {
            let is = &there.sql_type;
            mistake(format!(
                "is {is}, and {declared} is declared, which may not hold all of it: declare {is}, or write a new column"
            ));
            return Ok(());
        }
        let alter = format!(
            "ALTER TABLE {name} ALTER COLUMN {quoted_column} TYPE {}",
            column.sql_type
        );
        plan.statements.push(alter);
    }
    let is_key = table
        .primary_key
        .iter()
        .any(|i| table.columns[*i].name == column.name);
    if column.not_null && !there.not_null {
        if has_rows(&name, &format!("{quoted_column} IS NULL"), client).await? {
            mistake("is to be in every row, and some have nothing in it: declare it with not_null = false".to_owned());
            return Ok(());
        }
        let set = format!("ALTER TABLE {name} ALTER COLUMN {quoted_column} SET NOT NULL");
        plan.statements.push(set);
    } else if !column.not_null && there.not_null && !is_key {
        let drop = format!("ALTER TABLE {name} ALTER COLUMN {quoted_column} DROP NOT NULL");
        plan.statements.push(drop);
    }
    Ok(())
}

async fn has_rows(
    table: &str,
    condition: &str,
    client: &impl GenericClient,
) -> Result<bool, Error> {
    let sql = format!("SELECT EXISTS (SELECT FROM {table} WHERE {condition})");
    Ok(client.query_one(sql.as_str(), &[]).await?.get(0))
}

/// A type as PostgreSQL itself writes it; none if there is none of that name.
async fn normal(sql_type: &str, client: &impl GenericClient) -> Result<Option<String>, Error> {
    // An error would end the transaction.
    let named =
        "SELECT typtype = 'd', format_type(oid, NULL) FROM pg_type WHERE oid = to_regtype($1)";
    let Some(named) = client.query_opt(named, &[&sql_type]).await? else {
        return Ok(None);
    };
    // Of a domain, what is answered below has the type that it is made of.
    if named.get(0) {
        return Ok(Some(named.get(1)));
    }
    let statement = client.prepare(&format!("SELECT NULL::{sql_type}")).await?;
    let column = &statement.columns()[0];
    let (oid, bounds) = (column.type_().oid(), column.type_modifier());
    let sql = "SELECT format_type($1, $2)";
    let row = client.query_one(sql, &[&oid, &bounds]).await?;
    Ok(Some(row.get(0)))
}

/// Whether every value of `from` is one of `to`, unchanged.
fn is_wider(from: &str, to: &str) -> bool {
    let ((from, from_bounds), (to, to_bounds)) = (bounds(from), bounds(to));
    if from == to {
        return match (&from_bounds[..], &to_bounds[..]) {
            (_, []) => true,
            ([], _) => false,
            // numeric(p, s): as many digits before the point, and as many behind it.
            ([p, s], [q, t]) => q - t >= p - s && t >= s,
            ([n], [m]) => m >= n && from == "character varying",
            _ => false,
        };
    }
    let wider = WIDER.iter().find(|(name, _)| *name == from);
    to_bounds.is_empty() && wider.is_some_and(|(_, wider)| wider.contains(&&*to))
}

/// `numeric(12,2)` in its parts. Bounds may stand within a name: `timestamp(3) with time zone`.
fn bounds(sql_type: &str) -> (String, Vec<i32>) {
    let parts = sql_type.split_once('(').and_then(|(before, rest)| {
        let (bounds, behind) = rest.split_once(')')?;
        Some((format!("{before}{behind}"), bounds))
    });
    let Some((name, bounds)) = parts else {
        return (sql_type.to_owned(), Vec::new());
    };
    let numbers = bounds.split(',').filter_map(|n| n.trim().parse().ok());
    (name, numbers.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_changed_only_to_one_that_holds_all_that_is_there() {
        for (from, to, is) in [
            ("integer", "bigint", true),
            ("bigint", "integer", false),
            ("character varying(10)", "character varying(20)", true),
            ("character varying(20)", "character varying(10)", false),
            ("character varying(20)", "character varying", true),
            ("character varying(20)", "text", true),
            ("text", "character varying(20)", false),
            ("numeric(10,2)", "numeric(12,2)", true),
            ("numeric(10,2)", "numeric(11,4)", false),
            ("numeric(10,2)", "numeric", true),
            ("character(3)", "character(5)", false), // it is filled up with spaces
            ("text", "jsonb", false),
            (
                "timestamp(3) with time zone",
                "timestamp with time zone",
                true,
            ),
            (
                "timestamp(6) with time zone",
                "timestamp(3) with time zone",
                false,
            ),
            (
                "timestamp(3) with time zone",
                "timestamp(3) without time zone",
                false,
            ),
            ("character varying(20)[]", "character varying(10)[]", false),
            ("character varying(20)[]", "character varying[]", true),
            ("character varying(20)", "character varying(20)[]", false),
            ("point", "text", false),
        ] {
            assert_eq!(is_wider(from, to), is, "{from} to {to}");
        }
    }
}
