//! Which client of Kafka slabs are given to.

use std::sync::Arc;

use aguacero::config::{Config, KafkaClient};
use aguacero_proto::produce::{Outcome, Receipt, Slab};
use tokio::sync::mpsc::UnboundedSender;

use crate::{columns::is_whole, engine, librdkafka, metric, receipt::Flight, topics::Known};

/// A client of Kafka that takes whole slabs.
pub(crate) trait Client: Send + Sync {
    /// Produces every record of a slab whose columns agree. Never blocks; the receipt leaves by the flight.
    fn produce(&self, slab: Slab, flight: Flight);
}

/// The client that the configuration names. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Clients {
    client: Arc<dyn Client>,
    topics: Known,
}

impl Clients {
    /// Makes the client. Call it inside a runtime.
    pub(crate) async fn new(config: &Config, topics: Known) -> anyhow::Result<Self> {
        let client: Arc<dyn Client> = match config.kafka_producer.client {
            KafkaClient::Engine => Arc::new(engine::Producer::new(config, topics.clone()).await?),
            KafkaClient::Librdkafka => {
                Arc::new(librdkafka::Producers::new(config, topics.clone())?)
            }
        };
        Ok(Self { client, topics })
    }

    /// This client.
    #[cfg(test)]
    pub(crate) fn of(client: Arc<dyn Client>, topics: Known) -> Self {
        Self { client, topics }
    }

    /// Produces a slab, or tells at once why nothing of it can be.
    pub(crate) fn produce(&self, slab: Slab, receipts: &UnboundedSender<Receipt>) {
        let records = slab.ends.len();
        match self.check(&slab) {
            Ok(()) => {
                let flight = Flight::begin(&slab, records, receipts, &self.topics);
                self.client.produce(slab, flight);
            }
            Err(detail) => {
                let mut flight = Flight::begin(&slab, 1, receipts, &self.topics);
                flight.failed(0..1, Outcome::NotStored, &detail);
                flight.send(&self.topics, None);
            }
        }
    }

    /// Why nothing of a slab can be produced.
    fn check(&self, slab: &Slab) -> Result<(), String> {
        let (topic, partition) = (&slab.topic, slab.partition);
        let detail = match self.topics.partitions(topic) {
            None => format!("the kafka-producer does not know topic {topic}"),
            Some(n) if !(0..n).contains(&partition) => {
                format!("topic {topic} has no partition {partition}")
            }
            // Certainly not stored, which after an attempt nobody could say any more.
            Some(_) if !self.topics.takes(topic, partition) => {
                "fewer replicas are in sync than an event must have".to_owned()
            }
            Some(_) if !is_whole(slab) => "the slab's columns do not agree".to_owned(),
            Some(_) => return Ok(()),
        };
        metric::not_produced(topic, partition, &detail);
        Err(detail)
    }
}
