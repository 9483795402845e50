//! What the time alone brings about.

use super::{Engine, Place};
use crate::{
    Outcome, Slab, Time,
    receipt::{Reason, codes},
};

impl<S: Slab> Engine<S> {
    /// Does what is due.
    pub(super) fn pass(&mut self, now: Time) {
        let overdue: Vec<_> = self
            .connections
            .iter()
            .filter_map(|(id, c)| Some((*id, c.overdue(now)?)))
            .collect();
        for (id, why) in overdue {
            self.give_up(id, why, now);
        }
        for connection in self.connections.values_mut() {
            connection.renew(&self.settings, &self.client_id, now);
            if connection.silent_until <= now {
                connection.silent_until = Time::ZERO;
            }
        }
        while let Some(&(deadline, slab, number)) = self.deadlines.front()
            && deadline <= now
        {
            self.deadlines.pop_front();
            if let Some(place) = self.held_at(slab, number) {
                self.expire(place, slab, now);
            }
        }
        // Those that have their receipts need no deadline.
        while let Some(&(_, slab, number)) = self.deadlines.front()
            && self.held_at(slab, number).is_none()
        {
            self.deadlines.pop_front();
        }
        while let Some(&(at, place)) = self.later.first()
            && at <= now
        {
            self.later.pop_first();
            self.enqueue(place, now);
        }
    }

    /// Tells of a slab what is known by now.
    fn expire(&mut self, place: Place, slab: usize, now: Time) {
        let timed_out = |why: Option<Reason>| Reason {
            code: codes::TIMED_OUT,
            message: why.map(|why| why.to_string()),
        };
        let partition = &mut self.partitions[place.0][place.1];
        let mut told = Vec::new();
        // They wait in the order of their slabs, whose time passes in that order too.
        while partition.waiting.front().is_some_and(|b| b.slab == slab)
            && let Some(batch) = partition.waiting.pop_front()
        {
            let outcome = Outcome::NotStored(timed_out(batch.why));
            told.push((batch.records, outcome));
        }
        let mut is_broken = false;
        partition.sent.retain_mut(|batch| {
            if batch.slab != slab || batch.is_told {
                return true;
            }
            let reason = timed_out(batch.why.take());
            let is_on_its_way = batch.on.is_some();
            let outcome = match batch.perhaps_appended || is_on_its_way {
                true => Outcome::Unknown(reason),
                false => Outcome::NotStored(reason),
            };
            told.push((batch.records.clone(), outcome));
            batch.is_told = true;
            is_broken |= !is_on_its_way;
            is_on_its_way
        });
        partition.is_broken |= is_broken;
        for (records, outcome) in told {
            self.tell(slab, records, outcome);
        }
        self.after_answer(place, now);
    }

    /// When something is due that was not yet when [`Engine::advance`] was called last.
    pub(super) fn next_deadline(&self) -> Option<Time> {
        let connections = self.connections.values().filter_map(|c| c.deadline());
        let slabs = self.deadlines.front().map(|(at, ..)| *at);
        let later = self.later.first().map(|(at, _)| *at);
        let asks = [&self.metadata, &self.init].into_iter();
        let asks = asks.filter(|ask| ask.is_wanted && ask.on.is_none());
        let asks = asks.map(|ask| ask.not_before).filter(|at| *at > self.now);
        let refresh = Some(self.refresh_at).filter(|at| *at < Time::MAX);
        let all = connections
            .chain(slabs)
            .chain(later)
            .chain(refresh)
            .chain(asks);
        all.chain(self.next_dial()).min()
    }
}
