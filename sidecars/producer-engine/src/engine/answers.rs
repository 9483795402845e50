//! What brokers say of batches, and what follows from it.

use super::{Engine, Notice, Place};
use crate::{
    Outcome, Slab, Time,
    connection::{ConnectionId, Sent},
    error::{self, Appended, Then},
    protocol::{
        PRODUCE_BY_ID,
        reader::Malformed,
        response::{self, Produced},
    },
    receipt::{Reason, codes},
};

impl<S: Slab> Engine<S> {
    /// The answer to a Produce request.
    pub(super) fn produced(
        &mut self,
        connection: ConnectionId,
        version: i16,
        sent: &[Sent],
        body: &[u8],
        now: Time,
    ) -> Result<(), Malformed> {
        let answer = response::produce(body, version)?;
        for (broker, address) in answer.brokers {
            self.cluster.brokers.insert(broker, address);
        }
        if let Some(one) = self.connections.get_mut(&connection)
            && let Ok(silent) = u64::try_from(answer.throttle_ms)
            && silent > 0
        {
            // A later answer may ask for less than an earlier one did.
            one.silent_until = one.silent_until.max(now + Time::from_millis(silent));
        }
        let mut told: Vec<_> = answer.batches.into_iter().map(Some).collect();
        for (nth, one) in sent.iter().enumerate() {
            let topic = &self.cluster.topics[one.topic].name;
            let is_of = |p: &Option<Produced>| {
                p.as_ref().is_some_and(|p| {
                    let is_topic = match version >= PRODUCE_BY_ID {
                        true => p.topic_id == one.topic_id,
                        false => p.topic == **topic,
                    };
                    is_topic && usize::try_from(p.partition) == Ok(one.partition)
                })
            };
            // Brokers answer in the order of the request.
            let place = match told.get(nth).is_some_and(is_of) {
                true => Some(nth),
                false => told.iter().position(is_of),
            };
            let answer = place.and_then(|place| told[place].take());
            self.judge(connection, version, *one, answer, now);
        }
        Ok(())
    }

    fn judge(
        &mut self,
        connection: ConnectionId,
        version: i16,
        sent: Sent,
        answer: Option<Produced>,
        now: Time,
    ) {
        let place = (sent.topic, sent.partition);
        let partition = &mut self.partitions[place.0][place.1];
        let Some(at) = partition.find(sent.batch) else {
            return;
        };
        let Some(answer) = answer else {
            self.failed(
                place,
                at,
                (Appended::Perhaps, Then::FindLeader),
                Reason::of(codes::NOT_ANSWERED),
                now,
            );
            return self.after_answer(place, now);
        };
        if answer.error == 0 {
            partition.known_on = Some(connection);
            partition.known_at = now;
            partition.failures = 0;
            let Some(batch) = partition.sent.remove(at) else {
                return;
            };
            if !batch.is_told {
                let outcome = match answer.offset >= 0 {
                    true => Outcome::Stored {
                        offset: answer.offset,
                        topic: (version >= PRODUCE_BY_ID).then_some(sent.topic_id),
                    },
                    false => Outcome::Unknown(Reason::of(codes::NO_OFFSET)),
                };
                self.tell(batch.slab, batch.records, outcome);
            }
            return self.after_answer(place, now);
        }
        if let Some(leader) = answer.leader {
            let id = (version >= PRODUCE_BY_ID).then_some(sent.topic_id);
            self.cluster.hint(place.0, place.1, id, leader);
        }
        let verdict = error::verdict(answer.error);
        let reason = Reason {
            code: error::name(answer.error),
            message: answer.message,
        };
        let records = self.partitions[place.0][place.1]
            .sent
            .get(at)
            .map_or(0, |b| b.records.len());
        self.notice(Notice::Refused {
            topic: self.cluster.topics[place.0].name.to_string(),
            partition: place.1,
            records,
            reason: reason.clone(),
        });
        if verdict.then == Then::FindLeader {
            if let Some(broker) = self.connections.get(&connection).and_then(|c| c.broker) {
                self.cluster.forget_leader(place.0, place.1, broker);
            }
            self.metadata.want();
        }
        self.failed(place, at, (verdict.appended, verdict.then), reason, now);
        self.after_answer(place, now);
    }

