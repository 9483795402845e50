//! Topics that are made again, and partitions whose topic was not known.

use std::time::Duration;

use rdkafka::{Offset, consumer::Consumer};

use super::{Poller, partition::Doubt};
use crate::{incarnation::View, sink::Sink};

/// A seek may take a round trip to the broker.
const SEEK_TIMEOUT: Duration = Duration::from_secs(2);

impl<S: Sink> Poller<S> {
    /// Acts on what the broker said about the topics.
    pub(super) fn look_at_topics(&mut self) {
        if !self.views.has_changed().unwrap_or(false) {
            return;
        }
        let view = self.views.borrow_and_update().clone();
        let keys: Vec<_> = self.partitions.keys().copied().collect();
        for key in keys {
            self.look_at(key, &view);
        }
        self.publish();
    }

    fn look_at(&mut self, key: (usize, i32), view: &View) {
        let topic = &self.config.topics[key.0].name;
        let (Some(partition), Some(is)) = (self.partitions.get_mut(&key), view.topics.get(topic))
        else {
            return;
        };
        match &partition.source {
            Some(source) if source.position.incarnation == is.incarnation => return,
            Some(source) => {
                let was = &source.position.incarnation;
                tracing::warn!(
                    topic,
                    partition = key.1,
                    was,
                    is = is.incarnation,
                    "the topic was made again"
                );
                let incarnation = Some(is.incarnation.clone());
                partition.hold(Doubt {
                    round: 0,
                    incarnation,
                    resume: None,
                });
            }
            None if view.round < partition.doubt.round => return,
            None => {}
        }
        let start = partition.doubt.start(&is.incarnation);
        let offset = start.map_or(Offset::Beginning, Offset::Offset);
        // What librdkafka has fetched before the seek is never returned after it.
        if let Err(error) = self.consumer.seek(topic, key.1, offset, SEEK_TIMEOUT) {
            tracing::warn!(%error, topic, partition = key.1, "seeking: trying again");
            return;
        }
        self.epochs += 1;
        partition.adopt(&is.incarnation, self.epochs, start);
    }
}

impl Doubt {
    /// Where to begin, now that the incarnation is known; none: at the beginning.
    pub(super) fn start(&self, incarnation: &str) -> Option<i64> {
        let same = self
            .incarnation
            .as_ref()
            .is_none_or(|known| known == incarnation);
        self.resume.filter(|_| same)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_holds_only_in_the_incarnation_that_it_was_committed_in() {
        let of = |incarnation: Option<&str>| Doubt {
            round: 0,
            incarnation: incarnation.map(Into::into),
            resume: Some(7),
        };
        assert_eq!(of(Some("a")).start("a"), Some(7));
        assert_eq!(of(Some("a")).start("b"), None);
        // Set by a person, who knows which topic it is.
        assert_eq!(of(None).start("b"), Some(7));
        assert_eq!(Doubt::default().start("b"), None);
    }
}
