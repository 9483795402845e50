//! An event's fields, by the types that a processor wants.

use consumer::transaction::{Cell, Event};

/// Values of declared fields, by their positions ([`crate::Declared::field`]). None where the event has nothing, or
/// something of another type than the one that is asked for.
pub trait Values {
    /// A string that is not empty.
    fn text(&self, field: usize) -> Option<&str>;
    /// A whole number.
    fn integer(&self, field: usize) -> Option<i64>;
    /// Latitude and longitude, in degrees.
    fn coordinates(&self, field: usize) -> Option<(f64, f64)>;
}

impl Values for Event {
    fn text(&self, field: usize) -> Option<&str> {
        match self.document.cell(field)? {
            Cell::Text(text) if !text.is_empty() => Some(text),
            _ => None,
        }
    }

    fn integer(&self, field: usize) -> Option<i64> {
        match self.document.cell(field)? {
            Cell::Integer(n) => i64::try_from(*n).ok(),
            _ => None,
        }
    }

    fn coordinates(&self, field: usize) -> Option<(f64, f64)> {
        match self.document.cell(field)? {
            Cell::Coordinates {
                latitude,
                longitude,
            } => Some((*latitude, *longitude)),
            _ => None,
        }
    }
}
