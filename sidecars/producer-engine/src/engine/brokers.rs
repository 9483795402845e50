//! Connections to brokers, and what is asked of the cluster.

use super::{Action, Engine, Notice};
use crate::{
    Address, Slab, Time,
    connection::{Came, Connection, ConnectionId, Kind},
    error,
    partition::Partition,
    protocol::{INIT_PRODUCER_ID, METADATA, request, response},
};

/// While nobody answers, another broker is tried after this, beside those that are.
const DIAL_EVERY: Time = Time::from_millis(250);
/// Partitions of one topic that are taken in.
const PARTITIONS_MAX: usize = 100_000;

/// Something that is asked until it is answered.
#[derive(Debug)]
pub(super) struct Ask {
    /// It shall be asked.
    pub(super) is_wanted: bool,
    /// It is being asked.
    pub(super) on: Option<ConnectionId>,
    /// Not before.
    pub(super) not_before: Time,
    /// Times in a row that it did not help.
    failures: u32,
}

impl Ask {
    /// One that shall be asked at once.
    pub(super) fn wanted() -> Self {
        Self {
            is_wanted: true,
            on: None,
            not_before: Time::ZERO,
            failures: 0,
        }
    }

    /// It shall be asked.
    pub(super) fn want(&mut self) {
        self.is_wanted = true;
    }

    fn answered(&mut self, helped: bool, pause: Time, pause_max: Time, now: Time) {
        self.on = None;
        self.is_wanted |= !helped;
        self.failures = if helped { 0 } else { self.failures + 1 };
        // Where it has helped, whoever asks again may have been told the same.
        let pause = pause * 2_u32.pow(self.failures.min(16));
        self.not_before = now + pause.min(pause_max);
    }
}

/// When an address is tried again.
#[derive(Debug, Default)]
pub(super) struct Redial {
    not_before: Time,
    failures: u32,
}

impl<S: Slab> Engine<S> {
    /// Something came from a broker.
    pub(super) fn came(&mut self, connection: ConnectionId, came: Came, now: Time) {
        let (request, body) = match came {
            Came::Ready => return self.is_usable(connection, now),
            Came::Answer(request, body) => (request, body),
        };
        let read = match &request.kind {
            Kind::Metadata => {
                response::metadata(&body, request.version).map(|told| self.told(&told, now))
            }
            Kind::InitProducerId => response::init_producer_id(&body, request.version)
                .map(|told| self.identified(told, now)),
            Kind::Produce(sent) => self.produced(connection, request.version, sent, &body, now),
            Kind::Handshake(_) => Ok(()), // its connection has dealt with it
        };
        if read.is_err() {
            // What it was about is as good as unanswered.
            if let Kind::Produce(sent) = &request.kind {
                self.unanswered(sent, true, now);
            }
            self.give_up(
                connection,
                "a response that cannot be read: is this a Kafka broker?",
                now,
            );
        }
    }

    fn is_usable(&mut self, connection: ConnectionId, now: Time) {
        if let Some(one) = self.connections.get(&connection) {
            self.redial.remove(&one.address);
            if one.broker.is_some() {
                self.enqueue_all(now);
            }
        }
    }

    /// What a broker says of the cluster.
    fn told(&mut self, told: &response::Metadata, now: Time) {
        if told.error != 0 || told.brokers.is_empty() {
            let (pause, pause_max) = (self.settings.backoff, self.settings.backoff_max);
            return self.metadata.answered(false, pause, pause_max, now);
        }
        let made_again = self.cluster.update(told);
        for (topic, partitions) in self.partitions.iter_mut().enumerate() {
            let count = self.cluster.topics[topic].leaders.len().min(PARTITIONS_MAX);
            if partitions.len() < count {
                let new = || Partition {
                    producer: self.producer,
                    ..Partition::default()
                };
                partitions.resize_with(count, new);
            }
        }
        for topic in made_again {
            for number in 0..self.partitions[topic].len() {
                let partition = &mut self.partitions[topic][number];
                partition.is_broken |= partition.next_sequence != 0 || !partition.sent.is_empty();
                self.renumber((topic, number), now);
            }
        }
        let is_whole = self.cluster.is_whole();
        let (pause, pause_max) = (self.settings.backoff, self.settings.backoff_max);
        self.metadata.answered(is_whole, pause, pause_max, now);
        self.refresh_at = now + self.settings.metadata_max_age;
        self.adopt();
        self.requeue(now);
    }

