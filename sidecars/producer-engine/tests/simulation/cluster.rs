//! Brokers, topics, leaders and replicas: what the controller knows, and what each broker has heard of it.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::{
    log::{Entry, Log},
    seen::Seen,
    world::{Happening, World},
};

pub(crate) const BROKERS_MAX: usize = 4;

/// Brokers as bits.
pub(crate) type Set = u8;

/// What a broker has heard of a partition, and, where it leads, what it knows of the others.
#[derive(Clone, Default)]
pub(crate) struct Role {
    pub(crate) leader: Option<usize>,
    pub(crate) epoch: i32,
    pub(crate) in_sync: Set,
    /// Where its log ended when it began to lead.
    start: i64,
    /// Where the logs of the others end, as they have told since then.
    ends: [i64; BROKERS_MAX],
}

#[derive(Default)]
pub(crate) struct Partition {
    pub(crate) leader: Option<usize>,
    pub(crate) epoch: i32,
    pub(crate) in_sync: Set,
    pub(crate) replicas: Set,
    pub(crate) logs: BTreeMap<usize, Log>,
    /// What was below any leader's high watermark.
    pub(crate) committed: Vec<Entry>,
}

/// A topic from when it was made until it was deleted.
pub(crate) struct Life {
    pub(crate) topic: usize,
    pub(crate) id: Uuid,
    pub(crate) is_alive: bool,
    pub(crate) partitions: Vec<Partition>,
}

/// What a broker has heard of a topic.
#[derive(Clone)]
pub(crate) struct Known {
    pub(crate) life: usize,
    pub(crate) roles: Vec<Role>,
}

#[derive(Default)]
pub(crate) struct Broker {
    pub(crate) is_up: bool,
    /// The controller and the other brokers cannot reach it.
    pub(crate) is_isolated: bool,
    /// Clients cannot reach it.
    pub(crate) is_silent: bool,
    pub(crate) known: Vec<Option<Known>>,
    pub(crate) port: u16,
}

/// Topic's life and partition's number.
pub(crate) type Place = (usize, usize);

pub(crate) fn bit(broker: usize) -> Set {
    1 << broker
}

pub(crate) fn members(set: Set) -> impl Iterator<Item = usize> {
    (0..BROKERS_MAX).filter(move |b| set & bit(*b) != 0)
}

impl World {
    pub(crate) fn partition(&self, place: Place) -> &Partition {
        &self.lives[place.0].partitions[place.1]
    }

    pub(crate) fn partition_mut(&mut self, place: Place) -> &mut Partition {
        &mut self.lives[place.0].partitions[place.1]
    }

    pub(crate) fn role(&self, broker: usize, place: Place) -> Option<&Role> {
        let known = self.brokers[broker].known[self.lives[place.0].topic].as_ref()?;
        (known.life == place.0).then(|| known.roles.get(place.1))?
    }

    fn role_mut(&mut self, broker: usize, place: Place) -> Option<&mut Role> {
        let topic = self.lives[place.0].topic;
        let known = self.brokers[broker].known[topic].as_mut()?;
        (known.life == place.0).then(|| known.roles.get_mut(place.1))?
    }

    /// Whether the controller and the other brokers can reach it.
    fn is_heard(&self, broker: usize) -> bool {
        self.brokers[broker].is_up && !self.brokers[broker].is_isolated
    }

    /// Whether a broker leads a partition, as far as it knows.
    pub(crate) fn leads(&self, broker: usize, place: Place) -> bool {
        self.role(broker, place)
            .is_some_and(|role| role.leader == Some(broker))
    }

    /// Whether it leads it, and the controller agrees and can be told so.
    fn is_heeded(&self, broker: usize, place: Place) -> bool {
        self.is_heard(broker)
            && self.lives[place.0].is_alive
            && self.role(broker, place).is_some_and(|role| {
                role.leader == Some(broker) && role.epoch == self.partition(place).epoch
            })
    }

    /// A partition without batches.
    pub(crate) fn new_partition(&mut self, replicas: usize, epoch_max: usize) -> Partition {
        let count = self.brokers.len();
        let first = self.random.below(count);
        let set = (0..replicas.min(count)).fold(0, |set, n| set | bit((first + n) % count));
        let in_sync = members(set)
            .filter(|b| self.is_heard(*b))
            .fold(0, |set, b| set | bit(b));
        Partition {
            leader: members(in_sync).next(),
            epoch: self.random.below(epoch_max) as i32,
            in_sync: if in_sync == 0 { set } else { in_sync },
            replicas: set,
            logs: members(set).map(|b| (b, Log::default())).collect(),
            committed: Vec::new(),
        }
    }

    /// A topic is made, or made again.
    pub(crate) fn make(&mut self, topic: usize, partitions: usize, replicas: usize) {
        let id = Uuid::from_u128((u128::from(self.random.number()) << 64) | 1);
        // The first life of a topic is the longest.
        let epoch_max = if self.topics[topic].made == 0 { 10 } else { 2 };
        let made = (0..partitions).map(|_| self.new_partition(replicas, epoch_max));
        let made = made.collect();
        self.note(|| format!("topic {topic} is made: {id}, {partitions} partitions of {replicas}"));
        self.lives.push(Life {
            topic,
            id,
            is_alive: true,
            partitions: made,
        });
        self.topics[topic].life = Some(self.lives.len() - 1);
        self.topics[topic].made += 1;
        self.tell_brokers();
    }

