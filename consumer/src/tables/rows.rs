//! Events into rows: one statement for all of a stream's events in a batch. `COPY` where it can do what is asked for
//! ([`copy`]), `INSERT` otherwise.
//!
//! Every value goes to PostgreSQL as text, and is read there as the type that the column has: what a type takes is
//! PostgreSQL's own judgement, and its message is what a dead letter says.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
};

use aguacero::config::{Column, ColumnValue, Config, OnConflict, SqlTable, quoted};
use anyhow::{Context as _, ensure};
use bytes::Bytes;
use deadpool_postgres::{GenericClient, Transaction};
use futures_util::{SinkExt as _, pin_mut};
use tokio_postgres::{Error, types::ToSql};
use uuid::Uuid;

use super::copy;
use crate::{
    batch::Source,
    transaction::{Apply, Event, Said},
};

/// Each column's type, without its bounds: those are PostgreSQL's to check. A cast to `varchar(5)` cuts what is too long, an
/// assignment refuses it. So does a cast to a domain over it, which is why that is the type that the domain is made of.
const TYPES: &str = "WITH RECURSIVE base (name, oid) AS (SELECT attname, atttypid FROM pg_attribute \
     WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped \
     UNION ALL SELECT base.name, typbasetype FROM base JOIN pg_type USING (oid) WHERE typtype = 'd') \
     SELECT base.name::text, typname::text, quote_ident(nspname) || '.' || quote_ident(typname) \
     FROM base JOIN pg_type type USING (oid) JOIN pg_namespace namespace ON namespace.oid = typnamespace \
     WHERE typtype <> 'd'";

/// Whether a table takes `COPY` as it takes `INSERT`: it is no view, no rule stands in for the statement, no policy judges
/// its rows, and no trigger comes before the statement. What that one raises comes before PostgreSQL has read the first
/// `Sync` of tokio-postgres 0.7, which sends another one at the end: it is answered twice, and every answer afterwards is
/// taken for that of the request before.
const TAKES_COPY: &str = "SELECT relkind IN ('r', 'p') AND NOT relhasrules AND NOT row_security_active(oid) \
     AND NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = pg_class.oid AND tgtype & 7 = 6) \
     FROM pg_class WHERE oid = to_regclass($1)";

/// The type of a column whose text is a moment, whatever the session's time zone.
const MOMENT: &str = "timestamptz";

/// Types that hold JSON.
const JSON: [&str; 2] = ["json", "jsonb"];

/// The tables of a configuration's streams.
pub struct Rows {
    /// By the stream's position in `Config::streams`, and in that order: two transactions wait for each other.
    statements: BTreeMap<usize, Statement>,
    topics: Vec<String>,
}

/// How the rows of a stream are written.
struct Statement {
    /// As SQL names it.
    table: String,
    insert: String,
    /// Where every column reads from text what it is to hold, and no row that is there is in the way.
    copy: Option<String>,
    /// What each parameter holds, and whether as JSON.
    columns: Vec<(ColumnValue, bool)>,
}

impl Rows {
    /// Looks at the tables as they are; all of them are to be there as declared ([`super::migrate`]).
    pub async fn look(config: &Config, client: &impl GenericClient) -> anyhow::Result<Self> {
        let mut statements = BTreeMap::new();
        for stream in &config.streams {
            let Some(table) = &stream.table else {
                continue;
            };
            let name = table.name.to_string();
            let rows = client.query(TYPES, &[&name]).await.map_err(Said::from)?;
            let types: HashMap<String, (String, String)> = rows
                .iter()
                .map(|row| (row.get(0), (row.get(1), row.get(2))))
                .collect();
            let missing = table.columns.iter().find(|c| !types.contains_key(&c.name));
            ensure!(
                missing.is_none(),
                "table {name} is not as declared: run `consumer tables apply`"
            );
            let statement = Statement::of(table, &types);
            // Which PostgreSQL compares with the table, as it does not with `COPY`.
            let prepared = client.prepare(&statement.insert).await;
            let prepared = prepared.map_err(Said::from);
            prepared.with_context(|| format!("table {name}"))?;
            statements.insert(stream.index, statement);
        }
        let topics = config.topics.iter().map(|topic| topic.name.clone());
        Ok(Self {
            statements,
            topics: topics.collect(),
        })
    }
}

