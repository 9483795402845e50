//! `fields = [{ name = "país", … }]`

use std::{collections::HashMap, ops::RangeInclusive};

use crate::{
    config::{
        Field, Type, Types, names,
        raw::{Found, Table, did_you_mean, one_of},
    },
    id::ID_BYTES_MAX,
    scalar::Scalar,
};

use super::EVENT_BYTES_LIMIT;

/// The types by the names under which they are declared.
const TYPES: [(&str, Type); 7] = [
    ("string", Type::String),
    ("integer", Type::Integer),
    ("number", Type::Number),
    ("boolean", Type::Boolean),
    ("object", Type::Object),
    ("array", Type::Array),
    ("coordinates", Type::Coordinates),
];

/// The types whose values can be compared and counted.
const PLAIN: [Type; 4] = [Type::String, Type::Integer, Type::Number, Type::Boolean];

/// The name under which a type is declared.
pub(super) fn type_name(of: Type) -> &'static str {
    TYPES
        .iter()
        .find(|(_, known)| *known == of)
        .map_or("", |(name, _)| name)
}

/// The fields of a stream, in the order of the file.
pub(super) fn read(stream: &Table<'_>) -> Vec<Field> {
    let mut taken = HashMap::new();
    stream
        .tables("fields")
        .into_iter()
        .map(|table| field(table, &mut taken))
        .collect()
}

/// Where a name was first declared.
type Taken = HashMap<String, String>;

fn field(table: Table<'_>, taken: &mut Taken) -> Field {
    let names = field_names(&table, taken);
    let types = types(&table);
    let required = table.get("required").is_some_and(|found| found.value);
    let (min_bytes, max_bytes) = bytes(&table, &types, required);
    let (min, max) = range(&table, &types);
    let values = values(&table, "values", &types);
    let name = names.first().cloned().unwrap_or_default();
    let field = Field {
        name,
        names,
        types,
        required,
        min_bytes,
        max_bytes,
        min,
        max,
        values,
    };
    reachable(&table, &field);
    table.done();
    field
}

/// Reports a value that the bounds beside it refuse.
fn reachable(table: &Table<'_>, field: &Field) {
    let refused = |value: &&Scalar<'_>| match value {
        Scalar::Str(s) => !(field.min_bytes..=field.max_bytes).contains(&s.len()),
        Scalar::Int(n) => !field.range().contains(&(*n as f64)),
        Scalar::Large(n) => !field.range().contains(&(n.get() as f64)),
        Scalar::Float(n) => !field.range().contains(n),
        Scalar::Bool(_) => false,
    };
    let source = table.source();
    let bounds = ["min", "max", "min_bytes", "max_bytes"];
    let are_sound = bounds
        .iter()
        .all(|key| source.sound(table.spot_of(key).path()));
    if let Some(value) = field.values.iter().find(refused).filter(|_| are_sound) {
        let what = format!(
            "lists \"{}\", which the bounds of the field refuse; take it out, or mend the bounds",
            value.text()
        );
        table.report_absence(&table.spot_of("values"), what);
    }
}

impl Field {
    /// Of its numbers.
    fn range(&self) -> RangeInclusive<f64> {
        self.min.unwrap_or(f64::NEG_INFINITY)..=self.max.unwrap_or(f64::INFINITY)
    }
}

/// The name and its aliases.
fn field_names(table: &Table<'_>, taken: &mut Taken) -> Vec<String> {
    let name = table.need::<String>("name");
    let aliases = table.list("aliases").unwrap_or_default();
    let names: Vec<_> = name.into_iter().chain(aliases).collect();
    for Found { value, spot } in &names {
        if let Some(what) = names::field(value) {
            table.report_at(spot, what);
        }
        if let Some(place) = taken.insert(value.clone(), table.source().place(spot)) {
            let what = format!("\"{value}\" already names a field of this stream ({place})");
            table.report_at(spot, what);
        }
    }
    names.into_iter().map(|found| found.value).collect()
}

fn types(table: &Table<'_>) -> Types {
    let mut types = Vec::new();
    for Found { value, spot } in table.list::<String>("type").unwrap_or_default() {
        match TYPES.iter().find(|(name, _)| *name == value) {
            Some((_, known)) if types.contains(known) => {
                table.report_at(&spot, format!("\"{value}\" is listed twice"));
            }
            Some((_, known)) => types.push(*known),
            None => {
                let hint = one_of(&value, &TYPES.map(|(name, _)| name));
                table.report_at(&spot, format!("there is no type \"{value}\"; {hint}"));
            }
        }
    }
    if !table.source().sound(table.spot_of("type").path()) {
        // Whatever was meant: nothing that is declared with it is a second mistake.
        types = PLAIN.to_vec();
    }
    Types(types)
}

