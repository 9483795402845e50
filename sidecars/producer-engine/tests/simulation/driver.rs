//! Whoever drives the engine: slabs, connections, bytes and the time.

use std::rc::Rc;

use producer_engine::{Action, ConnectionId};

use crate::{
    events::{Events, Shared},
    world::{Happening, World},
};

/// So late at most is the engine called after something came.
const CALLED_AFTER: u64 = 2_000;

impl World {
    /// Something came: the engine is called soon, and when it wants it.
    pub(crate) fn touched(&mut self) {
        let after = match self.random.permille(200) {
            true => self.random.within(0..=CALLED_AFTER),
            false => 0,
        };
        self.wake_at = self.wake_at.min(self.now + after);
        self.carry_out();
    }

    pub(crate) fn advance(&mut self) {
        let now = self.time();
        self.engine.advance(now);
        let deadline = self.engine.deadline();
        assert!(
            deadline.is_none_or(|at| at > now),
            "it is due again at once: {deadline:?}"
        );
        let deadline = deadline.map_or(u64::MAX, |at| at.as_nanos().div_ceil(1_000) as u64);
        self.wake_at = deadline.max(self.now + 1);
        if self.random.permille(20) {
            let early = self.now + 1 + self.random.within(0..=20_000);
            self.wake_at = self.wake_at.min(early);
        }
        self.carry_out();
        let open: Vec<ConnectionId> = self
            .connections
            .iter()
            .filter(|(_, c)| c.is_open)
            .map(|(id, _)| *id)
            .collect();
        for connection in open {
            self.write(connection);
        }
    }

    fn carry_out(&mut self) {
        while let Some(action) = self.engine.action() {
            match action {
                Action::Connect {
                    connection,
                    address,
                } => {
                    let broker = address.host[1..].parse().expect("a broker");
                    self.note(|| format!("{connection:?} to broker {broker} is wanted"));
                    self.connect(connection, broker, address.port);
                }
                Action::Close { connection } => {
                    self.note(|| format!("{connection:?} is given up"));
                    self.close(connection);
                }
                Action::Receipt(receipt) => {
                    self.note(|| {
                        format!("slab {} is told {:?}", receipt.slab.0.number, receipt.parts)
                    });
                    let is_stored = self.receive(&receipt);
                    let permille = self.plan.again_permille;
                    if !is_stored && !self.is_calm && self.random.permille(permille) {
                        let number = self.checks.count();
                        self.submit(receipt.slab.0.again(number));
                    }
                }
                Action::Notice(notice) => self.note(|| format!("{notice:?}")),
            }
        }
        self.checks
            .is_held(self.engine.held(), self.engine.held_bytes());
    }

    pub(crate) fn submit(&mut self, events: Events) {
        let shared = Shared(Rc::new(events));
        let now = self.time();
        self.note(|| {
            format!(
                "slab {}: {} records for {}-{}",
                shared.0.number,
                shared.0.events.len(),
                shared.0.name,
                shared.0.partition
            )
        });
        self.checks.submitted(&shared, self.now);
        self.engine.submit(shared, now);
        assert!(
            self.engine.held_bytes() <= self.plan.settings.queue_bytes_max,
            "more bytes than may be held"
        );
        self.wake_at = self.wake_at.min(self.now);
    }

    /// The next slab comes, of a topic and partition by chance, perhaps one that is not there.
    pub(crate) fn submit_next(&mut self) {
        let was_pause = std::mem::take(&mut self.is_paused);
        let burst = match was_pause || self.random.permille(300) {
            true => self.random.below(6),
            false => 1,
        };
        for _ in 0..burst.min(self.to_submit) {
            self.to_submit -= 1;
            let topic = self.random.below(self.topics.len());
            let partition = self.random.below(self.plan.topics[topic].0) as i32;
            self.submit_to(topic, partition);
        }
        self.touched();
        if self.to_submit > 0 {
            let gap = 2 * self.plan.active / self.plan.slabs as u64;
            let mut after = self.random.within(0..=gap);
            if self.to_submit < self.plan.slabs / 2 && self.plan.pause > 0 {
                after += std::mem::take(&mut self.plan.pause);
                self.is_paused = true;
            }
            self.later(after, Happening::Submit);
        }
    }

    /// Several slabs for one partition come at once.
    pub(crate) fn burst(&mut self, topic: usize) {
        if !self.is_calm {
            let partition = self.random.below(self.plan.topics[topic].0) as i32;
            for _ in 0..2 + self.random.below(3) {
                self.submit_to(topic, partition);
            }
            self.touched();
        }
    }

    pub(crate) fn submit_to(&mut self, topic: usize, partition: i32) {
        let name = Rc::from(self.plan.settings.topics[topic].as_str());
        let records = 1 + self.random.below(self.plan.records_max);
        let sizes = (
            records,
            self.plan.value_bytes_max,
            if self.is_calm {
                0
            } else {
                self.plan.invalid_permille
            },
        );
        let number = self.checks.count();
        let events = Events::random(number, (topic, name), partition, sizes, &mut self.random);
        self.submit(events);
    }

    /// New slabs, one for each partition: they have to be stored.
    pub(crate) fn probe(&mut self) {
        if self.plan.is_patient {
            self.check_progress();
        }
        self.checks.probes_from = self.checks.count();
        for (life, partition) in self.living() {
            let topic = self.lives[life].topic;
            self.submit_to(topic, partition as i32);
        }
        self.touched();
        let timeout = self.plan.settings.delivery_timeout.as_micros() as u64;
        let until_told = match self.checks.is_all_told() || !self.plan.is_patient {
            true => 0,
            false => timeout,
        };
        let until = self.plan.recovery.min(timeout) + timeout.min(10_000_000);
        self.later(until.max(until_told) + 5_000, Happening::End);
    }
}
