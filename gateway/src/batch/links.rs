//! The links of a worker: one to each process that the declared routes take into Kafka.

use std::{rc::Rc, sync::Arc};

use aguacero::config::{Config, Via};

use crate::{
    batch::{budget::Budget, link::Link},
    live::deltas::Live,
};

/// A worker's links. Each has slabs, deadlines and a stream of its own, so a producer that is away stops nobody else's
/// events; what may be on the way is bounded for all of them together.
pub(crate) struct Links {
    /// In the order of `Config::vias`.
    links: Vec<Rc<Link>>,
    /// Where in `links` that of each transport is, by its place in `Via::ALL`.
    places: [usize; Via::ALL.len()],
}

impl Links {
    pub(crate) fn new(config: &Arc<Config>, budget: &Budget, live: &Rc<Live>) -> Self {
        let vias = config.vias();
        let link = |via: &Via| Rc::new(Link::new(config, *via, budget.clone(), Rc::clone(live)));
        Self {
            links: vias.iter().map(link).collect(),
            // Nobody asks for one that no route takes.
            places: Via::ALL.map(|via| vias.iter().position(|v| *v == via).unwrap_or_default()),
        }
    }

    /// The link of a route that is declared.
    pub(crate) fn of(&self, via: Via) -> &Link {
        &self.links[self.places[via as usize]]
    }

    /// Every one.
    pub(crate) fn all(&self) -> &[Rc<Link>] {
        &self.links
    }
}

#[cfg(test)]
#[path = "links_tests.rs"]
mod tests;