    /// An attempt has failed, of the batch at this place among those that were sent.
    fn failed(
        &mut self,
        place: Place,
        at: usize,
        verdict: (Appended, Then),
        reason: Reason,
        now: Time,
    ) {
        let partition = &mut self.partitions[place.0][place.1];
        partition.known_on = None;
        // What is refused for good or cut is no reason to wait, nor what a broker says of those behind it.
        let is_for_later = match verdict.1 {
            Then::Retry | Then::FindLeader => true,
            Then::NewEpoch => !partition.is_broken,
            Then::Split | Then::Fail => false,
        };
        // Those behind the first fail together with it.
        partition.failures += u32::from(is_for_later && at == 0);
        let Some(batch) = partition.sent.get_mut(at) else {
            return;
        };
        batch.on = None;
        batch.perhaps_appended |= verdict.0 == Appended::Perhaps;
        batch.why = Some(reason.clone());
        let is_told = batch.is_told;
        let records = batch.records.len();
        match verdict.1 {
            _ if is_told => {
                partition.sent.remove(at);
                partition.is_broken = true;
            }
            Then::Retry | Then::FindLeader => {}
            // Behind one that failed itself, this is what a broker has to say.
            Then::NewEpoch => partition.is_broken |= at == 0,
            Then::Split if records > 1 && !batch.perhaps_appended => {
                self.halve(place, at);
            }
            Then::Split | Then::Fail => {
                let Some(batch) = partition.sent.remove(at) else {
                    return;
                };
                partition.is_broken = true;
                let outcome = match (batch.perhaps_appended, verdict.1) {
                    (true, _) => Outcome::Unknown(reason),
                    (false, Then::Split) => Outcome::TooLarge(reason),
                    (false, _) => Outcome::NotStored(reason),
                };
                self.tell(batch.slab, batch.records, outcome);
            }
        }
        if !is_for_later {
            return;
        }
        let partition = &mut self.partitions[place.0][place.1];
        let pause = self.settings.backoff * 2_u32.pow(partition.failures.saturating_sub(1).min(16));
        partition.not_before = now + pause.min(self.settings.backoff_max);
    }

    /// Makes two batches of one, under the same numbers.
    fn halve(&mut self, place: Place, at: usize) {
        let partition = &mut self.partitions[place.0][place.1];
        partition.numbered += 1;
        let sent = &mut partition.sent;
        for behind in sent.iter_mut().skip(at + 1) {
            behind.nth += 1;
        }
        let Some(first) = sent.get_mut(at) else {
            return;
        };
        let middle = first.records.start + first.records.len() / 2;
        let mut second = first.clone();
        first.records.end = middle;
        second.records.start = middle;
        second.sequence = first
            .sequence
            .map(|s| crate::partition::after(s, first.records.len()));
        second.nth += 1;
        self.batches += 1;
        second.id = self.batches;
        let slab = first.slab;
        sent.insert(at + 1, second);
        self.cut(slab);
    }

    /// Goes on with a partition of which something came.
    pub(super) fn after_answer(&mut self, place: Place, now: Time) {
        self.renumber(place, now);
        self.enqueue(place, now);
    }

    /// Begins a new epoch in a partition that needs one, if nothing is on its way there.
    pub(super) fn renumber(&mut self, place: Place, now: Time) {
        let partition = &mut self.partitions[place.0][place.1];
        if !partition.is_broken || partition.in_flight() > 0 {
            return;
        }
        let unsure = partition.renumber(self.producer);
        if partition.producer.is_none() && self.producer.is_some() {
            self.producer = None; // it has no epoch left
            self.init.want();
        }
        for batch in unsure.into_iter().filter(|b| !b.is_told) {
            let reason = batch.why.unwrap_or(Reason::of(codes::CONNECTION_LOST));
            self.tell(batch.slab, batch.records, Outcome::Unknown(reason));
        }
        self.notice(Notice::NewEpoch {
            topic: self.cluster.topics[place.0].name.to_string(),
            partition: place.1,
        });
        self.enqueue(place, now);
    }

    /// A request that will have no answer: its connection is gone.
    pub(super) fn unanswered(&mut self, sent: &[Sent], has_left: bool, now: Time) {
        for one in sent {
            let place = (one.topic, one.partition);
            let partition = &mut self.partitions[place.0][place.1];
            partition.known_on = None;
            let Some(at) = partition.find(one.batch) else {
                continue;
            };
            let batch = &mut partition.sent[at];
            batch.on = None;
            batch.perhaps_appended |= has_left;
            batch.why = Some(Reason::of(codes::CONNECTION_LOST));
            if batch.is_told {
                partition.sent.remove(at);
                partition.is_broken = true;
            }
            self.after_answer(place, now);
        }
    }
}
