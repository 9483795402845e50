//! The whole of a history: the cluster, the network, the engine with whoever drives it, and the time.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
};

use producer_engine::{ConnectionId, Engine, Time};

use crate::{
    broker::Waiting,
    checks::Checks,
    cluster::{Broker, Life, Place},
    events::Shared,
    network::Connection,
    plan::Plan,
    random::Random,
    seen::{Seen, Tally},
};

/// Something that will happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Happening {
    /// A broker hears what the controller knows.
    Learn(usize),
    /// A follower asks the leader.
    Fetch(usize, Place),
    /// The leader drops followers that lag.
    Shrink(Place),
    /// The controller gives a broker up.
    Fence(usize),
    /// A broker that was down is back.
    Restart(usize),
    /// A broker can be reached again by the others, or by clients.
    Heal(usize),
    Hear(usize),
    /// A topic is made again.
    Make(usize),
    /// A replica is moved from one broker to another.
    Move(Place, usize, usize),
    /// A request has waited long enough.
    Expire(usize, u64),
    /// A connection is open, or was refused.
    Opened(ConnectionId, bool),
    /// Bytes arrive at the broker, at the client.
    Up(ConnectionId),
    Down(ConnectionId),
    /// A client sees that its connection is gone.
    Lost(ConnectionId),
    /// A broker takes the next request.
    Handle(ConnectionId),
    /// A client writes what it has not yet.
    Write(ConnectionId),
    /// A slab comes; several of a topic.
    Submit,
    Burst(usize),
    /// Something goes wrong.
    Fault,
    /// Nothing goes wrong any more.
    Calm,
    /// Everything should have recovered: new slabs come.
    Probe,
    /// Those are stored, and it is over.
    End,
}

#[derive(Default)]
pub(crate) struct Topic {
    pub(crate) life: Option<usize>,
    pub(crate) made: usize,
}

pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) random: Random,
    /// Microseconds.
    pub(crate) now: u64,
    queue: BinaryHeap<Reverse<(u64, u64, Happening)>>,
    happened: u64,
    pub(crate) engine: Engine<Shared>,
    /// When whoever drives the engine calls it again.
    pub(crate) wake_at: u64,
    pub(crate) connections: BTreeMap<ConnectionId, Connection>,
    pub(crate) brokers: Vec<Broker>,
    pub(crate) topics: Vec<Topic>,
    pub(crate) lives: Vec<Life>,
    /// Requests that wait for other replicas, by broker.
    pub(crate) waiting: Vec<Vec<Waiting>>,
    pub(crate) waited: u64,
    pub(crate) appended: u64,
    pub(crate) producers: i64,
    pub(crate) to_submit: usize,
    /// Nothing comes, and nothing goes wrong.
    pub(crate) is_paused: bool,
    pub(crate) is_calm: bool,
    is_over: bool,
    pub(crate) checks: Checks,
    pub(crate) is_told: bool,
    pub(crate) tally: Tally,
    pub(crate) unsent_most: usize,
    /// Metadata requests.
    pub(crate) asked: u64,
}

impl World {
    pub(crate) fn new(seed: u64, is_told: bool) -> Self {
        let mut random = Random::new(seed);
        let plan = Plan::random(&mut random);
        Self::with(plan, random, is_told)
    }

    pub(crate) fn with(plan: Plan, random: Random, is_told: bool) -> Self {
        let mut engine = Engine::new(plan.settings.clone());
        for topic in &plan.settings.topics {
            engine.set_batch_bytes_max(topic, plan.batch_bytes_max.1);
        }
        let mut world = Self {
            now: 0,
            queue: BinaryHeap::new(),
            happened: 0,
            engine,
            wake_at: 0,
            connections: BTreeMap::new(),
            brokers: Vec::new(),
            topics: Vec::new(),
            lives: Vec::new(),
            waiting: Vec::new(),
            waited: 0,
            appended: 0,
            producers: 0,
            to_submit: plan.slabs,
            is_calm: plan.fault_every.is_none(),
            is_paused: false,
            is_over: false,
            checks: Checks::default(),
            is_told,
            tally: Tally::default(),
            unsent_most: 0,
            asked: 0,
            random,
            plan,
        };
        world.begin();
        world
    }

