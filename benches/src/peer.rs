//! Another client in this process, so that Aguacero is held against more than librdkafka: krafka, which is Rust alone,
//! with the settings and the record of [`produce`].
//!
//! One task of it has the state of all partitions. It has one batch of a partition on its way at a time, and up to five
//! requests to a broker, each with the next batch of every partition that has none on its way; what comes meanwhile
//! goes together into the one after it, without lingering. librdkafka has up to five of a partition on their way.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use aguacero::record::HEADER;
use anyhow::Context as _;
use bytes::Bytes;
use hdrhistogram::Histogram;
use krafka::{
    Kafka, Record,
    producer::{Acks, Producer},
};

use crate::{
    cpu,
    produce::{self, Produced, Window},
};

/// As `produce::settings` has it.
const BATCH_BYTES: usize = 1_000_000;
/// So many events wait for their acknowledgement at most when they are sent as fast as it goes.
const WAITING_MAX: usize = 100_000;
/// More than those take.
const MEMORY_BYTES: usize = 256 << 20;

/// In [`raw`] this takes less of the processor than none.
const LINGER: Duration = Duration::from_millis(5);

/// A producer that has stored `first` already: its id, the topic and the connections take a while.
async fn producer(brokers: &str, first: Record, linger: Duration) -> anyhow::Result<Producer> {
    let kafka = Kafka::builder(brokers).connect().await?;
    let settings = kafka.producer().acks(Acks::All).idempotent(true);
    let settings = settings.batch_size(BATCH_BYTES).linger(linger);
    let producer = settings.buffer_memory(MEMORY_BYTES).build().await?;
    _ = producer.send(first).await?;
    Ok(producer)
}

/// The events as it takes them, without a copy of each.
fn shared(events: &[String]) -> Vec<Bytes> {
    let events = events.iter().map(String::as_bytes);
    events.map(Bytes::copy_from_slice).collect()
}

fn record(topic: &str, event: &Bytes, id: u64) -> Record {
    Record::new(topic, event.clone()).header(HEADER, produce::header(id))
}

/// As [`produce::awaited`]: `tasks` tasks, each of which produces an event and awaits its acknowledgement, again and
/// again. As there, the client chooses the partition, and stays with it for a while: ten tasks share requests then, and
/// have several times the events of ten that are spread over the partitions.
pub async fn awaited(
    brokers: &str,
    topic: &str,
    events: &[String],
    tasks: usize,
    warm_up: Duration,
    duration: Duration,
) -> anyhow::Result<Produced> {
    let events = Arc::new(shared(events));
    let first = record(topic, &events[0], 0);
    let producer = Arc::new(producer(brokers, first, Duration::ZERO).await?);
    let window = Window::after(warm_up, duration);
    let running = (0..tasks).map(|task| {
        let (producer, topic, events) = (producer.clone(), topic.to_owned(), events.clone());
        tokio::spawn(async move {
            let mut times = produce::times()?;
            for n in task.. {
                let event = &events[n % events.len()];
                let record = record(&topic, event, n as u64);
                let sent = Instant::now();
                _ = producer.send(record).await?;
                if !window.note(sent, &mut times) {
                    break;
                }
            }
            Ok(times)
        })
    });
    let produced = window.sum(running.collect()).await?;
    producer.close().await?;
    Ok(produced)
}

/// As [`produce::raw`]: `n` events in runs of `batch`, each to the next of `partitions`, as fast as it takes them.
pub async fn raw(
    brokers: &str,
    topic: &str,
    events: &[String],
    n: u64,
    batch: u64,
    partitions: i32,
) -> anyhow::Result<Produced> {
    let (events, topic, ids) = (shared(events), topic.to_owned(), produce::ids());
    let producer = producer(brokers, record(&topic, &events[0], ids), LINGER).await?;
    // A task of the runtime: `block_on` would wake its thread for every event that waits.
    let sending = tokio::spawn(async move {
        let (started, before) = (Instant::now(), cpu::of(std::process::id())?);
        let mut waiting = VecDeque::with_capacity(WAITING_MAX);
        let mut acknowledged = 1;
        for number in 1..n {
            if waiting.len() == WAITING_MAX {
                let first = waiting.pop_front().context("nothing waits")?;
                _ = first.await?;
                acknowledged += 1;
            }
            let event = &events[number as usize % events.len()];
            let partition = (number / batch) as i32 % partitions;
            let record = record(&topic, event, ids + number).partition(partition);
            waiting.push_back(producer.enqueue(record).await?);
        }
        for last in waiting {
            _ = last.await?;
            acknowledged += 1;
        }
        let produced = Produced {
            times: Histogram::new(3)?,
            events: acknowledged,
            elapsed: started.elapsed(),
            cpu: cpu::of(std::process::id())?.since(before).all(),
        };
        producer.close().await?;
        anyhow::Ok(produced)
    });
    sending.await?
}
