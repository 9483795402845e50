//! The limit of Kafka: librdkafka in this process, with the settings and the record that Aguacero has.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use aguacero::{
    id::EventId,
    record::{HEADER, Header},
};
use anyhow::Context as _;
use hdrhistogram::Histogram;
use rdkafka::{
    ClientConfig, ClientContext,
    error::{KafkaError, RDKafkaErrorCode},
    message::{DeliveryResult, Header as KafkaHeader, OwnedHeaders},
    producer::{
        BaseProducer, BaseRecord, FutureProducer, FutureRecord, Producer as _, ProducerContext,
    },
};
use tokio::task::JoinHandle;

use crate::cpu;

/// Longest wait for the last delivery report.
const FLUSH: Duration = Duration::from_secs(30);

/// As the kafka-producer has them.
#[must_use]
pub fn settings(brokers: &str) -> ClientConfig {
    let mut settings = ClientConfig::new();
    settings
        .set("bootstrap.servers", brokers)
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("linger.ms", "0")
        .set("socket.nagle.disable", "true")
        .set("message.max.bytes", "1000000")
        .set("batch.size", "1000000")
        .set("queue.buffering.max.messages", "0");
    settings
}

/// What Aguacero writes into the header of event `n`.
pub(crate) fn header(n: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    Header {
        id: EventId(u128::from(n).to_be_bytes()),
        stream: "weather",
        client_key: b"",
    }
    .write(&mut bytes);
    bytes
}

fn headers(bytes: &[u8]) -> OwnedHeaders {
    OwnedHeaders::new_with_capacity(1).insert(KafkaHeader {
        key: HEADER,
        value: Some(bytes),
    })
}

/// What was produced, and what it took.
#[derive(Debug)]
pub struct Produced {
    /// From call to acknowledgement, ns; empty of [`raw`].
    pub times: Histogram<u64>,
    /// Acknowledged.
    pub events: u64,
    /// How long it took.
    pub elapsed: Duration,
    /// Processor time of this process meanwhile.
    pub cpu: Duration,
}

impl Produced {
    /// Half of the events took no longer, in µs.
    #[must_use]
    pub fn p50_us(&self) -> f64 {
        self.times.value_at_quantile(0.5) as f64 / 1e3
    }

    /// Processor seconds for a million events.
    #[must_use]
    pub fn seconds_for_a_million(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.events as f64
    }
}

/// `tasks` tasks, each of which produces an event and awaits its acknowledgement, again and again.
pub async fn awaited(
    brokers: &str,
    topic: &str,
    events: &Arc<Vec<String>>,
    tasks: usize,
    warm_up: Duration,
    duration: Duration,
) -> anyhow::Result<Produced> {
    let settings = settings(brokers);
    awaited_with(&settings, topic, None, events, tasks, warm_up, duration).await
}

/// [`awaited`] with other settings; each task produces into one of so many partitions, if they are given, or else
/// into whichever librdkafka chooses.
pub async fn awaited_with(
    settings: &ClientConfig,
    topic: &str,
    partitions: Option<i32>,
    events: &Arc<Vec<String>>,
    tasks: usize,
    warm_up: Duration,
    duration: Duration,
) -> anyhow::Result<Produced> {
    let producer: FutureProducer = settings.create()?;
    // An idempotent producer may have to wait for its id, for half a second.
    let (first, bytes) = (FutureRecord::<(), _>::to(topic), header(0));
    let first = first.payload(&events[0]).headers(headers(&bytes));
    let stored = producer.send(first, FLUSH).await;
    stored.map_err(|(error, _)| error)?;
    let window = Window::after(warm_up, duration);
    let running = (0..tasks).map(|task| {
        let (producer, topic, events) = (producer.clone(), topic.to_owned(), events.clone());
        tokio::spawn(async move {
            let mut times = times()?;
            for n in task.. {
                let header = header(n as u64);
                let event = &events[n % events.len()];
                let mut record = FutureRecord::<(), _>::to(&topic).payload(event);
                record.partition = partitions.map(|partitions| task as i32 % partitions);
                let sent = Instant::now();
                let stored = producer.send(record.headers(headers(&header)), FLUSH).await;
                stored.map_err(|(error, _)| error)?;
                if !window.note(sent, &mut times) {
                    break;
                }
            }
            Ok(times)
        })
    });
    window.sum(running.collect()).await
}

