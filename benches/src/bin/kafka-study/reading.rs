//! Reading while others write, reading later, and where what is read comes from.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use aguacero::config::Config;
use benches::{
    plot::{Axes, Curve, Line},
    produce::raw_with,
};
use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
};

use crate::{
    Chapter, Study,
    brokers::Topic,
    page::Page,
    turn::{STICKY, during},
    turns::in_turns,
};

pub(crate) const LAG: Chapter = Chapter {
    name: "lag",
    title: "Lag of a consumer while events come in",
    brokers: 1,
    write: |study, page| Box::pin(lag(study, page)),
};

pub(crate) const CACHE: Chapter = Chapter {
    name: "cache",
    title: "Where a consumer's events come from",
    brokers: 1,
    write: |study, page| Box::pin(cache(study, page)),
};

pub(crate) const POLL: Duration = Duration::from_millis(10);
/// Until a backlog that nobody reads any further is given up.
const DEADLINE: Duration = Duration::from_secs(60);
/// Between two looks at the lag.
const LOOK: Duration = Duration::from_millis(100);
/// A lag is watched for so many turns.
const WATCHED: u32 = 12;
/// Of the greatest rate: what the producer is paced to while the lag is watched.
const SHARE: f64 = 0.25;

/// How a consumer reads while its lag is watched.
#[derive(Clone, Copy)]
enum Reader {
    /// No more events than so many in a second.
    Paced(f64),
    /// Only after a while, and then as fast as it can.
    Away(Duration),
}

async fn lag(study: &Study, page: &mut Page) -> anyhow::Result<()> {
    let sides = [("nobody", false), ("one consumer", true)];
    let turns = in_turns(study.rounds, &sides, &[6], async |is_read, partitions| {
        let topic = study.brokers.topic(partitions, 1).await;
        let is_over = AtomicBool::new(false);
        let rates = thread::scope(|scope| {
            let reader = is_read.then(|| {
                scope.spawn(|| {
                    let consumer = study.reader_from_start(&topic)?;
                    study.read(&consumer, |_| !is_over.load(Ordering::Relaxed))
                })
            });
            let settings = study.brokers.settings(&[]);
            let (name, partitions) = (&topic.name, topic.partitions);
            let goes_on = during(study.duration);
            let produced = raw_with(&settings, name, &study.events, STICKY, partitions, goes_on);
            is_over.store(true, Ordering::Relaxed);
            let produced = produced?;
            let seconds = produced.elapsed.as_secs_f64();
            let read = reader.map_or(Ok(Ok(0)), |reader| reader.join());
            let read = read.map_err(|_| anyhow::anyhow!("the consumer panicked"))??;
            Ok([produced.events as f64 / seconds, read as f64 / seconds])
        });
        study.brokers.forget(topic).await;
        rates
    });
    let turns = turns.await?;
    page.table(
        "As fast as it goes",
        ["read by", "partitions"],
        ["produced/s", "read/s"],
        &turns,
    );

    let rate = turns.sides[0].median(0) * SHARE;
    let watched = study.duration * WATCHED;
    let ways = [
        (
            "no faster than half of what comes",
            Reader::Paced(rate / 2.0),
        ),
        ("away for a third of the time", Reader::Away(watched / 3)),
    ];
    let mut lines = Vec::new();
    for (name, way) in ways {
        let topic = study.brokers.topic(6, 1).await;
        let points = study.watch(&topic, rate, way, watched)?;
        study.brokers.forget(topic).await;
        lines.push(Line {
            name: name.to_owned(),
            points,
        });
    }
    page.curve(&Curve {
        title: "lag while a quarter of the greatest rate comes in",
        over: "seconds",
        unit: "events produced and not yet read",
        axes: Axes::Even,
        lines,
    })
}

async fn cache(study: &Study, page: &mut Page) -> anyhow::Result<()> {
    let topic = study.brokers.topic(6, 1).await;
    let over = [study.fill(&topic)?];
    let megabytes = study.brokers.log(&topic)?.bytes as f64 / 1e6;
    let sides = [
        ("as they were written", false),
        ("after the page cache let go of them", true),
    ];
    let turns = in_turns(study.rounds, &sides, &over, async |is_cold, events| {
        if is_cold {
            study.brokers.drop_pages(&topic)?;
        }
        let (disk, cpu) = (study.brokers.read_from_disk()?, study.brokers.cpu()?);
        let consumer = study.reader_from_start(&topic)?;
        let began = Instant::now();
        let is_there = |read| read < events && began.elapsed() < DEADLINE;
        let read = study.read(&consumer, is_there)?;
        anyhow::ensure!(
            read == events,
            "{read} of {events} read within {DEADLINE:?}"
        );
        let seconds = began.elapsed().as_secs_f64();
        Ok([
            read as f64 / seconds,
            megabytes / seconds,
            (study.brokers.read_from_disk()? - disk) as f64 / 1e6,
            (study.brokers.cpu()? - cpu).as_secs_f64() / (read as f64 / 1e6),
        ])
    });
    let columns = [
        "events/s",
        "MB/s",
        "MB that the broker read from the disk",
        "broker, CPU s/M",
    ];
    page.table(
        "A backlog from its beginning",
        ["files", "events"],
        columns,
        &turns.await?,
    );
    study.brokers.forget(topic).await;
    Ok(())
}

