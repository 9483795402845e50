//! A table of PostgreSQL that a stream's events become rows of. Declared, not programmed.

use std::fmt;

/// `[streams.NAME.table]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Its name, and its schema.
    pub name: TableName,
    /// In the order of the file.
    pub columns: Vec<Column>,
    /// Positions in `columns`; empty: the table has no primary key.
    pub primary_key: Vec<usize>,
    /// What becomes of a row whose primary key is there.
    pub on_conflict: OnConflict,
}

/// `ventas` or `gremio.ventas`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableName {
    /// Before the dot; `public` where there is none, wherever PostgreSQL would look first.
    pub schema: String,
    /// Behind it.
    pub name: String,
}

/// `{ name = "cliente", field = "Cliente", type = "varchar(128)" }`, or with `value` in the place of `field`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name in the table.
    pub name: String,
    /// What it holds.
    pub value: ColumnValue,
    /// As PostgreSQL is told it: `varchar(128)`.
    pub sql_type: String,
    /// Whether a row must have it.
    pub not_null: bool,
}

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnValue {
    /// The value of a declared field: its position in `Stream::fields`.
    Field(usize),
    /// The event's id.
    Id,
    /// When the gateway took the event.
    Arrival,
    /// The topic that the event lies in.
    Topic,
    /// Its partition there.
    Partition,
    /// Its offset there.
    Offset,
}

impl ColumnValue {
    /// Those that are no field, by the names under which they are declared, and their types.
    pub const GENERATED: [(&str, Self, &str); 5] = [
        ("id", Self::Id, "uuid"),
        ("arrival", Self::Arrival, "timestamptz"),
        ("topic", Self::Topic, "text"),
        ("partition", Self::Partition, "integer"),
        ("offset", Self::Offset, "bigint"),
    ];
}

/// `on_conflict = "insert" | "update" | "ignore"`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnConflict {
    /// The primary key is to be new: the event becomes a dead letter.
    #[default]
    Insert,
    /// The row of the later event stays, by arrival; of the same millisecond, that which comes later.
    Update,
    /// The row that is there stays.
    Ignore,
}

/// As SQL has an identifier.
#[must_use]
pub fn quoted(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}

/// As SQL has it, quoted.
impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", quoted(&self.schema), quoted(&self.name))
    }
}
