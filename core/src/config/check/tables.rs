//! `[streams.NAME.table]`: the stream's table in PostgreSQL.

use std::collections::HashMap;

use crate::config::{
    Column, ColumnValue, Field, OnConflict, SqlTable, TableName, Type, names,
    raw::{Found, Table, one_of},
};

use super::fields;

/// What becomes of a row whose primary key is there, by the names under which it is declared.
const ON_CONFLICT: [(&str, OnConflict); 3] = [
    ("insert", OnConflict::Insert),
    ("update", OnConflict::Update),
    ("ignore", OnConflict::Ignore),
];

/// The schema of a table that names none.
const PUBLIC: &str = "public";
/// The schema that is ours.
const OURS: &str = "aguacero";

/// The stream's table, if it declares one; `stream` is what it is called unless it says otherwise. `taken` has the
/// tables of the streams before.
pub(super) fn read(
    stream: &Table<'_>,
    fields: &[Field],
    taken: &mut HashMap<String, String>,
) -> Option<SqlTable> {
    let table = stream.table("table")?;
    let name = name(&table, stream.name(), taken);
    let columns = columns(&table, fields);
    let primary_key = primary_key(&table, &columns);
    let on_conflict = on_conflict(&table);
    judge(&table, &columns, &primary_key, on_conflict);
    table.done();
    Some(SqlTable {
        name,
        columns,
        primary_key,
        on_conflict,
    })
}

fn name(table: &Table<'_>, stream: &str, taken: &mut HashMap<String, String>) -> TableName {
    let text = table.text("name", stream, |name| {
        let (schema, name) = parts(name);
        let wrong = schema.and_then(names::sql).or_else(|| names::sql(name));
        let is_ours = schema == Some(OURS);
        let ours = format!("the schema {OURS} holds what this program needs; choose another");
        wrong.map(str::to_owned).or(is_ours.then_some(ours))
    });
    let place = table.source().place(&table.spot_of("name"));
    let (schema, bare) = parts(&text);
    let name = TableName {
        schema: schema.unwrap_or(PUBLIC).to_owned(),
        name: bare.to_owned(),
    };
    if let Some(place) = taken.insert(name.to_string(), place) {
        let what = format!("another stream has the table \"{text}\" ({place}); choose another");
        table.report_absence(&table.spot_of("name"), what);
    }
    name
}

/// `schema.name`
fn parts(text: &str) -> (Option<&str>, &str) {
    text.split_once('.')
        .map_or((None, text), |(schema, name)| (Some(schema), name))
}

fn columns(table: &Table<'_>, fields: &[Field]) -> Vec<Column> {
    let mut columns: Vec<Column> = Vec::new();
    for column_table in table.tables("columns") {
        let spot = column_table.spot().child("name");
        let Some(column) = column(column_table, fields) else {
            continue;
        };
        if columns.iter().any(|other| other.name == column.name) {
            let what = format!("this table already has a column \"{}\"", column.name);
            table.report_absence(&table.source().at(spot.path()), what);
        }
        columns.push(column);
    }
    if columns.is_empty() && table.source().sound(table.spot_of("columns").path()) {
        let what = "needs at least one; write columns = [{ name = \"id\", value = \"id\" }]";
        table.report_absence(&table.spot_of("columns"), what);
    }
    columns
}

fn column(table: Table<'_>, fields: &[Field]) -> Option<Column> {
    let name = table.need::<String>("name");
    if let Some(Found { value, spot }) = &name
        && let Some(what) = names::sql(value)
    {
        table.report_at(spot, what);
    }
    let (field, value) = (table.get::<String>("field"), table.get::<String>("value"));
    let held = match (&field, &value) {
        (Some(found), None) => fields::position(&table, fields, found).map(ColumnValue::Field),
        (None, Some(found)) => generated(&table, found),
        _ => {
            let names = ColumnValue::GENERATED.map(|(name, ..)| name).join(", ");
            let what = format!("needs a field, or else a value, which may be {names}");
            table.report_absence(table.spot(), what);
            None
        }
    };
    let declared = table.text("type", "", |text| match text.is_empty() {
        true => None,
        false => names::sql_type(text),
    });
    let is_required = match held {
        Some(ColumnValue::Field(field)) => fields[field].required,
        _ => true,
    };
    let not_null = table
        .get::<bool>("not_null")
        .map_or(is_required, |found| found.value);
    table.done();
    let value = held?;
    let sql_type = match declared.is_empty() {
        true => default_type(value, fields),
        false => declared,
    };
    Some(Column {
        name: name?.value,
        value,
        sql_type,
        not_null,
    })
}

