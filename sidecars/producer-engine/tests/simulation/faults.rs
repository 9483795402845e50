//! What goes wrong, until nothing does any more.

use producer_engine::ConnectionId;

use crate::{
    cluster::{Place, bit, members},
    seen::Seen,
    world::{Happening, World},
};

impl World {
    pub(crate) fn fault(&mut self) {
        let Some(every) = self.plan.fault_every.filter(|_| !self.is_calm) else {
            return;
        };
        let after = self.random.within(1_000..=2 * every);
        self.later(after, Happening::Fault);
        if self.is_paused {
            return;
        }
        let broker = self.random.below(self.brokers.len());
        match self.random.below(100) {
            0..20 => self.cut_one(),
            20..32 => self.stall_one(),
            32..50 => self.move_leader(),
            50..62 => self.kill(broker),
            62..72 => self.isolate(broker),
            72..78 => self.hide(broker),
            78..90 => self.lag(),
            90..94 => self.delete_one(),
            94..97 => self.move_one(),
            97..98 => self.grow_one(),
            _ => {
                let open = self.open();
                for connection in open {
                    self.cut(connection);
                }
            }
        }
    }

    fn open(&self) -> Vec<ConnectionId> {
        let open = self.connections.iter().filter(|(_, c)| c.is_open);
        open.map(|(id, _)| *id).collect()
    }

    fn cut_one(&mut self) {
        let open = self.open();
        if !open.is_empty() {
            let connection = self.random.pick(&open);
            self.cut(connection);
        }
    }

    fn stall_one(&mut self) {
        let open = self.open();
        if !open.is_empty() {
            let connection = self.random.pick(&open);
            let micros = self.random.within(10_000..=3_000_000);
            self.note(|| format!("{connection:?} stalls for {micros} us"));
            self.stall(connection, micros);
        }
    }

    fn move_leader(&mut self) {
        let living = self.living();
        if living.is_empty() {
            return;
        }
        let place = self.random.pick(&living);
        let partition = self.partition(place);
        if partition.in_sync.count_ones() > 1 {
            let not = partition.leader;
            self.elect(place, not);
            if self.partition(place).leader.is_none() {
                self.elect(place, None);
            }
            self.tell_brokers();
        }
    }

    /// A broker ends, and comes back.
    fn kill(&mut self, broker: usize) {
        if !self.brokers[broker].is_up {
            return;
        }
        self.note(|| format!("broker {broker} ends"));
        self.brokers[broker].is_up = false;
        self.waiting[broker].clear();
        for known in &mut self.brokers[broker].known {
            *known = None;
        }
        // Others see that at once, or when nothing comes any more.
        let is_seen = self.random.permille(700);
        let served: Vec<_> = self
            .connections
            .iter()
            .filter(|(_, c)| c.broker == broker && c.is_served)
            .map(|(id, _)| *id)
            .collect();
        for id in served {
            if is_seen {
                self.cut(id);
            }
            if let Some(connection) = self.connections.get_mut(&id) {
                connection.is_served = false;
                connection.input.clear();
                connection.slots.clear();
            }
        }
        let fenced = self.random.within(1_000..=300_000);
        self.later(fenced, Happening::Fence(broker));
        let back = fenced + self.random.within(1_000..=2_000_000);
        self.later(back, Happening::Restart(broker));
    }

    /// A broker hears nothing of the others, and they nothing of it; clients may.
    fn isolate(&mut self, broker: usize) {
        if self.brokers[broker].is_isolated || !self.brokers[broker].is_up {
            return;
        }
        self.note(|| format!("broker {broker} is isolated"));
        self.brokers[broker].is_isolated = true;
        let fenced = self.random.within(1_000..=300_000);
        self.later(fenced, Happening::Fence(broker));
        let healed = self.random.within(1_000..=2_000_000);
        self.later(healed, Happening::Heal(broker));
        if self.random.permille(400) {
            self.hide(broker);
        }
    }

    /// Clients cannot reach a broker: their connections stall, and new ones are not opened.
    fn hide(&mut self, broker: usize) {
        self.note(|| format!("broker {broker} is silent"));
        self.brokers[broker].is_silent = true;
        let micros = self.random.within(10_000..=2_000_000);
        self.later(micros, Happening::Hear(broker));
        let here = self.connections.iter().filter(|(_, c)| c.broker == broker);
        let here: Vec<_> = here.map(|(id, _)| *id).collect();
        for connection in here {
            self.stall(connection, micros);
        }
    }

