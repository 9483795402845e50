//! Members of a consumer group.

use std::{
    sync::{
        Barrier,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use benches::{cpu, plot::Axes};
use rdkafka::{
    Offset,
    consumer::{BaseConsumer, Consumer as _},
};

use crate::{Chapter, Study, brokers::Topic, page::Page, reading::POLL, turns::in_turns};

pub(crate) const CHAPTER: Chapter = Chapter {
    name: "members",
    title: "Members of a consumer group",
    brokers: 1,
    write: |study, page| Box::pin(write(study, page)),
};

const MEMBERS: [u64; 3] = [1, 2, 3];
const DEADLINE: Duration = Duration::from_secs(60);
/// Members hear of each other sooner than in production: how long that takes is not what is measured.
const QUICK: [(&str, &str); 1] = [("heartbeat.interval.ms", "100")];

/// A backlog that is read again and again.
struct Backlog {
    topic: Topic,
    events: u64,
}

async fn write(study: &Study, page: &mut Page) -> anyhow::Result<()> {
    let mut backlogs = Vec::new();
    for partitions in [1, 6] {
        let topic = study.brokers.topic(partitions, 1).await;
        let events = study.fill(&topic)?;
        backlogs.push(Backlog { topic, events });
    }
    let lines = [
        ("1 partition", &backlogs[0]),
        ("6 partitions", &backlogs[1]),
    ];
    let mut groups = 0;
    let turns = in_turns(study.rounds, &lines, &MEMBERS, async |backlog, members| {
        groups += 1;
        let group = Group {
            study,
            backlog,
            name: format!("{}-{groups}", backlog.topic.name),
            shares: (0..members).map(|_| AtomicUsize::new(0)).collect(),
            is_shared: AtomicBool::new(false),
            start: Barrier::new(members as usize + 1),
            read: AtomicU64::new(0),
            deadline: Instant::now() + DEADLINE,
        };
        group.drain()
    });
    let turns = turns.await?;
    let columns = ["events/s", "consumers, CPU s/M", "broker, CPU s/M"];
    page.table("A backlog", ["topic", "members"], columns, &turns);
    page.plot(
        Axes::Levels,
        ["rate over members of a group", "members", "events/s"],
        &turns,
        0,
    )?;
    for backlog in backlogs {
        study.brokers.forget(backlog.topic).await;
    }
    Ok(())
}

/// Members that read a backlog together, from the moment at which each has its share of the partitions.
struct Group<'a> {
    study: &'a Study,
    backlog: &'a Backlog,
    name: String,
    /// Partitions that each member has.
    shares: Vec<AtomicUsize>,
    is_shared: AtomicBool,
    start: Barrier,
    read: AtomicU64,
    deadline: Instant,
}

impl Group<'_> {
    /// Events in a second, and the processor time of consumers and broker for a million of them.
    fn drain(&self) -> anyhow::Result<[f64; 3]> {
        thread::scope(|scope| {
            let members = self.shares.iter();
            let members = members.map(|share| scope.spawn(|| self.member(share)));
            let members: Vec<_> = members.collect();
            while !self.has_fair_shares() && !self.is_late() {
                thread::sleep(POLL);
            }
            self.is_shared.store(true, Ordering::Release);
            self.start.wait();
            let brokers = &self.study.brokers;
            let (began, ours, broker) =
                (Instant::now(), cpu::of(std::process::id()), brokers.cpu()?);
            for member in members {
                let ended = member.join();
                ended.map_err(|_| anyhow::anyhow!("a member panicked"))??;
            }
            let events = self.backlog.events;
            let (seconds, millions) = (began.elapsed().as_secs_f64(), events as f64 / 1e6);
            let ours = cpu::of(std::process::id())?.since(ours?).all();
            Ok([
                events as f64 / seconds,
                ours.as_secs_f64() / millions,
                (brokers.cpu()? - broker).as_secs_f64() / millions,
            ])
        })
    }

    fn has_fair_shares(&self) -> bool {
        let partitions = self.backlog.topic.partitions as usize;
        let members = self.shares.len();
        let fair = partitions / members..=partitions.div_ceil(members);
        let shares = self
            .shares
            .iter()
            .map(|share| share.load(Ordering::Acquire));
        let shares: Vec<_> = shares.collect();
        shares.iter().sum::<usize>() == partitions
            && shares.iter().all(|share| fair.contains(share))
    }

    fn is_late(&self) -> bool {
        Instant::now() > self.deadline
    }

    fn member(&self, share: &AtomicUsize) -> anyhow::Result<()> {
        let joined = self.join(share);
        self.start.wait(); // even if it failed, as the others wait too
        let consumer = joined?;
        while self.read.load(Ordering::Relaxed) < self.backlog.events {
            if let Some(event) = consumer.poll(POLL) {
                event?;
                self.read.fetch_add(1, Ordering::Relaxed);
            }
            anyhow::ensure!(!self.is_late(), "not read within {DEADLINE:?}");
        }
        Ok(())
    }

    /// A consumer that is about to read its share of the partitions from their beginnings.
    fn join(&self, share: &AtomicUsize) -> anyhow::Result<BaseConsumer> {
        let consumer = self.study.consumer(&self.name, &QUICK)?;
        consumer.subscribe(&[&self.backlog.topic.name])?;
        while !self.is_shared.load(Ordering::Acquire) {
            _ = consumer.poll(POLL).transpose()?;
            share.store(consumer.assignment()?.count(), Ordering::Release);
        }
        for partition in consumer.assignment()?.elements() {
            let (topic, number) = (partition.topic(), partition.partition());
            // Not before it knows where it stands there.
            while let Err(error) = consumer.seek(topic, number, Offset::Beginning, DEADLINE) {
                _ = consumer.poll(POLL).transpose()?;
                anyhow::ensure!(!self.is_late(), "partition {number}: {error}");
            }
        }
        Ok(consumer)
    }
}