impl Study {
    /// A backlog; returns how many events it is.
    pub(crate) fn fill(&self, topic: &Topic) -> anyhow::Result<u64> {
        let settings = self.brokers.settings(&[]);
        let (name, partitions) = (&topic.name, topic.partitions);
        let goes_on = during(2 * self.duration);
        let produced = raw_with(&settings, name, &self.events, STICKY, partitions, goes_on)?;
        Ok(produced.events)
    }

    /// A consumer with the settings of Aguacero's.
    pub(crate) fn consumer(
        &self,
        group: &str,
        varied: &[(&str, &str)],
    ) -> anyhow::Result<BaseConsumer> {
        let environment = [
            ("AGUACERO_KAFKA_BROKERS", self.brokers.addresses.as_str()),
            ("AGUACERO_CONSUMER_GROUP", group),
        ];
        let environment = environment.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let config = Config::parse(
            &e2e::repository("aguacero.toml"),
            "aguacero.toml",
            environment,
        );
        let config = config.map_err(|mistakes| anyhow::anyhow!("{mistakes}"))?;
        let mut settings = consumer::poll::client(&config);
        for (key, value) in varied {
            settings.set(*key, *value);
        }
        Ok(settings.create()?)
    }

    /// One without a group's other members: it has all partitions of `topic`, from their beginnings.
    fn reader_from_start(&self, topic: &Topic) -> anyhow::Result<BaseConsumer> {
        let consumer = self.consumer("study-alone", &[])?;
        let mut all = TopicPartitionList::new();
        for partition in 0..topic.partitions {
            all.add_partition_offset(&topic.name, partition, Offset::Beginning)?;
        }
        consumer.assign(&all)?;
        Ok(consumer)
    }

    /// Reads as long as `goes_on` says so, which is asked with the number of events so far, and returns that.
    pub(crate) fn read(
        &self,
        consumer: &BaseConsumer,
        mut goes_on: impl FnMut(u64) -> bool,
    ) -> anyhow::Result<u64> {
        let mut read = 0;
        while goes_on(read) {
            if let Some(event) = consumer.poll(POLL) {
                event?;
                read += 1;
            }
        }
        Ok(read)
    }

    /// The lag, again and again, while `rate` events come in each second and are read in a `way`.
    fn watch(
        &self,
        topic: &Topic,
        rate: f64,
        way: Reader,
        watched: Duration,
    ) -> anyhow::Result<Vec<(f64, f64)>> {
        let (sent, seen) = (AtomicU64::new(0), AtomicU64::new(0));
        let (began, settings) = (Instant::now(), self.brokers.settings(&[]));
        let is_over = || began.elapsed() > watched;
        thread::scope(|scope| {
            let producer = scope.spawn(|| {
                let goes_on = |number| {
                    sent.store(number, Ordering::Relaxed);
                    wait_until_due(began, rate, number);
                    !is_over()
                };
                raw_with(
                    &settings,
                    &topic.name,
                    &self.events,
                    STICKY,
                    topic.partitions,
                    goes_on,
                )
            });
            let reader = scope.spawn(|| {
                if let Reader::Away(away) = way {
                    thread::sleep(away);
                }
                self.read(&self.reader_from_start(topic)?, |number| {
                    seen.store(number, Ordering::Relaxed);
                    if let Reader::Paced(rate) = way {
                        wait_until_due(began, rate, number);
                    }
                    !is_over()
                })
            });
            let mut lag = Vec::new();
            while !is_over() && !producer.is_finished() && !reader.is_finished() {
                thread::sleep(LOOK);
                let seen = seen.load(Ordering::Relaxed);
                let behind = sent.load(Ordering::Relaxed).saturating_sub(seen);
                lag.push((began.elapsed().as_secs_f64(), behind as f64));
            }
            let (producer, reader) = (producer.join(), reader.join());
            producer.map_err(|_| anyhow::anyhow!("the producer panicked"))??;
            reader.map_err(|_| anyhow::anyhow!("the consumer panicked"))??;
            Ok(lag)
        })
    }
}

/// Sleeps if the event of this `number` is not due yet, of so many in a second.
fn wait_until_due(began: Instant, rate: f64, number: u64) {
    let due = began + Duration::from_secs_f64(number as f64 / rate);
    if let Some(early) = due
        .checked_duration_since(Instant::now())
        .filter(|early| *early > Duration::from_millis(1))
    {
        thread::sleep(early);
    }
}