/// The length of a string. What has no bound of its own has the event's.
fn bytes(table: &Table<'_>, types: &Types, required: bool) -> (usize, usize) {
    let least = usize::from(required && types.0.contains(&Type::String));
    let min = table.number("min_bytes", least, 0..=EVENT_BYTES_LIMIT);
    let max = table.number("max_bytes", usize::MAX, 1..=EVENT_BYTES_LIMIT);
    for key in ["min_bytes", "max_bytes"] {
        only_for(table, key, types, &[Type::String]);
    }
    if min > max {
        table.report(
            "max_bytes",
            format!("must be at least min_bytes ({min}), is {max}"),
        );
    }
    (min, max)
}

/// The size of a number.
fn range(table: &Table<'_>, types: &Types) -> (Option<f64>, Option<f64>) {
    let bound = |key| {
        let found = table.get::<f64>(key).map(|found| found.value);
        only_for(table, key, types, &[Type::Integer, Type::Number]);
        found
    };
    let (min, max) = (bound("min"), bound("max"));
    if let (Some(min), Some(max)) = (min, max)
        && min > max
    {
        table.report("max", format!("must be at least min ({min}), is {max}"));
    }
    (min, max)
}

/// Reports a bound on something that the field never is.
fn only_for(table: &Table<'_>, key: &str, types: &Types, meaningful: &[Type]) {
    let path = table.spot().path();
    let meaningless = !types.0.is_empty() && !types.0.iter().any(|t| meaningful.contains(t));
    if meaningless && table.source().says(&format!("{path}.{key}")) {
        let names: Vec<_> = meaningful.iter().map(|t| type_name(*t)).collect();
        let what = format!(
            "bounds a field of type {} only; take it out",
            names.join(" or ")
        );
        table.report(key, what);
    }
}

/// The values under `key`, each of which a field of these types can have.
pub(super) fn values(table: &Table<'_>, key: &'static str, types: &Types) -> Vec<Scalar<'static>> {
    let mut values: Vec<Scalar<'static>> = Vec::new();
    for Found { value, spot } in table.list::<Scalar<'static>>(key).unwrap_or_default() {
        if !types.0.is_empty() && !types.0.iter().any(|t| fits(*t, &value)) {
            let names: Vec<_> = types.0.iter().map(|t| type_name(*t)).collect();
            let what = format!(
                "the field is never this: its type is {}",
                names.join(" or ")
            );
            table.report_at(&spot, what);
        }
        if values.contains(&value) {
            table.report_at(&spot, "is listed twice");
        }
        values.push(value);
    }
    values
}

fn fits(of: Type, value: &Scalar<'_>) -> bool {
    match value {
        Scalar::Str(_) => of == Type::String,
        Scalar::Bool(_) => of == Type::Boolean,
        Scalar::Int(_) | Scalar::Large(_) => matches!(of, Type::Integer | Type::Number),
        Scalar::Float(_) => of == Type::Number,
    }
}

/// The position of the field that names an event: a string in it has a bound of its own, [`ID_BYTES_MAX`].
pub(super) fn id(table: &Table<'_>, fields: &[Field], found: &Found<String>) -> Option<usize> {
    let position = scalar(table, fields, found)?;
    let declared = fields[position].max_bytes;
    if declared != usize::MAX && declared > ID_BYTES_MAX {
        let at = format!("{}.fields[{position}].max_bytes", table.spot().path());
        let what =
            format!("must be at most {ID_BYTES_MAX}, as the field names the event, is {declared}");
        table.report_absence(&table.source().at(&at), what);
    }
    Some(position)
}

/// The position of the field that `found` names, by its name or an alias.
pub(super) fn position(
    table: &Table<'_>,
    fields: &[Field],
    found: &Found<String>,
) -> Option<usize> {
    let named = |field: &Field| field.names.contains(&found.value);
    let position = fields.iter().position(named);
    if position.is_none() {
        let known = fields
            .iter()
            .flat_map(|field| &field.names)
            .map(String::as_str);
        let hint = did_you_mean(&found.value, known)
            .unwrap_or_else(|| "declare it under fields".to_owned());
        let what = format!(
            "no field of this stream is called \"{}\"; {hint}",
            found.value
        );
        table.report_absence(&found.spot, what);
    }
    position
}

/// [`position`] of a field that is compared or counted, and so must be a plain value.
pub(super) fn scalar(table: &Table<'_>, fields: &[Field], found: &Found<String>) -> Option<usize> {
    let position = position(table, fields, found)?;
    let Field { name, types, .. } = &fields[position];
    if types.0.is_empty() || !types.0.iter().all(|t| PLAIN.contains(t)) {
        let what =
            format!("\"{name}\" must be declared with type string, integer, number or boolean");
        table.report_at(&found.spot, what);
    }
    Some(position)
}
