//! One turn: a new topic, events into it, and what that took of whom.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use benches::produce::{Produced, awaited_with, raw_with};

use crate::{Study, brokers::Topic};

/// Settings other than the kafka-producer's.
pub(crate) type Settings<'a> = &'a [(&'a str, &'a str)];

/// How many events in a row go to one partition where nothing else is varied.
pub(crate) const STICKY: u64 = 500;

/// What came of it.
pub(crate) struct Turn {
    /// Acknowledged, in a second.
    pub(crate) rate: f64,
    /// From call to acknowledgement.
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    /// Processor seconds of the producing process for a million events.
    pub(crate) client_cpu: f64,
    /// The same of all brokers.
    pub(crate) broker_cpu: f64,
    /// Events of a batch in the log.
    pub(crate) batch: f64,
    /// Of an event in the log, on all brokers.
    pub(crate) bytes: f64,
}

impl Study {
    /// `tasks` tasks that await each of their `events`, into one of the topic's partitions each, or wherever librdkafka likes.
    pub(crate) async fn awaited(
        &self,
        settings: Settings<'_>,
        topic: Topic,
        events: &Arc<Vec<String>>,
        is_spread: bool,
        tasks: u64,
    ) -> anyhow::Result<Turn> {
        let before = self.brokers.cpu()?;
        let settings = self.brokers.settings(settings);
        let produced = awaited_with(
            &settings,
            &topic.name,
            is_spread.then_some(topic.partitions),
            events,
            tasks as usize,
            self.warm_up,
            self.duration,
        );
        let produced = produced.await?;
        let broker = self.brokers.cpu()? - before;
        self.turn(&produced, broker.as_secs_f64(), topic).await
    }

    /// As many of `events` as librdkafka takes, `batch` of them in a row into one partition.
    pub(crate) async fn flat_out(
        &self,
        settings: Settings<'_>,
        topic: Topic,
        events: &[String],
        batch: u64,
    ) -> anyhow::Result<Turn> {
        let before = self.brokers.cpu()?;
        let settings = self.brokers.settings(settings);
        let goes_on = during(self.duration);
        let produced = raw_with(
            &settings,
            &topic.name,
            events,
            batch,
            topic.partitions,
            goes_on,
        )?;
        let broker = self.brokers.cpu()? - before;
        self.turn(&produced, broker.as_secs_f64(), topic).await
    }

    async fn turn(&self, produced: &Produced, broker: f64, topic: Topic) -> anyhow::Result<Turn> {
        let log = self.brokers.log(&topic)?;
        self.brokers.forget(topic).await;
        anyhow::ensure!(produced.events > 0, "Kafka has acknowledged nothing");
        let quantile_us = |quantile| produced.times.value_at_quantile(quantile) as f64 / 1e3;
        let per_million = |seconds: f64, events: u64| seconds / (events as f64 / 1e6);
        Ok(Turn {
            rate: produced.events as f64 / produced.elapsed.as_secs_f64(),
            p50_us: quantile_us(0.5),
            p99_us: quantile_us(0.99),
            client_cpu: per_million(produced.cpu.as_secs_f64(), produced.events),
            // Of the warm-up too, as is the log.
            broker_cpu: per_million(broker, log.records),
            batch: log.records as f64 / log.batches as f64,
            bytes: log.bytes as f64 / log.records as f64,
        })
    }
}

/// Whether so much time has not passed yet, since the first event was there: that one waits for the producer's id.
pub(crate) fn during(duration: Duration) -> impl FnMut(u64) -> bool {
    let mut end = None;
    move |sent| sent == 0 || Instant::now() < *end.get_or_insert_with(|| Instant::now() + duration)
}
