//! What a goal is, and what comes of measuring it.

use std::{future::Future, pin::Pin};

use crate::{Effort, sides::Events};

/// What is wanted of a figure.
#[derive(Clone, Copy)]
pub(crate) enum Wanted {
    AtLeast(f64),
    AtMost(f64),
    /// Nothing: it is to be written down.
    Known,
}

/// Something to measure; one or more figures come of it.
pub(crate) struct Goal {
    pub(crate) name: &'static str,
    pub(crate) measure: for<'a> fn(&'a Events, Effort) -> Measured<'a>,
}

pub(crate) type Measured<'a> = Pin<Box<dyn Future<Output = anyhow::Result<Vec<Figure>>> + 'a>>;

/// A figure: one value for each round.
pub(crate) struct Figure {
    pub(crate) name: &'static str,
    pub(crate) wanted: Wanted,
    pub(crate) values: Vec<f64>,
    /// The absolute figures of the last round.
    pub(crate) note: String,
}

impl Figure {
    pub(crate) fn new(name: &'static str, wanted: Wanted) -> Self {
        Self {
            name,
            wanted,
            values: Vec::new(),
            note: String::new(),
        }
    }
}

/// Without those of what is not built in.
pub(crate) fn measured(mut figures: Vec<Figure>) -> Vec<Figure> {
    figures.retain(|figure| !figure.values.is_empty());
    figures
}