    /// This producer's id.
    fn identified(&mut self, told: Result<(i64, i16), i16>, now: Time) {
        let (pause, pause_max) = (self.settings.backoff, self.settings.backoff_max);
        self.init.answered(told.is_ok(), pause, pause_max, now);
        match told {
            Ok(producer) => {
                self.producer = Some(producer);
                for partition in self.partitions.iter_mut().flatten() {
                    partition.producer = partition.producer.or(self.producer);
                }
                self.enqueue_all(now);
            }
            Err(code) => {
                let code = error::name(code);
                self.notice(Notice::NoProducerId { code });
            }
        }
    }

    /// A connection that was opened by an address alone becomes that of the broker that has it; others of the kind are
    /// closed once there are better ones.
    fn adopt(&mut self) {
        for (broker, address) in &self.cluster.brokers {
            if self.by_broker.contains_key(broker) {
                continue;
            }
            let mut unnamed = self.connections.iter_mut();
            let found = unnamed.find(|(_, c)| c.broker.is_none() && c.address == *address);
            if let Some((id, connection)) = found {
                connection.broker = Some(*broker);
                self.by_broker.insert(*broker, *id);
            }
        }
    }

    /// Asks what is to be asked, if somebody can be.
    pub(super) fn ask(&mut self, now: Time) {
        if self.refresh_at <= now {
            self.refresh_at = Time::MAX;
            self.metadata.want();
        }
        let due = |ask: &Ask| ask.is_wanted && ask.on.is_none() && ask.not_before <= now;
        if !due(&self.metadata) && !due(&self.init) {
            return;
        }
        // The one that has the least to do; of those, another one each time.
        let usable = self
            .connections
            .iter()
            .filter(|(_, c)| c.is_ready() && c.silent_until <= now);
        let turn = u64::from(self.metadata.failures);
        let Some(id) = usable
            .min_by_key(|(id, c)| (c.producing, (id.0 + turn) % 7))
            .map(|(id, _)| *id)
        else {
            return;
        };
        let deadline = now + self.settings.request_timeout;
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        if due(&self.metadata)
            && let Some(version) = connection.version(METADATA)
        {
            let topics: Vec<_> = self.cluster.topics.iter().map(|t| t.name.clone()).collect();
            self.metadata.on = Some(id);
            self.metadata.is_wanted = false; // whoever wants it from now on knows more than its answer will
            connection.request(version, deadline, &self.client_id, |head, out| {
                request::metadata(head, &topics, out).then_some(Kind::Metadata)
            });
        }
        if due(&self.init)
            && let Some(version) = connection.version(INIT_PRODUCER_ID)
        {
            self.init.on = Some(id);
            self.init.is_wanted = false;
            connection.request(version, deadline, &self.client_id, |head, out| {
                request::init_producer_id(head, out).then_some(Kind::InitProducerId)
            });
        }
    }

    /// Wants connections to the brokers that lead something, and, while nobody answers, to any.
    pub(super) fn dial(&mut self, now: Time) {
        let may = self
            .missing()
            .filter(|(_, address)| self.may_dial(address, now));
        let may: Vec<_> = may
            .map(|(broker, address)| (broker, address.clone()))
            .collect();
        for (broker, address) in may {
            let id = self.connect(address, Some(broker), now);
            self.by_broker.insert(broker, id);
        }
        if self.is_alone() && self.dial_next <= now {
            // The one that has failed least.
            let may = self.untried().filter(|a| self.may_dial(a, now));
            let next = may.min_by_key(|a| self.redial.get(*a).map(|r| (r.failures, r.not_before)));
            if let Some(address) = next.cloned() {
                self.dial_next = now + DIAL_EVERY;
                self.connect(address, None, now);
            }
        }
        // One that is nobody's is not needed any more.
        if self
            .by_broker
            .values()
            .any(|id| self.connections.get(id).is_some_and(Connection::is_ready))
        {
            let asked = [self.metadata.on, self.init.on];
            let mut unnamed = self.connections.iter();
            let unnamed =
                unnamed.find(|(id, c)| c.broker.is_none() && !asked.contains(&Some(**id)));
            if let Some(id) = unnamed.map(|(id, _)| *id) {
                self.connections.remove(&id);
                self.actions.push_back(Action::Close { connection: id });
            }
        }
    }