impl Statement {
    fn of(table: &SqlTable, types: &HashMap<String, (String, String)>) -> Self {
        let columns = table.columns.iter();
        let type_of = |c: &Column| &*types[&c.name].0;
        let moments = columns.clone().filter(|c| c.value == ColumnValue::Arrival);
        let is_copy = table.on_conflict == OnConflict::Insert
            && moments.map(type_of).all(|name| name == MOMENT);
        let name = table.name.to_string();
        Self {
            insert: sql(table, |column| &types[&column.name].1),
            copy: is_copy.then(|| copy::sql(&name, &names(&table.columns))),
            table: name,
            columns: columns
                .map(|c| (c.value, JSON.contains(&type_of(c))))
                .collect(),
        }
    }

    /// Writes `events`, all of its stream.
    async fn write(
        &self,
        transaction: &Transaction<'_>,
        events: &[&&Event],
        place: (&str, i32),
    ) -> Result<(), Error> {
        if let Some(copy) = &self.copy
            && self.takes_copy(transaction).await?
        {
            return self.copy(copy, transaction, events, place).await;
        }
        let prepared = transaction.prepare_cached(&self.insert).await?;
        let columns = self.columns.iter();
        let arrays: Vec<Vec<_>> = columns
            .map(|column| events.iter().map(|e| value(e, *column, place)).collect())
            .collect();
        let parameters = arrays.iter().map(|array| array as &(dyn ToSql + Sync));
        let parameters: Vec<_> = parameters.collect();
        transaction.execute(&prepared, &parameters).await?;
        Ok(())
    }

    /// Asked for each batch: somebody may give the table a rule or a policy at any time.
    async fn takes_copy(&self, transaction: &Transaction<'_>) -> Result<bool, Error> {
        let prepared = transaction.prepare_cached(TAKES_COPY).await?;
        let row = transaction.query_opt(&prepared, &[&self.table]).await?;
        Ok(row.is_some_and(|row| row.get(0)))
    }

    async fn copy(
        &self,
        sql: &str,
        transaction: &Transaction<'_>,
        events: &[&&Event],
        place: (&str, i32),
    ) -> Result<(), Error> {
        let mut lines = String::new();
        for event in events {
            let columns = self.columns.iter();
            copy::line(
                columns.map(|(of, is_json)| match of {
                    ColumnValue::Arrival => Some(copy::moment(event.document.at_ms).into()),
                    _ => value(event, (*of, *is_json), place),
                }),
                &mut lines,
            );
        }
        let prepared = transaction.prepare_cached(sql).await?;
        let rows = transaction.copy_in(&prepared).await?;
        pin_mut!(rows);
        rows.send(Bytes::from(lines)).await?;
        rows.finish().await?;
        Ok(())
    }
}

/// Their names, as a list.
fn names<'a>(columns: impl IntoIterator<Item = &'a Column>) -> String {
    let names = columns.into_iter().map(|column| quoted(&column.name));
    names.collect::<Vec<_>>().join(", ")
}

