//! Topics that are made again, and partitions whose topic was not known.

use aguacero::log_limiter;
use std::time::Duration;

use rdkafka::{Offset, consumer::Consumer};

use super::{incarnation::View, state::Poller};
use crate::sink::Sink;

/// A seek may take a round trip to the broker.
const SEEK_TIMEOUT: Duration = Duration::from_secs(2);

/// A topic was deleted and made again.
#[derive(Debug, thiserror::Error)]
#[error("topic {0} was made again")]
pub(super) struct MadeAgain(String);

impl<S: Sink> Poller<S> {
    /// Acts on what the broker said about the topics. An error says that one was made again: librdkafka
    /// takes what it knows of the old one's leaders for newer than anything about the new one, so that
    /// only a client that is new as well is sure to find its way.
    pub(super) fn look_at_topics(&mut self) -> anyhow::Result<()> {
        if !self.views.has_changed().unwrap_or(false) {
            return Ok(());
        }
        let view = self.views.borrow_and_update().clone();
        for (topic, is) in &view.topics {
            let was = self.seen.entry(topic.clone());
            if *was.or_insert_with(|| is.incarnation.clone()) != is.incarnation {
                return Err(MadeAgain(topic.clone()).into());
            }
        }
        let keys: Vec<_> = self.partitions.keys().copied().collect();
        for key in keys {
            self.look_at(key, &view)?;
        }
        self.publish();
        Ok(())
    }

    fn look_at(&mut self, key: (usize, i32), view: &View) -> anyhow::Result<()> {
        let topic = &self.config.topics[key.0].name;
        let (Some(partition), Some(is)) = (self.partitions.get_mut(&key), view.topics.get(topic))
        else {
            return Ok(());
        };
        match &partition.source {
            Some(source) if source.position.incarnation == is.incarnation => return Ok(()),
            Some(_) => return Err(MadeAgain(topic.clone()).into()),
            None if view.round < partition.resume_point.round => return Ok(()),
            None => {}
        }
        let start = partition.resume_point.start(&is.incarnation);
        let offset = start.map_or(Offset::Beginning, Offset::Offset);
        // What librdkafka has fetched before the seek is never returned after it.
        if let Err(error) = self.consumer.seek(topic, key.1, offset, SEEK_TIMEOUT) {
            log_limiter::repeated("a partition cannot be sought", topic, &error);
            return Ok(());
        }
        self.epochs += 1;
        partition.adopt(&is.incarnation, self.epochs, start);
        Ok(())
    }
}
