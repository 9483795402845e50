//! Which client of Kafka slabs are given to.

use std::sync::Arc;

use aguacero::config::{Config, KafkaClient};
use aguacero_proto::produce::{Outcome, Receipt, Slab};
use bytes::Bytes;
use slab_records::columns::is_whole;
use tokio::sync::mpsc::UnboundedSender;

use crate::{engine, librdkafka, metric, receipt::Flight, topics::Known};

/// A client of Kafka that takes whole slabs.
pub trait Client: Send + Sync {
    /// Produces every record of a slab whose columns agree, which was read from `bytes`. Never blocks; the receipt leaves
    /// by the flight.
    fn produce(&self, slab: Slab, bytes: Bytes, flight: Flight);
}

/// Makes the client that the configuration names. Call it inside a runtime.
pub async fn of_config(config: Arc<Config>, topics: Known) -> anyhow::Result<Arc<dyn Client>> {
    Ok(match config.kafka_producer.client {
        KafkaClient::Engine => Arc::new(engine::Producer::native(&config, topics).await?),
        KafkaClient::Librdkafka => Arc::new(librdkafka::Producers::new(&config, topics)?),
    })
}

/// A client, and what is known of the topics that it produces to. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Clients {
    client: Arc<dyn Client>,
    topics: Known,
}

impl Clients {
    /// This client.
    pub(crate) fn of(client: Arc<dyn Client>, topics: Known) -> Self {
        Self { client, topics }
    }

    /// Produces a slab, or tells at once why nothing of it can be.
    pub(crate) fn produce(&self, slab: Slab, bytes: Bytes, receipts: &UnboundedSender<Receipt>) {
        let records = slab.ends.len();
        match self.check(&slab) {
            Ok(()) => {
                let flight = Flight::begin(&slab, records, receipts, &self.topics);
                self.client.produce(slab, bytes, flight);
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
            None => format!("the producer does not know topic {topic}"),
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
