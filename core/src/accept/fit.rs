//! An event held against the fields that its stream declares.

use std::borrow::Cow;

use smallvec::SmallVec;

use super::{Document, Refusal, Value};
use crate::{
    config::{Field, Partitioning, Stream, Type},
    id::IdType,
    scalar::Scalar,
};

/// The values of a stream's declared fields, in the order of the declaration.
#[derive(Debug)]
pub struct Fields<'a>(SmallVec<[Option<Value<'a>>; 4]>);

impl<'a> Fields<'a> {
    /// Finds the declared fields in an event, whichever of their names it uses. Of two names for
    /// one field the first declared wins: the gateway refuses such an event, but an archive may hold one.
    #[must_use]
    pub fn find(stream: &Stream, event: Document<'a>) -> Self {
        let mut values: SmallVec<[Option<Value<'a>>; 4]> = std::iter::repeat_with(|| None)
            .take(stream.fields.len())
            .collect();
        let mut ranks: SmallVec<[usize; 4]> = SmallVec::from_elem(usize::MAX, stream.fields.len());
        for (name, value) in event.entries() {
            if let Some((field, rank)) = stream.names.find(name)
                && rank < ranks[field]
            {
                (values[field], ranks[field]) = (Some(value), rank);
            }
        }
        Self(values)
    }

    /// The value of declared field `field`, unless it is absent.
    #[must_use]
    pub fn value(&self, field: usize) -> Option<&Value<'a>> {
        self.0.get(field)?.as_ref()
    }

    /// The value of declared field `field`, unless it is absent, null or a container.
    #[must_use]
    pub fn scalar(&self, field: usize) -> Option<Scalar<'a>> {
        match self.0.get(field)? {
            Some(Value::Scalar(scalar)) => Some(scalar.clone()),
            _ => None,
        }
    }

    /// What the value of the stream's id field is called, and of which type it is; none if the event has no such
    /// value. An empty string is refused: it would name every event that has it.
    pub fn id(&self, stream: &Stream) -> Result<Option<(IdType, Cow<'a, str>)>, Refusal> {
        let Some(value) = stream.id.and_then(|field| self.scalar(field)) else {
            return Ok(None);
        };
        let (of, text) = (value.id_type(), value.into_text());
        if text.is_empty() {
            let name = stream.id.map(|field| &*stream.fields[field].names[0]);
            let detail = "it names the event and is empty: leave it out, or give it a value";
            return Err(Refusal::unfit(name, detail));
        }
        Ok(Some((of, text)))
    }

    /// The reserved partition that a rule of the stream sends this event to.
    #[must_use]
    pub fn reserved_partition(&self, stream: &Stream) -> Option<i32> {
        let holds = |(field, is): &(usize, Vec<Scalar<'static>>)| {
            self.scalar(*field).is_some_and(|value| is.contains(&value))
        };
        let rule = stream
            .spread
            .rules
            .iter()
            .find(|rule| rule.when.as_ref().is_none_or(holds))?;
        Some(rule.partition)
    }

    /// The record's key: the text of the stream's key field.
    #[must_use]
    pub fn key(&self, stream: &Stream) -> Option<Scalar<'a>> {
        match stream.spread.otherwise {
            Partitioning::Key(field) => self.scalar(field),
            Partitioning::Sticky => None,
        }
    }
}

/// Finds the declared fields and refuses the event if one of them does not fit.
pub fn fit<'a>(stream: &Stream, event: Document<'a>) -> Result<Fields<'a>, Refusal> {
    let mut values: SmallVec<[Option<Value<'a>>; 4]> = std::iter::repeat_with(|| None)
        .take(stream.fields.len())
        .collect();
    for (name, value) in event.entries() {
        let Some((i, _)) = stream.names.find(name) else {
            continue;
        };
        let field = &stream.fields[i];
        if values[i].is_some() {
            let names = field.names.join(", ");
            let detail = format!("{names} name the same field, and the event has two of them");
            return Err(Refusal::unfit(Some(name), detail));
        }
        check(field, &value).map_err(|detail| Refusal::unfit(Some(name), detail))?;
        values[i] = Some(value);
    }
    for (field, value) in stream.fields.iter().zip(&values) {
        if field.required && value.is_none() {
            return Err(Refusal::unfit(Some(&field.name), missing(field)));
        }
    }
    Ok(Fields(values))
}

fn missing(field: &Field) -> String {
    match &field.names[..] {
        [_] => "a required field is missing".to_owned(),
        names => format!(
            "a required field is missing; it may be called {}",
            names.join(", ")
        ),
    }
}

