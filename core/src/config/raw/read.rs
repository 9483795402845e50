//! The types that a value can have.

use toml::de::{DeFloat, DeInteger, DeValue};

use crate::scalar::Scalar;

/// A type that a key of the file, or a variable of the environment, can have.
pub(in crate::config) trait Read: Sized {
    /// Completes "must be …".
    const WHAT: &'static str;
    /// Completes "write key = …".
    const EXAMPLE: &'static str;

    /// From the file.
    fn from_toml(value: &DeValue<'_>) -> Option<Self>;

    /// From a variable.
    fn from_text(text: &str) -> Option<Self>;
}

impl Read for String {
    const WHAT: &'static str = "a string";
    const EXAMPLE: &'static str = "\"…\"";

    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        value.as_str().map(str::to_owned)
    }

    fn from_text(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }
}

impl Read for i64 {
    const WHAT: &'static str = "a whole number";
    const EXAMPLE: &'static str = "1";

    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        value.as_integer().and_then(integer)
    }

    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl Read for f64 {
    const WHAT: &'static str = "a number";
    const EXAMPLE: &'static str = "1";

    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        match value {
            DeValue::Integer(i) => integer(i).map(|i| i as f64),
            DeValue::Float(f) => float(f),
            _ => None,
        }
    }

    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok().filter(|f: &f64| f.is_finite())
    }
}

impl Read for bool {
    const WHAT: &'static str = "true or false";
    const EXAMPLE: &'static str = "true";

    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        value.as_bool()
    }

    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl Read for Scalar<'static> {
    const WHAT: &'static str = "a string, a number, true or false";
    const EXAMPLE: &'static str = "\"…\"";

    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        match value {
            DeValue::String(s) => Some(Self::Str(s.to_string().into())),
            DeValue::Boolean(b) => Some(Self::Bool(*b)),
            DeValue::Integer(i) => integer(i).map(Self::Int),
            DeValue::Float(f) => float(f).map(Self::Float),
            _ => None,
        }
    }

    fn from_text(text: &str) -> Option<Self> {
        Some(Self::Str(text.to_owned().into()))
    }
}

fn integer(i: &DeInteger<'_>) -> Option<i64> {
    i64::from_str_radix(i.as_str(), i.radix()).ok()
}

fn float(f: &DeFloat<'_>) -> Option<f64> {
    f.as_str().parse().ok().filter(|f: &f64| f.is_finite())
}

/// What a value is, for "must be …, is …".
pub(super) fn describe(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(s) => format!("the string \"{s}\""),
        DeValue::Integer(i) => format!("the number {i}"),
        DeValue::Float(f) => format!("the number {f}"),
        DeValue::Boolean(b) => b.to_string(),
        DeValue::Datetime(d) => format!("the date {d}"),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}

/// A reminder of the unit in which a key's value is written.
pub(super) fn unit(path: &str) -> &'static str {
    let path = path.to_ascii_lowercase();
    if path.ends_with("_ms") {
        "; write milliseconds, like 8000 for 8 s"
    } else if path.ends_with("bytes_max") || path.ends_with("_bytes") {
        "; write bytes, like 1048576 for 1 MiB"
    } else {
        ""
    }
}
