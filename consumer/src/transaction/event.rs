//! An event as a row has it: the values of its declared fields, owned.

use std::{borrow::Cow, fmt::Write as _};

use aguacero::{
    accept::{
        Document, Value,
        fit::{Fields, coordinates},
    },
    config::Type,
    scalar::Scalar,
};

use crate::decode::{self, Raw};

/// An event that was not taken before.
pub type Event = decode::Event<Row>;

/// What a row is made of beside the event's id and place.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Milliseconds since 1970: when the gateway took the event.
    pub at_ms: i64,
    /// By declared field; none where the event has nothing, or null.
    pub cells: Vec<Option<Cell>>,
}

/// A field's value.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// A string.
    Text(String),
    /// `true` or `false`.
    Bool(bool),
    /// A number without fraction or exponent.
    Integer(i128),
    /// Any other number.
    Number(f64),
    /// Degrees, of a field that is declared as coordinates.
    Coordinates {
        /// North of the equator.
        latitude: f64,
        /// East of Greenwich.
        longitude: f64,
    },
    /// An object or an array, as JSON.
    Json(String),
}

impl Row {
    /// The declared fields of an event.
    #[must_use]
    pub fn of(event: Document<'_>, raw: &Raw<'_>) -> Self {
        let fields = Fields::find(raw.stream, event);
        let declared = raw.stream.fields.iter().enumerate();
        let cell = |(i, field): (usize, &aguacero::config::Field)| {
            let value = fields.value(i)?;
            if field.types.0.contains(&Type::Coordinates)
                && let Some((latitude, longitude)) = coordinates(value)
            {
                return Some(Cell::Coordinates {
                    latitude,
                    longitude,
                });
            }
            Cell::of(value)
        };
        Self {
            at_ms: raw.stamp.at_ms,
            cells: declared.map(cell).collect(),
        }
    }

    /// The value of declared field `field`.
    #[must_use]
    pub fn cell(&self, field: usize) -> Option<&Cell> {
        self.cells.get(field)?.as_ref()
    }
}

impl Cell {
    fn of(value: &Value<'_>) -> Option<Self> {
        Some(match value {
            Value::Null => return None,
            Value::Scalar(Scalar::Str(text)) => Self::Text(text.clone().into_owned()),
            Value::Scalar(Scalar::Bool(is)) => Self::Bool(*is),
            Value::Scalar(Scalar::Int(n)) => Self::Integer(i128::from(*n)),
            Value::Scalar(Scalar::Large(n)) => Self::Integer(n.get()),
            Value::Scalar(Scalar::Float(n)) => Self::Number(*n),
            Value::Object(_) | Value::Array(_) => {
                let mut json = String::new();
                write_json(value, &mut json);
                Self::Json(json)
            }
        })
    }

    /// As PostgreSQL reads it from text, whatever the column's type; a point as `(latitude,longitude)`.
    #[must_use]
    pub fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Text(text) | Self::Json(text) => Cow::Borrowed(text),
            Self::Bool(is) => Cow::Borrowed(if *is { "true" } else { "false" }),
            Self::Integer(n) => Cow::Owned(n.to_string()),
            // With an exponent where that is shorter.
            Self::Number(n) => Cow::Owned(format!("{n:?}")),
            Self::Coordinates {
                latitude,
                longitude,
            } => Cow::Owned(format!("({latitude},{longitude})")),
        }
    }

    /// As JSON.
    #[must_use]
    pub fn json(&self) -> Cow<'_, str> {
        match self {
            Self::Text(text) => Cow::Owned(quoted(text)),
            Self::Coordinates {
                latitude,
                longitude,
            } => Cow::Owned(format!("[{latitude},{longitude}]")),
            other => other.text(),
        }
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Appends a value as JSON.
fn write_json(value: &Value<'_>, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Scalar(Scalar::Str(text)) => out.push_str(&quoted(text)),
        Value::Scalar(Scalar::Float(n)) => _ = write!(out, "{n:?}"), // a string takes everything
        Value::Scalar(scalar) => out.push_str(&scalar.text()),
        Value::Object(object) => {
            out.push('{');
            for (i, (name, value)) in object.entries().enumerate() {
                out.push_str(if i == 0 { "" } else { "," });
                out.push_str(&quoted(name));
                out.push(':');
                write_json(&value, out);
            }
            out.push('}');
        }
        Value::Array(array) => {
            out.push('[');
            for (i, element) in array.elements().enumerate() {
                out.push_str(if i == 0 { "" } else { "," });
                write_json(&element, out);
            }
            out.push(']');
        }
    }
}