/// When what tasks produce is counted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    from: Instant,
    end: Instant,
}

impl Window {
    /// `duration` long, once `warm_up` is over.
    pub(crate) fn after(warm_up: Duration, duration: Duration) -> Self {
        let from = Instant::now() + warm_up;
        let end = from + duration;
        Self { from, end }
    }

    /// Counts what was sent then and is acknowledged now; false if it is over.
    pub(crate) fn note(self, sent: Instant, times: &mut Histogram<u64>) -> bool {
        let now = Instant::now();
        if now < self.end && sent >= self.from {
            times.saturating_record((now - sent).as_nanos() as u64);
        }
        now < self.end
    }

    /// What the tasks come to, whose times they return.
    pub(crate) async fn sum(
        self,
        running: Vec<JoinHandle<anyhow::Result<Histogram<u64>>>>,
    ) -> anyhow::Result<Produced> {
        tokio::time::sleep_until(self.from.into()).await;
        let before = cpu::of(std::process::id())?;
        tokio::time::sleep_until(self.end.into()).await;
        let cpu = cpu::of(std::process::id())?.since(before).all();
        let mut times = times()?;
        for task in running {
            times.add(task.await??)?;
        }
        Ok(Produced {
            events: times.len(),
            times,
            elapsed: self.end - self.from,
            cpu,
        })
    }
}

/// None so far; up to a minute, in ns.
pub(crate) fn times() -> anyhow::Result<Histogram<u64>> {
    Ok(Histogram::new_with_max(60_000_000_000, 3)?)
}

/// Counts what was acknowledged.
struct Count(AtomicU64);

impl ClientContext for Count {}

impl ProducerContext for Count {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if result.is_ok() {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Where the ids of the next call of `raw` begin: no two events of a process have the same.
static IDS: AtomicU64 = AtomicU64::new(0);
/// More than any call sends.
const IDS_OF_A_CALL: u64 = 1 << 40;

/// The first of a call's.
pub(crate) fn ids() -> u64 {
    IDS.fetch_add(IDS_OF_A_CALL, Ordering::Relaxed)
}

/// `n` events in batches of `batch`, each to the next of `partitions`, as fast as librdkafka takes them.
pub fn raw(
    brokers: &str,
    topic: &str,
    events: &[String],
    n: u64,
    batch: u64,
    partitions: i32,
) -> anyhow::Result<Produced> {
    let settings = settings(brokers);
    raw_with(&settings, topic, events, batch, partitions, |sent| sent < n)
}

/// [`raw`] with other settings, as long as `goes_on` says so, which is asked with the number of events so far.
pub fn raw_with(
    settings: &ClientConfig,
    topic: &str,
    events: &[String],
    batch: u64,
    partitions: i32,
    mut goes_on: impl FnMut(u64) -> bool,
) -> anyhow::Result<Produced> {
    let producer: BaseProducer<Count> = settings.create_with_context(Count(AtomicU64::new(0)))?;
    producer
        .client()
        .fetch_metadata(Some(topic), FLUSH)
        .context("Kafka does not answer")?;
    let (mut started, mut before) = (Instant::now(), cpu::of(std::process::id())?);
    let ids = ids();
    for number in (0..).take_while(|sent| goes_on(*sent)) {
        let header = header(ids + number);
        let mut record = BaseRecord::<(), _>::to(topic)
            .partition((number / batch) as i32 % partitions)
            .payload(&events[number as usize % events.len()])
            .headers(headers(&header));
        while let Err((error, again)) = producer.send(record) {
            if error != KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull) {
                return Err(error.into());
            }
            producer.poll(Duration::from_millis(1));
            record = again;
        }
        if number == 0 {
            // Time counts from here: the first one may wait for the producer's id, as in `awaited_with`.
            producer.flush(FLUSH)?;
            (started, before) = (Instant::now(), cpu::of(std::process::id())?);
        }
        if number % batch == 0 {
            producer.poll(Duration::ZERO);
        }
    }
    producer.flush(FLUSH)?;
    Ok(Produced {
        times: Histogram::new(3)?,
        events: producer.context().0.load(Ordering::Relaxed),
        elapsed: started.elapsed(),
        cpu: cpu::of(std::process::id())?.since(before).all(),
    })
}
