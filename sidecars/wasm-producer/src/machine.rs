//! What the kafka-producer's driver takes for an engine: instances of the module, one after another.
//!
//! An instance that is stopped takes nothing with it but what only it knew. What was in flight is told unknown, as after a
//! lost connection: the gateway sends it again, and an event that was stored by then is a repeat. Connections are closed,
//! so that nothing of a former instance is taken for an answer to the next one.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use aguacero::log_limiter;
use bytes::Bytes;
use kafka_producer::engine::{Beginning, Machine};
use producer_engine::{
    Action, ConnectionId, Outcome, Part, Receipt, Slab as _, Time,
    receipt::{Reason, codes},
};
use slab_records::Job;
use tokio::sync::mpsc;
use wasm_producer_interface::{Kind, Start, Turn, address_and_bytes, nanoseconds};

use crate::{
    instance::{Instance, Reason as StopReason, Stopped},
    metric,
    module::Module,
};

/// The pause before an instance is begun after two were stopped with nothing stored in between; it doubles up to
/// [`PAUSE_MAX`]. The first follows at once.
const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// How long beyond `kafka.message_timeout_ms`, at which its engine tells what it knows, an instance may keep a slab.
const OVERDUE: Duration = Duration::from_secs(2);
/// How often that is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// In the log.
const STOPPED: &str = "the module was stopped";
/// Why records are not known to be stored, or were not taken.
const MODULE_STOPPED: Reason = Reason {
    code: "MODULE_STOPPED",
    message: None,
};
/// Why records were not taken that have waited for an instance.
const TIMED_OUT: Reason = Reason {
    code: codes::TIMED_OUT,
    message: None,
};

/// A slab that waits until an instance can take it, and until when.
struct Waiting<T> {
    job: Job<T>,
    bytes: Bytes,
    until: Time,
}

/// The engine in WebAssembly.
pub(crate) struct Guest<T> {
    module: Arc<Module>,
    /// What takes its place.
    modules: mpsc::UnboundedReceiver<Arc<Module>>,
    next: Option<Arc<Module>>,
    start: Start,
    instance: Option<Instance>,
    /// How many there were: a connection's number begins with it, so that none is taken for one of another instance.
    instances: u64,
    /// How many were stopped since something was stored.
    failures: u32,
    begin_at: Time,
    /// The time when it was last told.
    now: Time,
    /// When it is looked again at what is held too long.
    look_at: Time,
    /// Slabs that the instance has, by their numbers, and when they were given.
    held: slab::Slab<(Time, Job<T>)>,
    /// What has come before the instance knew Kafka, or while another module is about to begin.
    waiting: VecDeque<Waiting<T>>,
    connections: BTreeSet<ConnectionId>,
    /// Where the bytes lie that a connection is to write.
    unsent: BTreeMap<ConnectionId, u64>,
    actions: VecDeque<Action<Job<T>>>,
    deadline: Option<Time>,
    is_ready: bool,
    /// Bytes of memory that the instance had when they were last told.
    memory: usize,
}

impl<T> Guest<T> {
    /// The first instance, which must take the settings.
    pub(crate) fn new(
        module: Arc<Module>,
        modules: mpsc::UnboundedReceiver<Arc<Module>>,
        beginning: Beginning,
    ) -> anyhow::Result<Self> {
        let start = Start::of(&beginning.settings, &beginning.batch_bytes_max);
        let mut guest = Self {
            module,
            modules,
            next: None,
            start,
            instance: None,
            instances: 0,
            failures: 0,
            begin_at: Time::ZERO,
            now: Time::ZERO,
            look_at: Time::ZERO,
            held: slab::Slab::new(),
            waiting: VecDeque::new(),
            connections: BTreeSet::new(),
            unsent: BTreeMap::new(),
            actions: VecDeque::new(),
            deadline: Some(Time::ZERO),
            is_ready: false,
            memory: 0,
        };
        guest
            .begin()
            .map_err(|stopped| anyhow::anyhow!("the module does not begin: {stopped}"))?;
        Ok(guest)
    }

