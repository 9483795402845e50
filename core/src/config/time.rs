//! Moments as the files and the messages write them (RFC 3339).

use std::time::SystemTime;

/// The moment that `2027-01-01T00:00:00Z` (RFC 3339) or `2027-01-01` names.
#[must_use]
pub fn time_of(text: &str) -> Option<SystemTime> {
    let is_day = text.len() == "2027-01-01".len();
    let whole = match is_day {
        true => format!("{text}T00:00:00Z"),
        false => text.to_owned(),
    };
    let time = bson::DateTime::parse_rfc3339_str(whole).ok()?;
    Some(time.to_system_time())
}

/// As [`time_of`] reads it: `2027-01-01T00:00:00Z`.
#[must_use]
pub fn text_of(time: SystemTime) -> String {
    let time = bson::DateTime::from_system_time(time);
    time.try_to_rfc3339_string().unwrap_or_default()
}