/// Whether `value` fits `field`, or what is wrong with it.
fn check(field: &Field, value: &Value<'_>) -> Result<(), String> {
    if matches!(value, Value::Null) {
        return if field.required {
            Err("a required field is null".into())
        } else {
            Ok(())
        };
    }
    let types = &field.types.0;
    if !types.is_empty() && !types.iter().any(|t| t.admits(value)) {
        let wanted: Vec<_> = types.iter().map(|t| t.described()).collect();
        return Err(format!(
            "must be {}, is {}",
            wanted.join(" or "),
            described(value)
        ));
    }
    if let Value::Scalar(scalar) = value {
        check_scalar(field, scalar)?;
    }
    Ok(())
}

fn check_scalar(field: &Field, scalar: &Scalar<'_>) -> Result<(), String> {
    if !field.values.is_empty() && !field.values.contains(scalar) {
        let allowed: Vec<_> = field.values.iter().map(Scalar::text).collect();
        return Err(format!("must be one of {}", allowed.join(", ")));
    }
    let number = match scalar {
        Scalar::Str(s) if s.len() < field.min_bytes && s.is_empty() => {
            return Err("must not be empty".into());
        }
        Scalar::Str(s) if s.len() < field.min_bytes => {
            return Err(format!(
                "must have at least {} bytes, has {}",
                field.min_bytes,
                s.len()
            ));
        }
        Scalar::Str(s) if s.len() > field.max_bytes => {
            return Err(format!(
                "may have {} bytes, has {}",
                field.max_bytes,
                s.len()
            ));
        }
        Scalar::Int(n) => *n as f64,
        Scalar::Large(n) => n.get() as f64,
        Scalar::Float(n) => *n,
        Scalar::Str(_) | Scalar::Bool(_) => return Ok(()),
    };
    match (field.min, field.max) {
        (Some(min), _) if number < min => {
            Err(format!("must be at least {min}, is {}", scalar.text()))
        }
        (_, Some(max)) if number > max => {
            Err(format!("must be at most {max}, is {}", scalar.text()))
        }
        _ => Ok(()),
    }
}

impl Type {
    fn admits(self, value: &Value<'_>) -> bool {
        match (self, value) {
            (Self::String, Value::Scalar(Scalar::Str(_)))
            | (Self::Integer | Self::Number, Value::Scalar(Scalar::Int(_) | Scalar::Large(_)))
            | (Self::Number, Value::Scalar(Scalar::Float(_)))
            | (Self::Boolean, Value::Scalar(Scalar::Bool(_)))
            | (Self::Object, Value::Object(_))
            | (Self::Array, Value::Array(_)) => true,
            (Self::Coordinates, value) => {
                coordinates(value).is_some_and(|(lat, lon)| lat.abs() <= 90.0 && lon.abs() <= 180.0)
            }
            _ => false,
        }
    }

    fn described(self) -> &'static str {
        match self {
            Self::String => "a string",
            Self::Integer => "an integer",
            Self::Number => "a number",
            Self::Boolean => "true or false",
            Self::Object => "an object",
            Self::Array => "an array",
            Self::Coordinates => {
                "coordinates in degrees ({\"lat\": …, \"lon\": …}, [lat, lon] or \"lat,lon\")"
            }
        }
    }
}

fn described(value: &Value<'_>) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Scalar(Scalar::Str(_)) => "a string",
        Value::Scalar(Scalar::Bool(_)) => "true or false",
        Value::Scalar(Scalar::Int(_) | Scalar::Large(_)) => "an integer",
        Value::Scalar(Scalar::Float(_)) => "a number",
        Value::Object(_) => "an object",
        Value::Array(_) => "an array",
    }
}

/// Latitude and longitude in degrees, in any of the three forms of [`Type::Coordinates`].
#[must_use]
pub fn coordinates(value: &Value<'_>) -> Option<(f64, f64)> {
    match value {
        Value::Scalar(Scalar::Str(text)) => {
            let (lat, lon) = text.split_once(',')?;
            Some((lat.trim().parse().ok()?, lon.trim().parse().ok()?))
        }
        Value::Array(array) => {
            let mut numbers = array.elements();
            let pair = (number(&numbers.next()?)?, number(&numbers.next()?)?);
            numbers.next().is_none().then_some(pair)
        }
        Value::Object(object) => {
            let named = |names: [&str; 2]| {
                object
                    .entries()
                    .find(|(n, _)| names.contains(n))
                    .and_then(|(_, v)| number(&v))
            };
            Some((named(["lat", "latitud"])?, named(["lon", "longitud"])?))
        }
        _ => None,
    }
}

fn number(value: &Value<'_>) -> Option<f64> {
    match value {
        Value::Scalar(Scalar::Int(n)) => Some(*n as f64),
        Value::Scalar(Scalar::Float(n)) => Some(*n),
        _ => None,
    }
}