    fn begin(&mut self) {
        for _ in 0..self.plan.brokers {
            self.brokers.push(Broker {
                is_up: true,
                port: 9092,
                known: vec![None; self.plan.topics.len()],
                ..Broker::default()
            });
            self.waiting.push(Vec::new());
        }
        for topic in 0..self.plan.topics.len() {
            self.topics.push(crate::world::Topic::default());
            let (partitions, replicas, _) = self.plan.topics[topic];
            match self.random.permille(50) {
                true => {
                    let after = self.random.within(0..=self.plan.active);
                    self.later(after, Happening::Make(topic));
                }
                false => self.make(topic, partitions, replicas),
            }
        }
        for broker in 0..self.plan.brokers {
            if self.random.permille(900) {
                self.learn(broker);
            }
        }
        let first = self.random.within(0..=20_000);
        self.later(first, Happening::Submit);
        if let Some(every) = self.plan.fault_every {
            let after = self.random.within(0..=every);
            self.later(after, Happening::Fault);
        }
        let active = self.plan.active + self.plan.pause;
        self.later(active, Happening::Calm);
        self.later(active + self.plan.recovery, Happening::Probe);
    }

    pub(crate) fn later(&mut self, after: u64, what: Happening) {
        self.happened += 1;
        let one = (self.now + after, self.happened, what);
        self.queue.push(Reverse(one));
    }

    pub(crate) fn time(&self) -> Time {
        Time::from_micros(self.now)
    }

    pub(crate) fn saw(&mut self, what: Seen) {
        self.tally.count(what);
    }

    /// Tells what happens, if somebody wants to know.
    pub(crate) fn note(&self, what: impl FnOnce() -> String) {
        if self.is_told {
            eprintln!("{:>11.3} ms  {}", self.now as f64 / 1e3, what());
        }
    }

    /// Until it is over.
    pub(crate) fn run(&mut self) {
        let mut steps = 0_u32;
        while !self.is_over {
            steps += 1;
            assert!(steps < 500_000, "it does not come to an end");
            let next = self.queue.peek().map(|Reverse((at, ..))| *at);
            if next.is_none_or(|next| self.wake_at <= next) {
                self.now = self.now.max(self.wake_at);
                self.advance();
            } else if let Some(Reverse((at, _, what))) = self.queue.pop() {
                self.now = at;
                self.happens(what);
            }
        }
        self.check_all();
    }

    fn happens(&mut self, what: Happening) {
        match what {
            Happening::Learn(broker) => self.learn(broker),
            Happening::Fetch(follower, place) => self.fetch(follower, place),
            Happening::Shrink(place) => self.shrink(place),
            Happening::Fence(broker) => {
                if !self.brokers[broker].is_up || self.brokers[broker].is_isolated {
                    self.note(|| format!("broker {broker} is given up"));
                    self.fence(broker);
                }
            }
            Happening::Restart(broker) => {
                if !self.brokers[broker].is_up {
                    self.restart(broker);
                }
            }
            Happening::Heal(broker) => {
                self.brokers[broker].is_isolated = false;
                self.unfence(broker);
            }
            Happening::Hear(broker) => self.brokers[broker].is_silent = false,
            Happening::Make(topic) => self.make_again(topic),
            Happening::Move(place, from, to) => self.moved(place, from, to),
            Happening::Expire(broker, waiting) => self.expire(broker, waiting),
            Happening::Opened(connection, is_open) => self.opened(connection, is_open),
            Happening::Up(connection) => self.up(connection),
            Happening::Down(connection) => self.down(connection),
            Happening::Lost(connection) => self.lost(connection),
            Happening::Handle(connection) => self.handle(connection),
            Happening::Write(connection) => self.write(connection),
            Happening::Submit => self.submit_next(),
            Happening::Burst(topic) => self.burst(topic),
            Happening::Fault => self.fault(),
            Happening::Calm => self.calm(),
            Happening::Probe => self.probe(),
            Happening::End => self.is_over = true,
        }
    }
}
