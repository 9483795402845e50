//! What an event means, by serde_json and the rules of `docs/http-api.md` alone: slow, and told apart from the code
//! that is tested by everything but its purpose.

use std::{collections::HashSet, fmt};

use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Levels of nesting, as documented.
const DEPTH_MAX: usize = 64;
/// Digits of an integer, as documented.
const DIGITS_MAX: usize = 34;

/// A value of an event.
#[derive(Debug, Clone)]
pub(crate) enum Json {
    Null,
    Bool(bool),
    Int(i128),
    Float(f64),
    Text(String),
    Array(Vec<Json>),
    Object(Vec<(String, Json)>),
}

/// Zeros of another sign are other numbers, and so are numbers of another type.
impl PartialEq for Json {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::Int(a), Self::Int(b)) => a == b,
            (Self::Float(a), Self::Float(b)) => a.to_bits() == b.to_bits(),
            (Self::Text(a), Self::Text(b)) => a == b,
            (Self::Array(a), Self::Array(b)) => a == b,
            (Self::Object(a), Self::Object(b)) => a == b,
            _ => false,
        }
    }
}

/// Whether it is JSON at all.
pub(crate) fn is_json(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok() && serde_json::from_slice::<IgnoredAny>(bytes).is_ok()
}

/// An event, if it is to be accepted.
pub(crate) fn event(bytes: &[u8]) -> Option<Json> {
    let raw: &RawValue = serde_json::from_slice(bytes).ok()?;
    let Json::Object(members) = value(raw, 1)? else {
        return None;
    };
    let reserved = |(name, _): &(String, Json)| matches!(name.as_str(), "_id" | "_aguacero");
    (!members.iter().any(reserved)).then_some(Json::Object(members))
}

/// The elements of an array.
pub(crate) fn elements(bytes: &[u8]) -> Option<Vec<&RawValue>> {
    serde_json::from_slice(bytes).ok()
}

fn value(raw: &RawValue, depth: usize) -> Option<Json> {
    let text = raw.get();
    Some(match text.as_bytes().first()? {
        b'{' | b'[' if depth > DEPTH_MAX => return None,
        b'{' => {
            let members = serde_json::Deserializer::from_str(text)
                .deserialize_map(Members)
                .ok()?;
            let mut names = HashSet::new();
            let members = members.into_iter().map(|(name, raw)| {
                let is_good = !name.contains('\0') && names.insert(name.clone());
                is_good.then_some((name, value(raw, depth + 1)?))
            });
            Json::Object(members.collect::<Option<_>>()?)
        }
        b'[' => {
            let elements = elements(text.as_bytes())?.into_iter();
            Json::Array(
                elements
                    .map(|raw| value(raw, depth + 1))
                    .collect::<Option<_>>()?,
            )
        }
        b'"' => Json::Text(serde_json::from_str(text).ok()?),
        b't' | b'f' => Json::Bool(text == "true"),
        b'n' => Json::Null,
        _ if text.contains(['.', 'e', 'E']) => {
            Json::Float(text.parse().ok().filter(|n: &f64| n.is_finite())?)
        }
        _ => {
            let digits = text.strip_prefix('-').unwrap_or(text).len();
            Json::Int(text.parse().ok().filter(|_| digits <= DIGITS_MAX)?)
        }
    })
}

/// Names and values as they stand, the same name twice too.
struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Vec<(String, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(members)
    }
}
