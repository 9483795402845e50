//! What is known of brokers, topics and leaders.

use std::collections::BTreeMap;

use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use crate::protocol::response;

/// Where a broker listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address {
    /// Name or number; an IPv6 number without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl std::fmt::Display for Address {
    /// `host:port`, an IPv6 number in brackets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// Who leads a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leader {
    /// Number of the broker; none: nobody, as far as is known.
    pub broker: Option<i32>,
    /// How often the partition has had another leader.
    pub epoch: i32,
}

/// A topic that slabs may be of.
#[derive(Debug)]
pub struct Topic {
    /// Its name.
    pub name: StrBytes,
    /// Its id; nil: it is not known yet, or there is no such topic.
    pub id: Uuid,
    /// By a partition's number.
    pub leaders: Vec<Leader>,
}

/// What is known of the cluster.
#[derive(Debug)]
pub struct Cluster {
    /// Addresses by the brokers' numbers.
    pub brokers: BTreeMap<i32, Address>,
    /// In the order of the settings.
    pub topics: Vec<Topic>,
}

impl Cluster {
    /// Of topics of which nothing is known yet.
    pub(crate) fn new(topics: &[String]) -> Self {
        let topic = |name: &String| Topic {
            name: StrBytes::from_string(name.clone()),
            id: Uuid::nil(),
            leaders: Vec::new(),
        };
        Self {
            brokers: BTreeMap::new(),
            topics: topics.iter().map(topic).collect(),
        }
    }

    /// A topic's place, by its name.
    pub(crate) fn topic(&self, name: &str) -> Option<usize> {
        self.topics.iter().position(|t| &*t.name == name)
    }

    /// Who leads a partition.
    pub(crate) fn leader(&self, topic: usize, partition: usize) -> Option<Leader> {
        self.topics.get(topic)?.leaders.get(partition).copied()
    }

    /// Whether every partition that is known has a leader, and every topic is known.
    pub(crate) fn is_whole(&self) -> bool {
        let mut topics = self.topics.iter();
        topics.all(|t| !t.id.is_nil() && t.leaders.iter().all(|l| l.broker.is_some()))
    }

    /// Takes over what a broker says; the places of topics that were made again.
    ///
    /// Of a leader that is known from an epoch that is later than what it says, it has not heard yet.
    pub(crate) fn update(&mut self, told: &response::Metadata) -> Vec<usize> {
        self.brokers = told.brokers.iter().cloned().collect();
        let mut made_again = Vec::new();
        for (place, topic) in self.topics.iter_mut().enumerate() {
            let Some(told) = told.topics.iter().find(|t| t.name == *topic.name) else {
                continue;
            };
            if told.error != 0 || told.id.is_nil() {
                topic
                    .leaders
                    .iter_mut()
                    .for_each(|leader| leader.broker = None);
                continue;
            }
            if topic.id != told.id {
                if !topic.id.is_nil() {
                    made_again.push(place);
                }
                topic.id = told.id;
                topic.leaders.clear();
            }
            let count = told.partitions.iter().map(|p| p.number).max().unwrap_or(-1) + 1;
            let count = usize::try_from(count)
                .unwrap_or(0)
                .min(told.partitions.len());
            let nobody = Leader {
                broker: None,
                epoch: -1,
            };
            if topic.leaders.len() < count {
                topic.leaders.resize(count, nobody);
            }
            for partition in &told.partitions {
                let number = usize::try_from(partition.number).unwrap_or(usize::MAX);
                let Some(leader) = topic.leaders.get_mut(number) else {
                    continue;
                };
                if partition.leader_epoch >= leader.epoch {
                    *leader = Leader {
                        broker: Some(partition.leader).filter(|b| self.brokers.contains_key(b)),
                        epoch: partition.leader_epoch,
                    };
                }
            }
        }
        made_again
    }

    /// Takes over who leads a partition now, from a broker that did not (KIP-951) and was asked by the topic's id, or by its
    /// name if there is none.
    ///
    /// A broker that was asked by the name may not have heard yet that the topic was made again. Epochs begin anew then, so
    /// what it says of the epoch is not kept: whatever the cluster says later would look older for ever.
    pub(crate) fn hint(
        &mut self,
        topic: usize,
        partition: usize,
        id: Option<Uuid>,
        (broker, epoch): (i32, i32),
    ) {
        if self
            .topics
            .get(topic)
            .is_none_or(|t| id.is_some_and(|id| id != t.id))
        {
            return;
        }
        let leader = self
            .topics
            .get_mut(topic)
            .and_then(|t| t.leaders.get_mut(partition));
        if let Some(leader) = leader
            && epoch > leader.epoch
            && broker >= 0
            && self.brokers.contains_key(&broker)
        {
            leader.broker = Some(broker);
            if id.is_some() {
                leader.epoch = epoch;
            }
        }
    }

    /// Of this leader nothing is known any more: it has said that it is none.
    pub(crate) fn forget_leader(&mut self, topic: usize, partition: usize, broker: i32) {
        let leader = self
            .topics
            .get_mut(topic)
            .and_then(|t| t.leaders.get_mut(partition));
        if let Some(leader) = leader
            && leader.broker == Some(broker)
        {
            leader.broker = None;
        }
    }
}
