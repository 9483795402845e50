//! The whole: slabs, bytes, connections and the time in; bytes, connections and receipts out.

mod answers;
mod brokers;
mod deadlines;
mod sending;
mod slabs;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use kafka_protocol::protocol::StrBytes;

use crate::{
    Address, Receipt, Settings, Slab, Time,
    cluster::Cluster,
    connection::{Connection, ConnectionId},
    partition::Partition,
    receipt::Reason,
};
use brokers::{Ask, Redial};
use slabs::Held;

/// What whoever drives the engine has to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Action<S> {
    /// Open a connection; then [`Engine::opened`] or [`Engine::lost`].
    Connect {
        /// What it will be called.
        connection: ConnectionId,
        /// Where to.
        address: Address,
    },
    /// Close a connection. It is gone for the engine already.
    Close {
        /// Which.
        connection: ConnectionId,
    },
    /// What became of a slab.
    Receipt(Receipt<S>),
    /// Something that somebody may want to count, or to read.
    Notice(Notice),
}

/// Something that somebody may want to count, or to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// A connection to a broker was lost, or not made.
    Connection {
        /// Where to.
        address: Address,
        /// Why.
        why: String,
    },
    /// A broker has not taken a batch.
    Refused {
        /// The topic's name.
        topic: String,
        /// The partition's number.
        partition: usize,
        /// How many records the batch has.
        records: usize,
        /// Why.
        reason: Reason,
    },
    /// A partition's batches get new numbers.
    NewEpoch {
        /// The topic's name.
        topic: String,
        /// The partition's number.
        partition: usize,
    },
    /// No id for the producer is to be had.
    NoProducerId {
        /// Kafka's name of the error.
        code: &'static str,
    },
}

/// A topic's place and a partition's number.
type Place = (usize, usize);

/// A Kafka producer. After each input, or several, call [`Self::advance`].
#[derive(Debug)]
pub struct Engine<S> {
    settings: Settings,
    client_id: StrBytes,
    cluster: Cluster,
    /// By a topic's place and a partition's number.
    partitions: Vec<Vec<Partition>>,
    /// Bytes that a batch of a topic may have.
    batch_bytes_max: Vec<usize>,
    slabs: slab::Slab<Held<S>>,
    held_bytes: usize,
    /// Slabs by their deadline: time, place, number.
    deadlines: VecDeque<(Time, usize, u64)>,
    /// Of slabs, so far.
    submitted: u64,
    /// Of batches, so far.
    batches: u64,
    connections: BTreeMap<ConnectionId, Connection>,
    /// The connection of each broker that has one.
    by_broker: BTreeMap<i32, ConnectionId>,
    /// Of connections, so far.
    connected: u64,
    redial: BTreeMap<Address, Redial>,
    /// Before it no further broker is tried.
    dial_next: Time,
    /// Those with something for their leader, by its number.
    ready: BTreeMap<i32, VecDeque<Place>>,
    /// Those that will have, and when.
    later: BTreeSet<(Time, Place)>,
    /// The id that partitions begin with.
    producer: Option<(i64, i16)>,
    metadata: Ask,
    init: Ask,
    /// When the cluster is asked for again though nothing has failed.
    refresh_at: Time,
    actions: VecDeque<Action<S>>,
    /// When it was called last to do what is due.
    now: Time,
}

impl<S: Slab> Engine<S> {
    /// One that wants to know everything of the cluster.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let topics = settings.topics.len();
        Self {
            client_id: StrBytes::from_string(settings.client_id.clone()),
            cluster: Cluster::new(&settings.topics),
            partitions: std::iter::repeat_with(Vec::new).take(topics).collect(),
            batch_bytes_max: vec![settings.request_bytes_max; topics],
            slabs: slab::Slab::new(),
            held_bytes: 0,
            deadlines: VecDeque::new(),
            submitted: 0,
            batches: 0,
            connections: BTreeMap::new(),
            by_broker: BTreeMap::new(),
            connected: 0,
            redial: BTreeMap::new(),
            dial_next: Time::ZERO,
            ready: BTreeMap::new(),
            later: BTreeSet::new(),
            producer: None,
            metadata: Ask::wanted(),
            init: Ask::wanted(),
            refresh_at: Time::MAX,
            actions: VecDeque::new(),
            now: Time::ZERO,
            settings,
        }
    }

    /// Whether slabs could leave now: it is known who leads what, and this producer has an id.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.producer.is_some() && self.cluster.topics.iter().all(|t| !t.id.is_nil())
    }

    /// Bytes of the slabs whose receipts are still to come.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Slabs whose receipts are still to come.
    #[must_use]
    pub fn held(&self) -> usize {
        self.slabs.len()
    }

    /// Sets how many bytes a batch of a topic may have (`max.message.bytes`).
    pub fn set_batch_bytes_max(&mut self, topic: &str, bytes: usize) {
        if let Some(topic) = self.cluster.topic(topic) {
            self.batch_bytes_max[topic] = bytes;
        }
    }

    /// A connection that was wanted is open.
    pub fn opened(&mut self, connection: ConnectionId, now: Time) {
        let deadline = now + self.settings.request_timeout;
        if let Some(connection) = self.connections.get_mut(&connection) {
            connection.opened(&self.client_id, deadline);
        }
    }

    /// Bytes came from a broker.
    pub fn received(&mut self, connection: ConnectionId, bytes: &[u8], now: Time) {
        let Some(one) = self.connections.get_mut(&connection) else {
            return; // it was given up
        };
        one.received(bytes);
        loop {
            let Some(one) = self.connections.get_mut(&connection) else {
                return;
            };
            match one.next(&self.settings, &self.client_id, now) {
                Ok(None) => return,
                Ok(Some(came)) => self.came(connection, came, now),
                Err(why) => return self.give_up(connection, &why, now),
            }
        }
    }

    /// A connection is closed, or could not be opened.
    pub fn lost(&mut self, connection: ConnectionId, why: &str, now: Time) {
        self.remove(connection, why, now);
    }

    /// Does what is due at this time, and writes what can be sent.
    pub fn advance(&mut self, now: Time) {
        self.now = now;
        self.pass(now);
        self.ask(now);
        self.dial(now);
        self.send(now);
    }

    /// When [`Self::advance`] has to be called at the latest.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        self.next_deadline()
    }

    /// What is to be done next, until there is nothing.
    pub fn action(&mut self) -> Option<Action<S>> {
        self.actions.pop_front()
    }

    /// Connections that are open, or wanted.
    pub fn connections(&self) -> impl Iterator<Item = ConnectionId> {
        self.connections.keys().copied()
    }

    /// Bytes that a connection is to write.
    #[must_use]
    pub fn unsent(&self, connection: ConnectionId) -> &[u8] {
        let connection = self.connections.get(&connection);
        connection.map_or(&[], Connection::unsent)
    }

    /// So many of them have left, or may have.
    pub fn sent(&mut self, connection: ConnectionId, bytes: usize) {
        if let Some(connection) = self.connections.get_mut(&connection) {
            connection.sent(bytes);
        }
    }

    fn notice(&mut self, notice: Notice) {
        self.actions.push_back(Action::Notice(notice));
    }
}
