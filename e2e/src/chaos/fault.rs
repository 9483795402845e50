//! What can go wrong, how it begins and how it ends.

use std::{fmt, time::Duration};

use super::{
    begun::{Begun, set_policy, spawn},
    round::FEEDS,
};
use crate::{
    Kind, Link, Pipeline,
    load::{Load, ODD, WEATHER},
    outage::Outages,
    seed::Dice,
};

/// Something that goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// SIGKILL; later started again as the same one.
    Killed(Kind),
    /// SIGSTOP; later SIGCONT.
    Frozen(Kind),
    /// SIGTERM; started again once it has ended.
    Restarted(Kind),
    /// SIGKILL; later started again on its data. Redis comes back empty.
    ServiceKilled(Service),
    /// SIGSTOP; later SIGCONT.
    ServiceFrozen(Service),
    /// FLUSHDB.
    RedisEmptied,
    /// Ended in the middle of what it carries; for a while every new one is ended as well.
    Cut(Link),
    /// Kept open, and nothing comes through.
    Held(Link),
    /// SIGKILL, of all of a kind; started again on their data after a minute.
    ServiceAway(Service),
    /// SIGKILL of Redis; started again after 10 to 20 s, empty.
    RedisAway,
    /// SIGKILL of a consumer that does not come back: the others take over.
    ConsumerGone,
    /// Every write is refused for want of memory.
    RedisFull,
    /// Every write is refused, since no replica has it.
    RedisAlone,
    /// Every write is refused, since it is made a replica.
    RedisReplica,
    /// DEL of one of a stream's keys.
    RedisKeyDeleted,
    /// An archive's collection is gone with its indexes: what it held is counted no more.
    CollectionDropped,
    /// The same; later its documents are put back as from a backup, and the stream is rebuilt.
    CollectionRestored,
    /// The indexes of an archive's collection are gone.
    IndexesDropped,
    /// A rule of the collection's own refuses some documents, which become dead letters.
    DocumentsRefused(Rule),
    /// The topic is compacted, so that nothing is taken without a key; later as it was.
    TopicCompacted,
    /// `consumer dead-letters replay --all`.
    DeadLettersReplayed,
    /// `consumer dead-letters discard --all`.
    DeadLettersDiscarded,
    /// Not a byte more can be written: the broker gives up; later started again on its data.
    KafkaDiskFull,
    /// The topic is deleted with everything in it, and made again.
    TopicRecreated,
    /// The wall clock steps back by up to an hour; later forward again.
    ClockStepped(Kind),
}

/// Why a collection refuses documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// A validator.
    Validator,
    /// A unique index.
    Unique,
}

/// One of the services.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Service {
    /// The broker.
    Kafka,
    /// The only member of its replica set.
    MongoDb,
    /// Without persistence.
    Redis,
}

/// The stream whose topic is made again and compacted.
pub(super) const STREAM: &str = WEATHER.stream;
/// So many events of the clients have met every partition.
pub(super) const EACH_PARTITION: u64 = 300;
const LINKS: [Link; 6] = [
    Link::Clients,
    Link::Frames,
    Link::Deltas,
    Link::Kafka,
    Link::MongoDb,
    Link::Redis,
];
const SERVICES: [Service; 3] = [Service::Kafka, Service::MongoDb, Service::Redis];

impl Service {
    /// As `scripts/services` calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Kafka => "kafka",
            Self::MongoDb => "mongodb",
            Self::Redis => "redis",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Killed(kind) => write!(f, "{} killed", kind.name()),
            Self::Frozen(kind) => write!(f, "{} frozen", kind.name()),
            Self::Restarted(kind) => write!(f, "{} restarted", kind.name()),
            Self::ServiceKilled(service) => write!(f, "{} killed", service.name()),
            Self::ServiceFrozen(service) => write!(f, "{} frozen", service.name()),
            Self::RedisEmptied => f.write_str("redis emptied"),
            Self::ServiceAway(service) => write!(f, "{} away for a minute", service.name()),
            Self::RedisAway => f.write_str("redis away for 10 s"),
            Self::RedisAlone => f.write_str("redis without replicas"),
            Self::RedisReplica => f.write_str("redis made a replica"),
            Self::RedisKeyDeleted => f.write_str("redis key deleted"),
            Self::CollectionDropped => f.write_str("collection dropped"),
            Self::CollectionRestored => f.write_str("collection restored"),
            Self::IndexesDropped => f.write_str("indexes dropped"),
            Self::DocumentsRefused(Rule::Validator) => f.write_str("validator refuses"),
            Self::DocumentsRefused(Rule::Unique) => f.write_str("unique index refuses"),
            Self::TopicCompacted => f.write_str("topic compacted"),
            Self::DeadLettersReplayed => f.write_str("dead letters replayed"),
            Self::DeadLettersDiscarded => f.write_str("dead letters discarded"),
            Self::ConsumerGone => f.write_str("consumer gone"),
            Self::RedisFull => f.write_str("redis full"),
            Self::KafkaDiskFull => f.write_str("kafka's disk full"),
            Self::TopicRecreated => f.write_str("topic recreated"),
            Self::ClockStepped(kind) => write!(f, "{}'s clock back", kind.name()),
            Self::Cut(link) => write!(f, "{} cut", ends(*link)),
            Self::Held(link) => write!(f, "{} held", ends(*link)),
        }
    }
}

