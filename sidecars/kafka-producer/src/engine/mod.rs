//! Slabs straight into record batches: the producer of this project (`producer-engine`), with sockets, TLS and the time.

mod drive;
mod job;
mod machine;
mod transport;

use aguacero::{config::Config, essential::essential};
use aguacero_proto::produce::Slab;
use anyhow::Context as _;
use bytes::Bytes;
use producer_engine::{
    Address, Compression, Engine, Settings,
    settings::{Mechanism, Sasl},
};
use tokio::sync::{mpsc, watch};

use crate::{
    client::Client,
    receipt::Flight,
    topics::{BATCH_BYTES_MAX, Known},
};
use drive::Driver;
pub use job::Job;
pub use machine::Machine;
use transport::Connector;

/// The port of a broker whose address names none.
const PORT: u16 = 9092;

/// Hands slabs to the task that drives the engine.
pub struct Producer {
    jobs: mpsc::UnboundedSender<(Job, Bytes)>,
}

/// What an engine is made with.
#[derive(Debug, Clone)]
pub struct Beginning {
    /// What it is told at its start.
    pub settings: Settings,
    /// How many bytes a batch of each topic may have.
    pub batch_bytes_max: Vec<(String, usize)>,
}

impl Producer {
    /// Starts the engine of this process, as [`Self::start`] does.
    pub(crate) async fn native(config: &Config, topics: Known) -> anyhow::Result<Self> {
        let engine = |beginning: Beginning| {
            let mut engine = Engine::<Job>::new(beginning.settings);
            for (topic, bytes) in beginning.batch_bytes_max {
                engine.set_batch_bytes_max(&topic, bytes);
            }
            Ok(engine)
        };
        Self::start(config, topics, "aguacero-kafka-producer", engine).await
    }

    /// Starts the engine that `machine` makes, and waits until it knows who leads what and has an id. Call it inside a
    /// runtime.
    pub async fn start<M: Machine<Carried = Flight> + Send + 'static>(
        config: &Config,
        topics: Known,
        client_id: &str,
        machine: impl FnOnce(Beginning) -> anyhow::Result<M>,
    ) -> anyhow::Result<Self> {
        let connector = Connector::new(config.kafka.tls.as_ref())?;
        let batch_bytes_max = topics.batch_bytes_max().into_iter();
        let engine = machine(Beginning {
            settings: settings(config, client_id)?,
            batch_bytes_max: batch_bytes_max
                .map(|(topic, bytes)| (topic, bytes.min(BATCH_BYTES_MAX)))
                .collect(),
        })?;
        // Unbounded in form: what is in it is bounded by the gateway, and told at once where the engine has too much.
        let (jobs, incoming) = mpsc::unbounded_channel();
        let (ready, mut is_ready) = watch::channel(false);
        let driver = Driver::new(engine, incoming, connector, topics, ready);
        tokio::spawn(essential("the producer", driver.run()));
        is_ready
            .wait_for(|ready| *ready)
            .await
            .context("the producer has ended")?;
        Ok(Self { jobs })
    }
}

impl Client for Producer {
    fn produce(&self, slab: Slab, bytes: Bytes, flight: Flight) {
        let job = Job {
            slab,
            carried: flight,
        };
        // An error: the driver is gone, and with it, in a moment, this process.
        _ = self.jobs.send((job, bytes));
    }
}

fn settings(config: &Config, client_id: &str) -> anyhow::Result<Settings> {
    let kafka = &config.kafka;
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| anyhow::anyhow!("no random numbers: {error}"))?;
    let sasl = kafka.sasl.as_ref().map(|sasl| {
        let mechanism = Mechanism::by_name(&sasl.mechanism).context("an unknown mechanism")?;
        let password = sasl
            .credentials
            .password()
            .context("the password for Kafka")?;
        anyhow::Ok(Sasl {
            mechanism,
            user: sasl.credentials.username.clone().unwrap_or_default(),
            password: password.expose().to_owned(),
        })
    });
    let compression = &config.kafka_producer.compression;
    Ok(Settings {
        client_id: client_id.to_owned(),
        bootstrap: kafka
            .brokers
            .split(',')
            .map(|text| address(text.trim()))
            .collect(),
        topics: config
            .topics
            .iter()
            .map(|topic| topic.name.clone())
            .collect(),
        delivery_timeout: kafka.message_timeout,
        request_timeout: kafka.message_timeout,
        connect_timeout: kafka.message_timeout,
        compression: Compression::by_name(compression).context("an unknown compression")?,
        queue_bytes_max: config.kafka_producer.queue_bytes_max,
        sasl: sasl.transpose()?,
        seed,
        ..Settings::default()
    })
}

/// `host:port` or `[::1]:port`; without a port it is Kafka's.
fn address(text: &str) -> Address {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
            (host, port.parse().ok())
        }
        _ => (text, None),
    };
    Address {
        host: host.trim_matches(['[', ']']).to_owned(),
        port: port.unwrap_or(PORT),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_may_be_named_by_number_and_without_port() {
        for (text, host, port) in [
            ("kafka:9093", "kafka", 9093),
            ("kafka", "kafka", 9092),
            ("127.0.0.1:1", "127.0.0.1", 1),
            ("[::1]:9093", "::1", 9093),
            ("[::1]", "::1", 9092),
            ("::1", "::1", 9092),
        ] {
            let host = host.to_owned();
            assert_eq!(address(text), Address { host, port }, "{text}");
        }
    }
}