    pub(crate) fn delete(&mut self, topic: usize) {
        let Some(life) = self.topics[topic].life.take() else {
            return;
        };
        self.note(|| format!("topic {topic} is deleted"));
        self.lives[life].is_alive = false;
        self.tell_brokers();
    }

    /// All brokers will hear what the controller knows, some of them late.
    pub(crate) fn tell_brokers(&mut self) {
        for broker in 0..self.brokers.len() {
            let late = match self.random.permille(self.plan.late_permille) {
                true => 500_000,
                false => 3_000,
            };
            let after = self.random.within(0..=late);
            self.later(after, Happening::Learn(broker));
        }
    }

    /// A broker hears all that the controller knows.
    pub(crate) fn learn(&mut self, broker: usize) {
        if !self.is_heard(broker) {
            return;
        }
        for topic in 0..self.topics.len() {
            let Some(life) = self.topics[topic].life else {
                self.brokers[broker].known[topic] = None;
                continue;
            };
            let before = self.brokers[broker].known[topic].take();
            let before = before.filter(|known| known.life == life);
            let mut roles = Vec::new();
            for number in 0..self.lives[life].partitions.len() {
                let partition = &self.lives[life].partitions[number];
                let mut role = Role {
                    leader: partition.leader,
                    epoch: partition.epoch,
                    in_sync: partition.in_sync,
                    start: partition.logs.get(&broker).map_or(0, Log::end),
                    ends: [0; BROKERS_MAX],
                };
                let old = before.as_ref().and_then(|known| known.roles.get(number));
                match old.filter(|old| old.epoch == role.epoch) {
                    Some(old) => (role.start, role.ends) = (old.start, old.ends),
                    None if role.leader == Some(broker) => {
                        self.note(|| format!("broker {broker} leads {life}-{number}"));
                    }
                    None if partition.replicas & bit(broker) != 0 => {
                        self.later(100, Happening::Fetch(broker, (life, number)));
                    }
                    None => {}
                }
                roles.push(role);
            }
            self.brokers[broker].known[topic] = Some(Known { life, roles });
            for number in 0..self.lives[life].partitions.len() {
                if self.leads(broker, (life, number)) {
                    self.commit(broker, (life, number));
                    self.wake_followers(broker, (life, number));
                }
            }
        }
        self.complete(broker);
    }

    pub(crate) fn wake_followers(&mut self, leader: usize, place: Place) {
        let others = self.partition(place).replicas & !bit(leader);
        let Some(role) = self.role(leader, place) else {
            return;
        };
        let end = self.partition(place).logs[&leader].end();
        let lags = |b: &usize| role.in_sync & bit(*b) == 0 || role.ends[*b] < end;
        let lagging: Vec<_> = members(others).filter(lags).collect();
        for follower in lagging {
            let after = match self.random.permille(self.plan.lag_permille) {
                true => self.random.within(20_000..=400_000),
                false => self.random.within(100..=2_000),
            };
            self.later(after, Happening::Fetch(follower, place));
        }
    }

    /// A follower asks the leader, tells where its log ends, and gets what it has not.
    pub(crate) fn fetch(&mut self, follower: usize, place: Place) {
        let Some(role) = self
            .role(follower, place)
            .filter(|_| self.is_heard(follower))
        else {
            return;
        };
        let (epoch, Some(leader)) = (role.epoch, role.leader.filter(|l| *l != follower)) else {
            return;
        };
        let is_same = self
            .role(leader, place)
            .is_some_and(|l| l.epoch == epoch && l.leader == Some(leader));
        if !is_same || !self.is_heard(leader) {
            return; // it will hear of the leader, or the leader of itself
        }
        let entries = match self.random.permille(200) {
            true => self.random.below(3),
            false => usize::MAX,
        };
        let logs = &mut self.lives[place.0].partitions[place.1].logs;
        let Some(mut own) = logs.remove(&follower) else {
            return;
        };
        let Some(of_leader) = logs.get(&leader) else {
            return;
        };
        let is_truncated = own.diverge(of_leader);
        let end = own.end();
        own.follow(of_leader, entries);
        let is_behind = end < of_leader.end();
        logs.insert(follower, own);
        if is_truncated {
            self.saw(Seen::Truncated);
        }
        if let Some(role) = self.role_mut(leader, place) {
            role.ends[follower] = end;
            let is_caught_up = end >= role.start;
            self.commit(leader, place);
            if is_caught_up {
                self.expand(leader, follower, end, place);
            }
            self.complete(leader);
        }
        if is_behind {
            let after = self.random.within(100..=1_500);
            self.later(after, Happening::Fetch(follower, place));
        }
    }