fn generated(table: &Table<'_>, found: &Found<String>) -> Option<ColumnValue> {
    let known = ColumnValue::GENERATED;
    let value = known.iter().find(|(name, ..)| *name == found.value);
    if value.is_none() {
        let hint = one_of(&found.value, &known.map(|(name, ..)| name));
        let what = format!("there is no \"{}\"; {hint}", found.value);
        table.report_at(&found.spot, what);
    }
    value.map(|(_, value, _)| *value)
}

/// What holds every value that the field can have.
fn default_type(value: ColumnValue, fields: &[Field]) -> String {
    let generated = ColumnValue::GENERATED.iter().find(|(_, v, _)| *v == value);
    let of_field = |field: &Field| match &field.types.0[..] {
        [] => "jsonb",
        [Type::String] => "text",
        [Type::Integer] => "bigint",
        [Type::Number | Type::Integer, ..] if field.types.0.iter().all(is_number) => {
            "double precision"
        }
        [Type::Boolean] => "boolean",
        [Type::Coordinates] => "point",
        [Type::Object | Type::Array, ..] => "jsonb",
        _ => "text",
    };
    match (value, generated) {
        (ColumnValue::Field(field), _) => of_field(&fields[field]).to_owned(),
        (_, generated) => generated
            .map_or("text", |(_, _, sql_type)| sql_type)
            .to_owned(),
    }
}

fn is_number(of: &Type) -> bool {
    matches!(of, Type::Integer | Type::Number)
}

fn primary_key(table: &Table<'_>, columns: &[Column]) -> Vec<usize> {
    let mut positions = Vec::new();
    for Found { value, spot } in table.list::<String>("primary_key").unwrap_or_default() {
        let Some(position) = columns.iter().position(|column| column.name == value) else {
            let known: Vec<_> = columns.iter().map(|column| column.name.as_str()).collect();
            let what = format!("there is no column \"{value}\"; {}", one_of(&value, &known));
            table.report_absence(&spot, what);
            continue;
        };
        if positions.contains(&position) {
            table.report_at(&spot, "is listed twice");
        }
        positions.push(position);
    }
    positions
}

fn on_conflict(table: &Table<'_>) -> OnConflict {
    let Some(Found { value, spot }) = table.get::<String>("on_conflict") else {
        return OnConflict::default();
    };
    if let Some((_, what)) = ON_CONFLICT.iter().find(|(name, _)| *name == value) {
        return *what;
    }
    let hint = one_of(&value, &ON_CONFLICT.map(|(name, _)| name));
    table.report_at(&spot, format!("cannot be \"{value}\"; {hint}"));
    OnConflict::default()
}

/// What `on_conflict` needs.
fn judge(table: &Table<'_>, columns: &[Column], primary_key: &[usize], on_conflict: OnConflict) {
    let spot = table.spot_of("on_conflict");
    if on_conflict != OnConflict::Insert && primary_key.is_empty() {
        let what = "needs a primary_key, by which a row is found that is there";
        table.report_absence(&spot, what);
    }
    let has_arrival = columns.iter().any(|c| c.value == ColumnValue::Arrival);
    if on_conflict == OnConflict::Update && !has_arrival {
        let what =
            "needs a column with value = \"arrival\", by which the later of two events is known";
        table.report_absence(&spot, what);
    }
}