    /// Brokers that lead something and have no connection.
    fn missing(&self) -> impl Iterator<Item = (i32, &Address)> {
        let brokers = self
            .cluster
            .brokers
            .iter()
            .map(|(broker, address)| (*broker, address));
        let brokers = brokers.filter(|(broker, _)| !self.by_broker.contains_key(broker));
        brokers.filter(|(broker, _)| {
            let mut leaders = self.cluster.topics.iter().flat_map(|t| &t.leaders);
            leaders.any(|l| l.broker == Some(*broker))
        })
    }

    /// Whether there is something to be asked, and nobody whom it could be asked.
    fn is_alone(&self) -> bool {
        let asks = [&self.metadata, &self.init].into_iter();
        let mut open = asks.filter(|ask| ask.is_wanted || ask.on.is_some());
        open.next().is_some() && !self.connections.values().any(Connection::is_ready)
    }

    /// Addresses that no connection is tried to.
    fn untried(&self) -> impl Iterator<Item = &Address> {
        let all = self
            .settings
            .bootstrap
            .iter()
            .chain(self.cluster.brokers.values());
        all.filter(|a| !self.connections.values().any(|c| c.address == **a))
    }

    /// When [`Self::dial`] has something to do, if it is only a matter of time.
    pub(super) fn next_dial(&self) -> Option<Time> {
        let at = |address: &Address| {
            self.redial
                .get(address)
                .map_or(Time::ZERO, |r| r.not_before)
        };
        let leaders = self.missing().map(|(_, address)| at(address));
        let any = self
            .untried()
            .filter(|_| self.is_alone())
            .map(|a| at(a).max(self.dial_next));
        leaders.chain(any).min()
    }

    fn may_dial(&self, address: &Address, now: Time) -> bool {
        self.redial.get(address).is_none_or(|r| r.not_before <= now)
    }

    fn connect(&mut self, address: Address, broker: Option<i32>, now: Time) -> ConnectionId {
        self.connected += 1;
        let id = ConnectionId(self.connected);
        let connection = Connection::new(address.clone(), broker, &self.settings, now);
        self.connections.insert(id, connection);
        self.actions.push_back(Action::Connect {
            connection: id,
            address,
        });
        id
    }

    /// Closes a connection that is of no use any more.
    pub(super) fn give_up(&mut self, connection: ConnectionId, why: &str, now: Time) {
        self.remove(connection, why, now);
        self.actions.push_back(Action::Close { connection });
    }

    /// Forgets a connection that is gone.
    pub(super) fn remove(&mut self, id: ConnectionId, why: &str, now: Time) {
        let Some(connection) = self.connections.remove(&id) else {
            return;
        };
        if let Some(broker) = connection
            .broker
            .filter(|b| self.by_broker.get(b) == Some(&id))
        {
            self.by_broker.remove(&broker);
        }
        let address = connection.address.clone();
        let redial = self.redial.entry(address.clone()).or_default();
        let pause = self.settings.backoff * 2_u32.pow(redial.failures.min(16));
        redial.not_before = now + pause.min(self.settings.backoff_max);
        redial.failures += 1;
        for ask in [&mut self.metadata, &mut self.init] {
            if ask.on == Some(id) {
                ask.on = None;
                ask.is_wanted = true;
            }
        }
        // Perhaps somebody else leads now what it led.
        self.metadata.want();
        self.requeue(now);
        let (requests, taken) = connection.into_requests();
        for request in requests {
            let has_left = request.has_left(taken);
            if let Kind::Produce(sent) = &request.kind {
                self.unanswered(sent, has_left, now);
            }
        }
        let why = why.to_owned();
        self.notice(Notice::Connection { address, why });
    }
}