    /// A replica is moved to another broker: until that has caught up, the partition has both.
    fn move_one(&mut self) {
        let living = self.living();
        let place = match living.is_empty() {
            true => return,
            false => self.random.pick(&living),
        };
        let replicas = self.partition(place).replicas;
        let from: Vec<_> = members(replicas).collect();
        let to: Vec<_> = (0..self.brokers.len())
            .filter(|b| replicas & bit(*b) == 0)
            .collect();
        if to.is_empty() || from.is_empty() {
            return;
        }
        let (from, to) = (self.random.pick(&from), self.random.pick(&to));
        self.note(|| format!("{place:?} is moved from broker {from} to {to}"));
        let partition = self.partition_mut(place);
        partition.replicas |= bit(to);
        partition.logs.entry(to).or_default();
        self.tell_brokers();
        let after = self.random.within(2_000..=50_000);
        self.later(after, Happening::Move(place, from, to));
    }

    pub(crate) fn moved(&mut self, place: Place, from: usize, to: usize) {
        let (in_sync, replicas) = {
            let partition = self.partition(place);
            (partition.in_sync, partition.replicas)
        };
        if !self.lives[place.0].is_alive || replicas & bit(to) == 0 || replicas & bit(from) == 0 {
            return;
        }
        if in_sync & bit(to) == 0 {
            if !self.is_calm {
                self.later(100, Happening::Fetch(to, place));
                self.later(20_000, Happening::Move(place, from, to));
            }
            return;
        }
        if self.partition(place).leader == Some(from) {
            self.elect(place, Some(from));
        }
        let partition = self.partition_mut(place);
        partition.replicas &= !bit(from);
        partition.in_sync &= !bit(from);
        self.saw(Seen::Moved);
        self.tell_brokers();
    }

    /// Followers that lag are taken out of those in sync.
    fn lag(&mut self) {
        for place in self.living() {
            let after = self.random.within(0..=5_000);
            self.later(after, Happening::Shrink(place));
        }
    }

    fn delete_one(&mut self) {
        let topic = self.random.below(self.topics.len());
        if self.topics[topic].life.is_some() && self.random.permille(500) {
            self.delete(topic);
            let after = self.random.within(0..=300_000);
            self.later(after, Happening::Make(topic));
        }
    }

    /// A topic gets one more partition.
    fn grow_one(&mut self) {
        let topic = self.random.below(self.topics.len());
        let (_, replicas, _) = self.plan.topics[topic];
        if let Some(life) = self.topics[topic].life {
            let partition = self.new_partition(replicas, 1);
            self.lives[life].partitions.push(partition);
            self.plan.topics[topic].0 += 1;
            self.note(|| format!("topic {topic} has one more partition"));
            self.tell_brokers();
        }
    }

    /// A topic is made again, perhaps with fewer partitions, or more, or other replicas.
    pub(crate) fn make_again(&mut self, topic: usize) {
        if self.topics[topic].life.is_some() {
            return;
        }
        let (mut partitions, mut replicas, _) = self.plan.topics[topic];
        if self.random.permille(400) {
            partitions = 1 + self.random.below(5);
        }
        if self.random.permille(200) {
            replicas = self.random.pick(&[1, 3]);
        }
        self.make(topic, partitions, replicas);
        self.saw(Seen::MadeAgain);
        let after = self.random.within(1_000..=1_500_000);
        self.later(after, Happening::Burst(topic));
    }

    /// Everything is there again, and stays.
    pub(crate) fn calm(&mut self) {
        self.note(|| "nothing goes wrong any more".to_owned());
        self.is_calm = true;
        for topic in 0..self.topics.len() {
            self.make_again(topic);
        }
        for broker in 0..self.brokers.len() {
            self.brokers[broker].is_silent = false;
            self.brokers[broker].is_isolated = false;
            if !self.brokers[broker].is_up {
                self.fence(broker);
                self.restart(broker);
            }
        }
        for broker in 0..self.brokers.len() {
            self.unfence(broker);
        }
        self.mend();
        self.plan.lag_permille = 0;
        self.plan.late_permille = 0;
        self.plan.slow_permille = 0;
        self.plan.piece_permille = 0;
        self.plan.value_bytes_max = 1;
    }
}