/// Our own processes.
fn kinds() -> [Kind; 4] {
    [
        Kind::Gateway,
        Kind::producer(),
        Kind::RedisWriter,
        Kind::Consumer,
    ]
}

/// What a link joins.
fn ends(link: Link) -> &'static str {
    match link {
        Link::Clients => "client - gateway",
        Link::Frames => "gateway - producer",
        Link::Deltas => "gateway - redis-writer",
        Link::Kafka => "any - kafka",
        Link::MongoDb => "consumer - mongodb",
        Link::Redis => "any - redis",
        Link::Postgres => "tables - postgres",
    }
}

impl Fault {
    /// Every one.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let ours = kinds().into_iter().flat_map(|kind| {
            [
                Self::Killed(kind),
                Self::Frozen(kind),
                Self::Restarted(kind),
            ]
        });
        let services = SERVICES
            .into_iter()
            .flat_map(|service| [Self::ServiceKilled(service), Self::ServiceFrozen(service)]);
        let links = LINKS
            .into_iter()
            .flat_map(|link| [Self::Cut(link), Self::Held(link)]);
        let others = [
            Self::RedisEmptied,
            Self::RedisFull,
            Self::RedisAlone,
            Self::RedisReplica,
            Self::RedisKeyDeleted,
            Self::RedisAway,
            Self::CollectionDropped,
            Self::CollectionRestored,
            Self::IndexesDropped,
            Self::DocumentsRefused(Rule::Validator),
            Self::DocumentsRefused(Rule::Unique),
            Self::DeadLettersReplayed,
            Self::DeadLettersDiscarded,
            Self::KafkaDiskFull,
            Self::TopicRecreated,
            Self::TopicCompacted,
            Self::ConsumerGone,
            Self::ServiceAway(Service::Kafka),
            Self::ServiceAway(Service::Redis),
        ];
        let clocks = kinds().into_iter().map(Self::ClockStepped);
        let all = ours.chain(services).chain(others);
        all.chain(links).chain(clocks).collect()
    }

    /// Every one that is over within seconds.
    #[must_use]
    pub fn short() -> Vec<Self> {
        let mut all = Self::all();
        all.retain(|fault| !matches!(fault, Self::ServiceAway(_) | Self::RedisAway));
        all
    }

    /// Any one that may come upon another; of a topic that is made again the oracle could not judge what
    /// was stored before. Kills of our own processes are the most frequent.
    pub(super) fn any(dice: &mut Dice) -> Self {
        let kind = kinds()[dice.below(4) as usize];
        let service = SERVICES[dice.below(3) as usize];
        let link = LINKS[dice.below(6) as usize];
        match dice.below(42) {
            0..=11 => Self::Killed(kind),
            12 | 13 => Self::Frozen(kind),
            14 => Self::Restarted(kind),
            15..=17 => Self::ServiceKilled(service),
            18 => Self::ServiceFrozen(service),
            19 => Self::RedisEmptied,
            20..=22 => Self::Cut(link),
            23 => Self::Held(link),
            24 => Self::RedisFull,
            25 => Self::KafkaDiskFull,
            26 => Self::ClockStepped(kind),
            27 => Self::RedisAway,
            28 => Self::RedisAlone,
            29 => Self::RedisReplica,
            30..=32 => Self::RedisKeyDeleted,
            33 => Self::CollectionDropped,
            34 => Self::IndexesDropped,
            35 | 36 => Self::DocumentsRefused(Rule::Validator),
            37 => Self::DocumentsRefused(Rule::Unique),
            38 => Self::TopicCompacted,
            39 => Self::DeadLettersReplayed,
            40 => Self::CollectionRestored,
            _ => Self::DeadLettersDiscarded,
        }
    }

    /// Whether `other` may come upon it: one service at most is away at a time, and what is done to a
    /// service, at its beginning and at its end, needs it to be there.
    pub(super) fn goes_with(self, other: Self) -> bool {
        !self.forbids(other) && !other.forbids(self)
    }

    fn forbids(self, other: Self) -> bool {
        match self {
            // A process that starts meanwhile may refuse to run, and nobody would start it again.
            Self::TopicCompacted => true,
            // What is put back must break no rule; and counting anew writes.
            Self::CollectionRestored if other.refuses_writes() => true,
            Self::CollectionRestored if matches!(other, Self::DocumentsRefused(_)) => true,
            // DEL and FLUSHDB are writes.
            Self::RedisEmptied | Self::RedisKeyDeleted if other.refuses_writes() => true,
            _ if self.refuses_writes() && other.refuses_writes() => true,
            _ if self.is_of_a_service() => other.is_of_a_service() || other.needs_services(),
            _ => false,
        }
    }

    /// Whether Redis refuses writes while it lasts.
    fn refuses_writes(self) -> bool {
        matches!(
            self,
            Self::RedisFull | Self::RedisAlone | Self::RedisReplica
        )
    }

    /// Whether a service is away while it lasts.
    fn is_of_a_service(self) -> bool {
        matches!(
            self,
            Self::ServiceKilled(_)
                | Self::ServiceFrozen(_)
                | Self::ServiceAway(_)
                | Self::RedisAway
                | Self::KafkaDiskFull
        )
    }

    /// Whether it needs the services to be there.
    fn needs_services(self) -> bool {
        matches!(
            self,
            Self::RedisEmptied
                | Self::RedisFull
                | Self::RedisAlone
                | Self::RedisReplica
                | Self::RedisKeyDeleted
                | Self::CollectionDropped
                | Self::CollectionRestored
                | Self::IndexesDropped
                | Self::DocumentsRefused(_)
                | Self::TopicRecreated
                | Self::TopicCompacted
                | Self::DeadLettersReplayed
                | Self::DeadLettersDiscarded
        )
    }

    /// How long it goes on.
    pub(super) fn lasts(self, dice: &mut Dice) -> Duration {
        Duration::from_millis(match self {
            Self::Killed(_) | Self::ServiceKilled(_) | Self::KafkaDiskFull => dice.below(600),
            Self::Frozen(_)
            | Self::Held(_)
            | Self::RedisFull
            | Self::RedisAlone
            | Self::RedisReplica
            | Self::CollectionRestored
            | Self::DocumentsRefused(_)
            | Self::TopicCompacted
            | Self::ClockStepped(_) => 200 + dice.below(2500),
            Self::ServiceAway(_) => 60_000,
            Self::RedisAway => 10_000 + dice.below(10_000),
            Self::Cut(_) => dice.below(2) * dice.below(1000),
            Self::ServiceFrozen(_) => 200 + dice.below(4000),
            Self::Restarted(_)
            | Self::RedisEmptied
            | Self::RedisKeyDeleted
            | Self::CollectionDropped
            | Self::IndexesDropped
            | Self::DeadLettersReplayed
            | Self::DeadLettersDiscarded
            | Self::TopicRecreated
            | Self::ConsumerGone => 0,
        })
    }

    /// Lets it happen, to a process that nothing happens to yet. None if there is nothing that it could
    /// happen to.
    pub(super) async fn begin(
        self,
        pipeline: &mut Pipeline,
        loads: &[Load],
        outages: &Outages,
        busy: &[usize],
        dice: &mut Dice,
    ) -> Option<Begun> {
        let (mut process, mut wire, mut services) = (None, None, Vec::new());
        let (mut what, mut aside, mut command) = (String::new(), String::new(), None);
        let stream = pipeline.stream(FEEDS[dice.below(FEEDS.len() as u64) as usize].stream);
        let mut one_of = |service: Service| {
            let all = outages.of_kind(service.name());
            let any = dice.below(all.len().max(1) as u64) as usize;
            services.extend(all.into_iter().nth(any));
            services.clone()
        };
        match self {
            Self::Killed(kind)
            | Self::Frozen(kind)
            | Self::Restarted(kind)
            | Self::ClockStepped(kind) => {
                let of_kind = pipeline.processes().enumerate();
                let free: Vec<usize> = of_kind
                    .filter(|(n, p)| p.kind() == kind && !busy.contains(n))
                    .map(|(n, _)| n)
                    .collect();
                let number = *free.get(dice.below(free.len().max(1) as u64) as usize)?;
                process = Some(number);
                let process = pipeline.process(number);
                match self {
                    Self::Killed(_) => process.kill(),
                    Self::Frozen(_) => process.freeze().await,
                    Self::ClockStepped(_) => process.set_clock(-1 - dice.below(3600) as i64),
                    _ => process.terminate(),
                }
            }
            Self::ConsumerGone => {
                let mut all = pipeline.processes();
                process = all.position(|p| p.kind() == Kind::Consumer);
                drop(all);
                pipeline.process(process?).kill();
            }
            Self::ServiceKilled(service) => {
                for name in one_of(service) {
                    outages.begin(&name).await;
                }
            }
            Self::ServiceAway(service) => {
                services = outages.of_kind(service.name());
                for name in &services {
                    outages.begin(name).await;
                }
            }
            Self::RedisAway => {
                for name in one_of(Service::Redis) {
                    outages.begin(&name).await;
                }
            }
            Self::RedisFull => pipeline.redis.set_full(true).await,
            Self::RedisAlone => pipeline.redis.set_alone(true).await,
            Self::RedisReplica => pipeline.redis.set_replica(true).await,
            Self::RedisKeyDeleted => {
                let keys = pipeline.redis.keys_of(stream).await;
                let any = dice.below(keys.len().max(1) as u64) as usize;
                what.clone_from(keys.get(any)?);
                pipeline.redis.delete(&what).await;
            }
            Self::CollectionDropped | Self::CollectionRestored => {
                what.clone_from(&stream.name);
                aside = pipeline.archive.take_away(&stream.archive).await;
            }
            Self::IndexesDropped => {
                what.clone_from(&stream.name);
                pipeline.archive.drop_indexes(&stream.archive).await;
            }
            Self::DocumentsRefused(rule) => {
                what.clone_from(&stream.name);
                let (archive, field) = (&pipeline.archive, Some(ODD));
                match rule {
                    Rule::Validator => archive.set_refused(&stream.archive, field).await,
                    Rule::Unique if archive.set_unique(&stream.archive, field).await => {}
                    Rule::Unique => return None,
                }
            }
            Self::TopicCompacted => {
                let topic = pipeline.config.topic_of(pipeline.stream(STREAM));
                if topic.replication > 1 {
                    return None; // setting one value forgets the others
                }
                set_policy(pipeline, "compact").await;
            }
            Self::DeadLettersReplayed => {
                command = Some(spawn(pipeline, "dead-letters replay --all"))
            }
            Self::DeadLettersDiscarded => {
                command = Some(spawn(pipeline, "dead-letters discard --all"))
            }
            Self::KafkaDiskFull => {
                for name in one_of(Service::Kafka) {
                    outages.fill_disk(&name).await;
                }
            }
            Self::TopicRecreated => {
                let topic = pipeline.config.topic_of(pipeline.stream(STREAM));
                if topic.replication > 1 {
                    return None;
                }
                let (name, partitions) = (topic.name.clone(), topic.partitions);
                pipeline.kafka.recreate(&name, partitions).await;
                loads.iter().for_each(Load::forgive);
            }
            Self::ServiceFrozen(service) => {
                one_of(service).iter().for_each(|name| outages.freeze(name));
            }
            Self::RedisEmptied => pipeline.redis.flush().await,
            Self::Cut(link) | Self::Held(link) => {
                let all = pipeline.wires.iter().enumerate();
                let of_link: Vec<_> = all.filter(|(_, (l, _))| *l == link).collect();
                let any = dice.below(of_link.len().max(1) as u64) as usize;
                let (number, (_, chosen)) = *of_link.get(any)?;
                match self {
                    Self::Cut(_) => chosen.cut(),
                    _ => chosen.hold(),
                }
                wire = Some(number);
            }
        }
        Some(Begun {
            fault: self,
            process,
            wire,
            services,
            what,
            aside,
            command,
        })
    }
}