    fn begin(&mut self) -> Result<(), Stopped> {
        // Anew for each: a nonce that was used could be guessed.
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|error| Stopped::protocol(error.to_string()))?;
        self.start.seed = seed.to_vec();
        let mut instance = Instance::of(&self.module)?;
        instance.start(&self.start)?;
        self.instances += 1;
        self.instance = Some(instance);
        metric::begun();
        Ok(())
    }

    /// Calls the instance, if there is one; stops it if that fails.
    fn call<R>(&mut self, call: impl FnOnce(&mut Instance) -> Result<R, Stopped>) -> Option<R> {
        match call(self.instance.as_mut()?) {
            Ok(told) => Some(told),
            Err(stopped) => {
                self.stop(&stopped);
                None
            }
        }
    }

    /// The instance is not called again.
    fn stop(&mut self, stopped: &Stopped) {
        metric::stopped(stopped);
        log_limiter::repeated(STOPPED, stopped.reason.name(), &stopped.detail);
        self.end();
        let pause = match self.failures {
            0 => Duration::ZERO,
            n => PAUSE.saturating_mul(1 << (n - 1).min(16)).min(PAUSE_MAX),
        };
        self.failures += 1;
        self.begin_at = self.now + pause;
        for (_, (_, job)) in std::mem::take(&mut self.held) {
            let outcome = Outcome::Unknown(MODULE_STOPPED);
            self.actions.push_back(told(job, outcome));
        }
        if !pause.is_zero() {
            self.refuse_waiting(&MODULE_STOPPED, |_| true);
        }
    }

    /// Tells what waits, as far as it is to go, that it is stored nowhere.
    fn refuse_waiting(&mut self, reason: &Reason, goes: impl Fn(&Waiting<T>) -> bool) {
        for waiting in std::mem::take(&mut self.waiting) {
            match goes(&waiting) {
                true => {
                    let outcome = Outcome::NotStored(reason.clone());
                    self.actions.push_back(told(waiting.job, outcome));
                }
                false => self.waiting.push_back(waiting),
            }
        }
    }

    /// Gives a slab to the instance.
    fn give(&mut self, job: Job<T>, bytes: &[u8]) {
        let now = self.now;
        let number = self.held.insert((now, job)) as u64;
        self.call(|instance| instance.submit(number, bytes, nanoseconds(&now)));
    }

    /// Stops an instance that keeps a slab for longer than its engine may: it would be kept for ever, and no other module
    /// could take its place.
    fn stop_if_overdue(&mut self) {
        if self.held.is_empty() || self.now < self.look_at {
            return;
        }
        self.look_at = self.now + LOOK_EVERY;
        let limit = self.delivery_timeout() + OVERDUE;
        let mut held = self.held.iter();
        if held.any(|(_, (given, _))| *given + limit < self.now) {
            self.stop(&Stopped::overdue());
        }
    }

    /// `kafka.message_timeout_ms`
    fn delivery_timeout(&self) -> Duration {
        let times = &self.start.times_ns;
        times
            .first()
            .copied()
            .map_or(Duration::MAX, Duration::from_nanos)
    }

    fn end(&mut self) {
        self.instance = None;
        self.unsent.clear();
        let open = std::mem::take(&mut self.connections).into_iter();
        self.actions
            .extend(open.map(|connection| Action::Close { connection }));
        self.is_ready = false;
        self.deadline = None;
    }

    /// Another module, if there is one and nothing is in flight any more; or another instance after one that was stopped.
    fn begin_if_due(&mut self) {
        let now = self.now;
        if self.next.is_some() && self.held.is_empty() && self.instance.is_some() {
            self.end();
            self.begin_at = now;
        }
        if self.instance.is_some() || now < self.begin_at {
            return;
        }
        if let Some(next) = self.next.take() {
            tracing::info!(sha256 = next.sha256, "another module begins");
            self.module = next;
            self.failures = 0;
        }
        if let Err(stopped) = self.begin() {
            self.stop(&stopped);
        }
    }

    /// One turn of the instance.
    fn turn(&mut self) {
        let now = nanoseconds(&self.now);
        let turn = self.call(|instance| instance.advance(now));
        if let Some(Err(stopped)) = turn.map(|turn| self.take(turn)) {
            self.stop(&stopped);
        }
    }

    /// The number that a connection has outside.
    fn outside(&self, inside: u64) -> ConnectionId {
        ConnectionId(self.instances << 32 | inside & u64::from(u32::MAX))
    }

    /// The number that a connection has in the instance; none if it was of a former one.
    fn inside(&self, connection: ConnectionId) -> Option<u64> {
        let is_ours = self.connections.contains(&connection);
        is_ours.then_some(connection.0 & u64::from(u32::MAX))
    }

    fn take(&mut self, turn: Turn) -> Result<(), Stopped> {
        for act in turn.acts {
            let kind = act
                .kind
                .ok_or_else(|| Stopped::protocol("an act of no kind"))?;
            let action = self.action_of(kind)?;
            self.actions.push_back(action);
        }
        let unsent = turn.unsent.iter();
        self.unsent = unsent
            .map(|u| (self.outside(u.connection), u.place))
            .collect();
        self.deadline = turn.deadline_ns.map(Duration::from_nanos);
        self.is_ready = turn.is_ready;
        match turn.held == self.held.len() as u64 {
            true => Ok(()),
            false => Err(Stopped::protocol(format!(
                "it holds {} slabs, and was given {}",
                turn.held,
                self.held.len()
            ))),
        }
    }

    fn action_of(&mut self, kind: Kind) -> Result<Action<Job<T>>, Stopped> {
        match kind {
            Kind::Connect(mut wanted) => {
                let connection = self.outside(wanted.connection);
                self.connections.insert(connection);
                wanted.connection = connection.0;
                Ok(act(Kind::Connect(wanted)))
            }
            Kind::Close(inside) => {
                let connection = self.outside(inside);
                self.connections.remove(&connection);
                Ok(Action::Close { connection })
            }
            Kind::Receipt(receipt) => {
                let number = usize::try_from(receipt.slab).unwrap_or(usize::MAX);
                let records = self.held.get(number).map(|(_, job)| job.records());
                let parts = records.and_then(|records| receipt.parts(records));
                let Some(parts) = parts else {
                    return Err(Stopped::protocol(
                        "a receipt that fits no slab which it has",
                    ));
                };
                let (_, slab) = self.held.remove(number);
                let is_stored = |part: &Part| matches!(part.outcome, Outcome::Stored { .. });
                if self.failures > 0 && parts.iter().any(is_stored) {
                    self.failures = 0;
                    StopReason::ALL
                        .iter()
                        .for_each(|r| log_limiter::ended(STOPPED, r.name()));
                }
                Ok(Action::Receipt(Receipt { slab, parts }))
            }
            notice => Ok(act(notice)),
        }
    }
}