/// `INSERT` of as many rows as the arrays hold; `type_of` tells a column's type.
fn sql<'a>(table: &SqlTable, type_of: impl Fn(&Column) -> &'a str) -> String {
    let list = |each: &dyn Fn(usize, &Column) -> String| {
        let each = table
            .columns
            .iter()
            .enumerate()
            .map(|(i, column)| each(i, column));
        each.collect::<Vec<_>>().join(", ")
    };
    let all = names(&table.columns);
    let arrays = list(&|i, _| format!("${}::text[]", i + 1));
    let given = list(&|i, _| format!("c{i}"));
    let values = list(&|i, column| {
        let value = match column.value {
            ColumnValue::Arrival => format!("to_timestamp(c{i}::double precision / 1000)"),
            _ => format!("c{i}::{}", type_of(column)),
        };
        format!("{value} AS {}", quoted(&column.name))
    });
    let rows = format!("SELECT {values} FROM unnest({arrays}) AS row ({given})");
    let insert = format!("INSERT INTO {} ({all})", table.name);
    let key = names(table.primary_key.iter().map(|i| &table.columns[*i]));
    match table.on_conflict {
        OnConflict::Insert => format!("{insert} {rows}"),
        OnConflict::Ignore => format!("{insert} {rows} ON CONFLICT ({key}) DO NOTHING"),
        OnConflict::Update => {
            let arrival = table.columns.iter();
            let arrival = arrival.filter(|c| c.value == ColumnValue::Arrival);
            let arrival = arrival.map(|c| quoted(&c.name)).next().unwrap_or_default();
            let set = list(&|_, column| {
                let name = quoted(&column.name);
                format!("{name} = EXCLUDED.{name}")
            });
            // The latest of each key, since a statement changes a row once; in the order of the keys, so that two
            // transactions wait for each other instead of locking each other out.
            format!(
                "{insert} SELECT DISTINCT ON ({key}) {all} FROM \
                 (SELECT {values}, \"#\" FROM unnest({arrays}) WITH ORDINALITY AS row ({given}, \"#\")) AS new \
                 ORDER BY {key}, {arrival} DESC, \"#\" DESC \
                 ON CONFLICT ({key}) DO UPDATE SET {set} WHERE {}.{arrival} <= EXCLUDED.{arrival}",
                table.name
            )
        }
    }
}

/// What a column holds of an event.
fn value<'e>(
    event: &'e Event,
    (of, is_json): (ColumnValue, bool),
    (topic, partition): (&'e str, i32),
) -> Option<Cow<'e, str>> {
    Some(match of {
        ColumnValue::Field(field) => {
            let cell = event.document.cell(field)?;
            match is_json {
                true => cell.json(),
                false => cell.text(),
            }
        }
        ColumnValue::Id => Uuid::from_bytes(event.id.0).to_string().into(),
        ColumnValue::Arrival => event.document.at_ms.to_string().into(),
        ColumnValue::Topic => topic.into(),
        ColumnValue::Partition => partition.to_string().into(),
        ColumnValue::Offset => event.offset.to_string().into(),
    })
}

impl Apply for Rows {
    fn wants(&self, stream: usize) -> bool {
        self.statements.contains_key(&stream)
    }

    async fn apply(
        &self,
        transaction: &Transaction<'_>,
        source: &Source,
        events: &[&Event],
    ) -> Result<(), Error> {
        let place = (&*self.topics[source.topic], source.position.partition);
        for (stream, statement) in &self.statements {
            let of_stream = events.iter().filter(|event| event.stream == *stream);
            let of_stream: Vec<_> = of_stream.collect();
            if !of_stream.is_empty() {
                statement.write(transaction, &of_stream, place).await?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use aguacero::config::TableName;

    use super::*;

    fn table(on_conflict: OnConflict) -> SqlTable {
        let column = |name: &str, value| Column {
            name: name.to_owned(),
            value,
            sql_type: "text".to_owned(),
            not_null: true,
        };
        SqlTable {
            name: TableName {
                schema: "gremio".to_owned(),
                name: "miembros".to_owned(),
            },
            columns: vec![
                column("rut", ColumnValue::Field(2)),
                column("registrado", ColumnValue::Arrival),
            ],
            primary_key: vec![0],
            on_conflict,
        }
    }

    #[test]
    fn a_statement_writes_any_number_of_rows_and_says_what_a_row_that_is_there_means() {
        let of = |on_conflict| sql(&table(on_conflict), |_| "pg_catalog.text");
        let insert = "INSERT INTO \"gremio\".\"miembros\" (\"rut\", \"registrado\") ";
        let rows = "SELECT c0::pg_catalog.text AS \"rut\", to_timestamp(c1::double precision / 1000) AS \"registrado\" \
                    FROM unnest($1::text[], $2::text[]) AS row (c0, c1)";
        assert_eq!(of(OnConflict::Insert), format!("{insert}{rows}"));
        assert_eq!(
            of(OnConflict::Ignore),
            format!("{insert}{rows} ON CONFLICT (\"rut\") DO NOTHING")
        );
        let update = of(OnConflict::Update);
        assert!(update.contains("DISTINCT ON (\"rut\")"), "{update}");
        assert!(
            update.contains(
                "WHERE \"gremio\".\"miembros\".\"registrado\" <= EXCLUDED.\"registrado\""
            ),
            "{update}"
        );
    }
}
