//! Topics that are made again.

use super::state::Poller;
use crate::sink::Sink;

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
        for (key, partition) in &self.partitions {
            let topic = &self.config.topics[key.0].name;
            let is = view.topics.get(topic).map(|t| &t.incarnation);
            let was = partition.source.as_ref().map(|s| &s.position.incarnation);
            if is.is_some() && was.is_some() && is != was {
                return Err(MadeAgain(topic.clone()).into());
            }
        }
        self.ask(false); // of those that may be begun now
        Ok(())
    }
}