/// Of what is no receipt.
fn act<T>(kind: Kind) -> Action<Job<T>> {
    kind.action()
        .unwrap_or_else(|_| unreachable!("receipts are taken before"))
}

/// A receipt of which every record has the same fate.
fn told<T>(slab: Job<T>, outcome: Outcome) -> Action<Job<T>> {
    let part = Part {
        records: 0..slab.records(),
        outcome,
    };
    Action::Receipt(Receipt {
        slab,
        parts: vec![part],
    })
}

impl<T> Machine for Guest<T> {
    type Carried = T;

    fn submit(&mut self, job: Job<T>, bytes: &[u8], now: Time) {
        self.now = now;
        if self.instance.is_none() && self.begin_at > now {
            let outcome = Outcome::NotStored(MODULE_STOPPED);
            self.actions.push_back(told(job, outcome));
        } else if !self.is_ready || self.next.is_some() {
            self.waiting.push_back(Waiting {
                job,
                bytes: Bytes::copy_from_slice(bytes),
                until: now + self.delivery_timeout(),
            });
        } else {
            self.give(job, bytes);
        }
    }

    fn opened(&mut self, connection: ConnectionId, now: Time) {
        self.now = now;
        if let Some(inside) = self.inside(connection) {
            self.call(|instance| instance.opened(inside, nanoseconds(&now)));
        }
    }

    fn received(&mut self, connection: ConnectionId, bytes: &[u8], now: Time) {
        self.now = now;
        if let Some(inside) = self.inside(connection) {
            self.call(|instance| instance.received(inside, bytes, nanoseconds(&now)));
        }
    }

    fn lost(&mut self, connection: ConnectionId, why: &str, now: Time) {
        self.now = now;
        if let Some(inside) = self.inside(connection) {
            self.connections.remove(&connection);
            self.call(|instance| instance.lost(inside, why, nanoseconds(&now)));
        }
    }

    fn advance(&mut self, now: Time) {
        self.now = now;
        self.stop_if_overdue();
        self.begin_if_due();
        self.turn();
        if self.is_ready && self.next.is_none() && !self.waiting.is_empty() {
            for waiting in std::mem::take(&mut self.waiting) {
                match self.instance.is_some() {
                    true => self.give(waiting.job, &waiting.bytes),
                    false => self.waiting.push_back(waiting), // it was stopped by one before
                }
            }
            self.turn();
        }
        self.refuse_waiting(&TIMED_OUT, |waiting| waiting.until <= now);
        let memory = self.instance.as_ref().map_or(0, Instance::memory_bytes);
        if memory != self.memory {
            self.memory = memory;
            metric::memory(memory);
        }
    }

    fn action(&mut self) -> Option<Action<Job<T>>> {
        self.actions.pop_front()
    }

    fn unsent(&mut self, connection: ConnectionId) -> &[u8] {
        let place = self.unsent.get(&connection);
        match (place, &self.instance) {
            // What lies outside of its memory is found out when it is told that it was sent.
            (Some(place), Some(instance)) => instance.read(*place).unwrap_or_default(),
            _ => &[],
        }
    }

    fn sent(&mut self, connection: ConnectionId, bytes: usize) {
        let Some(inside) = self.inside(connection) else {
            return;
        };
        let rest = self.call(|instance| instance.sent(inside, bytes as u32));
        match rest {
            Some(place) if address_and_bytes(place).1 > 0 => {
                self.unsent.insert(connection, place);
            }
            _ => {
                self.unsent.remove(&connection);
            }
        }
    }

    fn deadline(&self) -> Option<Time> {
        let instance = match self.instance.is_some() {
            true => self.deadline,
            false => Some(self.begin_at),
        };
        let look = (!self.held.is_empty()).then_some(self.look_at);
        let waiting = self.waiting.front().map(|waiting| waiting.until);
        [instance, look, waiting].into_iter().flatten().min()
    }

    fn is_ready(&self) -> bool {
        self.is_ready
    }

    fn held(&self) -> usize {
        self.held.len() + self.waiting.len()
    }

    fn poll_replaced(&mut self, cx: &mut Context<'_>) {
        while let Poll::Ready(Some(module)) = self.modules.poll_recv(cx) {
            self.next = Some(module);
        }
    }
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