    /// What every replica in sync has is committed.
    pub(crate) fn commit(&mut self, leader: usize, place: Place) {
        let Some(role) = self.role(leader, place) else {
            return;
        };
        let others = members(role.in_sync & !bit(leader)).map(|b| role.ends[b]);
        let end = others.min().unwrap_or(i64::MAX);
        let partition = &mut self.lives[place.0].partitions[place.1];
        let Some(log) = partition.logs.get_mut(&leader) else {
            return;
        };
        let end = end.min(log.end());
        log.high_watermark = log.high_watermark.max(end);
        let committed = &mut partition.committed;
        for (at, entry) in log.entries.iter().enumerate() {
            if entry.end() > end {
                break;
            }
            match committed.get(at) {
                Some(before) => assert_eq!(before, entry, "the model lost what it had committed"),
                None => committed.push(*entry),
            }
        }
    }

    /// A follower that has caught up is in sync again.
    fn expand(&mut self, leader: usize, follower: usize, end: i64, place: Place) {
        let high_watermark = self.partition(place).logs[&leader].high_watermark;
        let is_new = self
            .role(leader, place)
            .is_some_and(|r| r.in_sync & bit(follower) == 0);
        let is_replica = self.partition(place).replicas & bit(follower) != 0;
        if is_new && is_replica && self.is_heeded(leader, place) && end >= high_watermark {
            self.partition_mut(place).in_sync |= bit(follower);
            if let Some(role) = self.role_mut(leader, place) {
                role.in_sync |= bit(follower);
            }
        }
    }

    /// The leader takes those that lag out of those in sync.
    pub(crate) fn shrink(&mut self, place: Place) {
        let Some(leader) = self.partition(place).leader else {
            return;
        };
        if !self.is_heeded(leader, place) {
            return;
        }
        let end = self.partition(place).logs[&leader].end();
        let Some(role) = self.role_mut(leader, place) else {
            return;
        };
        let ends = role.ends;
        role.in_sync = members(role.in_sync)
            .filter(|b| *b == leader || ends[*b] >= end)
            .fold(0, |set, b| set | bit(b));
        let in_sync = role.in_sync;
        self.partition_mut(place).in_sync &= in_sync;
        self.note(|| format!("in sync at {place:?}: {in_sync:04b}"));
        self.commit(leader, place);
        self.complete(leader);
    }

    /// Another one leads, if one that is in sync can be reached; none, if only the old one could be.
    pub(crate) fn elect(&mut self, place: Place, not: Option<usize>) {
        let in_sync = self.partition(place).in_sync;
        let able: Vec<_> = members(in_sync)
            .filter(|b| self.is_heard(*b) && Some(*b) != not)
            .collect();
        let leader = (!able.is_empty()).then(|| self.random.pick(&able));
        let partition = self.partition_mut(place);
        partition.leader = leader;
        partition.epoch += 1;
        let epoch = partition.epoch;
        self.note(|| format!("{place:?} is led by {leader:?} in epoch {epoch}"));
    }

    pub(crate) fn living(&self) -> Vec<Place> {
        let lives = self.topics.iter().filter_map(|t| t.life);
        let of = |life: usize| (0..self.lives[life].partitions.len()).map(move |n| (life, n));
        lives.flat_map(of).collect()
    }

    /// The controller has not heard of a broker for long.
    pub(crate) fn fence(&mut self, broker: usize) {
        for place in self.living() {
            let partition = self.partition_mut(place);
            if partition.in_sync & !bit(broker) != 0 {
                partition.in_sync &= !bit(broker);
            }
            if partition.leader == Some(broker) {
                self.elect(place, Some(broker));
            }
        }
        self.tell_brokers();
    }

    /// The controller hears of a broker again.
    pub(crate) fn unfence(&mut self, broker: usize) {
        for place in self.living() {
            if self.partition(place).leader.is_none() {
                self.elect(place, None);
            }
        }
        self.learn(broker);
        self.tell_brokers();
        for place in self.living() {
            if self.partition(place).replicas & bit(broker) != 0 {
                self.later(100, Happening::Fetch(broker, place));
            }
        }
    }

    /// A broker that was down is back; of what is not needed by the others it may have lost the end.
    pub(crate) fn restart(&mut self, broker: usize) {
        self.note(|| format!("broker {broker} is back"));
        if self.random.permille(100) {
            // Another version of it.
            self.plan.produce_max[broker] = self.random.within(9..=13) as i16;
            // Somebody has to be found by what is known from the start.
            if broker == 0 && self.plan.settings.bootstrap.len() > 1 {
                self.brokers[broker].port += 1;
            }
        }
        self.brokers[broker].is_up = true;
        self.brokers[broker].is_isolated = false;
        for life in 0..self.lives.len() {
            for number in 0..self.lives[life].partitions.len() {
                let loses = self.random.permille(300);
                let partition = &mut self.lives[life].partitions[number];
                let is_needed = partition.in_sync & bit(broker) != 0 || !self.lives[life].is_alive;
                let partition = &mut self.lives[life].partitions[number];
                if let Some(log) = partition
                    .logs
                    .get_mut(&broker)
                    .filter(|_| !is_needed && loses)
                {
                    let left = self.random.below(log.entries.len() + 1);
                    log.truncate(left);
                }
            }
        }
        self.unfence(broker);
    }
}
