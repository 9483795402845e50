//! A lane: the slabs of one worker on their way to one producer. Pure state, no I/O: time and
//! messages are handed in, frames and verdicts come out.
//!
//! A slab is *open* while events join it, then *waiting* to be sent (again), then *sent* until its
//! receipt. The next frame leaves as soon as fewer than `frames_in_flight_max` are unanswered; no
//! timer is involved, so a lone event leaves at once and a batch forms while the one before is away.
//! Only here is anything sent again: with the same ids, oldest first, before anything newer of its
//! partition, until its deadline.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    rc::Rc,
    time::{Duration, Instant},
};

use aguacero::config::Config;
use aguacero_proto::produce::{self, MESSAGE_BYTES_MAX, Receipt, TopicLimit};
use bytes::Bytes;
use tokio::sync::oneshot;

use crate::batch::{
    budget::Budget,
    slab::Slab,
    slot::{PACE_OVER, Slot},
    verdict::{Outcome, Verdict, another_attempt_helps, verdict},
};

/// Bytes that the slabs of a frame encode to at most, unless it is a single one.
const FRAME_BYTES_MAX: usize = MESSAGE_BYTES_MAX / 4;
/// Pause before a slab whose outcome was unknown is sent again, for each attempt.
const RESEND_PAUSE: Duration = Duration::from_millis(50);
/// How long sticky spreading prefers others to a partition that did not store, in `partition_slow`.
const AVOIDED_FOR: u32 = 10;

/// The slabs of one worker for one producer.
pub(crate) struct Lane {
    pub(super) bounds: Bounds,
    /// Of all workers.
    pub(super) budget: Budget,
    pub(super) topics: Vec<Topic>,
    pub(super) slots: Vec<Slot>,
    /// By id, so the oldest is first.
    pub(super) slabs: BTreeMap<u64, Slab>,
    pub(super) next_slab: u64,
    /// Number of the request that appends.
    pub(super) request: u64,
    /// Slots that have something to send.
    ready: VecDeque<usize>,
    /// Unanswered frames, and how many of their slabs are.
    frames: HashMap<u64, usize>,
    next_frame: u64,
    /// Those that its slabs hold.
    pub(super) bytes: usize,
    pub(super) link: LinkState,
    sums: Sums,
}

/// What left since somebody last took note of it.
#[derive(Debug, Default)]
pub(crate) struct Sums {
    pub(crate) frames: u64,
    /// Of their slabs.
    pub(crate) bytes: u64,
    pub(crate) slabs: u64,
    /// How many of the slabs were sent before.
    pub(crate) resent: u64,
}

/// What a lane may have on its way.
#[derive(Debug, Clone)]
pub(crate) struct Bounds {
    pub(crate) frames_max: usize,
    pub(crate) slab_bytes_max: usize,
    /// Of a partition; with as many on their way, no further request enters it.
    pub(crate) partition_bytes_max: usize,
    pub(crate) ack_timeout: Duration,
    pub(crate) partition_slow: Duration,
}

pub(super) enum LinkState {
    Up,
    Down { since: Instant },
}

pub(super) struct Topic {
    pub(super) name: String,
    /// Slot of partition 0; the others follow.
    pub(super) first_slot: usize,
    pub(super) ordinary: Vec<i32>,
    /// Position in `ordinary` that sticky spreading stays with.
    pub(super) sticky: usize,
    /// Value, key and name of one record, as the producer told.
    pub(super) record_bytes_max: Option<usize>,
}

/// A slab whose outcome is final.
pub(crate) struct Finished {
    pub(crate) slab: Slab,
    pub(crate) verdict: Verdict,
    pub(crate) partition: i32,
    pub(crate) incarnation: String,
    /// Lowest and highest offset, if every stored event's is known.
    pub(crate) offsets: Option<(i64, i64)>,
}

impl Bounds {
    /// The lane's share of the configured bounds: each worker has one for each process that routes take.
    pub(crate) fn of(config: &Config) -> Self {
        let gateway = &config.gateway;
        let lanes = gateway.workers * config.vias().len().max(1);
        Self {
            frames_max: gateway.frames_in_flight_max,
            slab_bytes_max: gateway.slab_bytes_max,
            partition_bytes_max: gateway.partition_bytes_in_flight_max.div_ceil(lanes),
            ack_timeout: gateway.ack_timeout,
            partition_slow: gateway.partition_slow,
        }
    }
}

impl Lane {
    pub(crate) fn new(config: &Config, bounds: Bounds, budget: Budget, now: Instant) -> Self {
        let mut slots = Vec::new();
        let mut topics = Vec::new();
        for (index, topic) in config.topics.iter().enumerate() {
            topics.push(Topic {
                name: topic.name.clone(),
                first_slot: slots.len(),
                ordinary: topic.ordinary.clone(),
                sticky: 0,
                record_bytes_max: None,
            });
            slots.extend((0..topic.partitions).map(|partition| Slot::new(index, partition, now)));
        }
        Self {
            bounds,
            budget,
            topics,
            slots,
            slabs: BTreeMap::new(),
            next_slab: 1,
            request: 0,
            ready: VecDeque::new(),
            frames: HashMap::new(),
            next_frame: 1,
            bytes: 0,
            link: LinkState::Down { since: now },
            sums: Sums::default(),
        }
    }

    /// Registers for the verdict on a slab; none if there is no such slab.
    pub(crate) fn wait(&mut self, slab: u64) -> Option<oneshot::Receiver<Rc<Verdict>>> {
        Some(self.slabs.get_mut(&slab)?.wait())
    }

    /// The next frame, if one may leave and has anything in it.
    pub(crate) fn next_frame(&mut self, now: Instant) -> Option<produce::Frame> {
        if self.frames.len() >= self.bounds.frames_max || !matches!(self.link, LinkState::Up) {
            return None;
        }
        let id = self.next_frame;
        let (mut slabs, mut bytes, mut counted) = (Vec::new(), 0, 0);
        for _ in 0..self.ready.len() {
            let Some(at) = self.ready.pop_front() else {
                break;
            };
            self.slots[at].is_ready = false;
            if self.slots[at].resend_at.is_some_and(|time| time > now) {
                self.make_ready(at);
                continue;
            }
            let before = slabs.len();
            while self.slots[at].has_more() {
                let next = self.next_of(at);
                if !slabs.is_empty() && next.is_some_and(|n| bytes + n > FRAME_BYTES_MAX) {
                    break;
                }
                let Some((encoded, is_counted)) = self.send_next(at, id, now) else {
                    break;
                };
                bytes += encoded.len();
                counted += usize::from(is_counted);
                slabs.push(encoded);
            }
            if self.slots[at].has_more() {
                self.make_ready(at);
                if slabs.len() == before {
                    self.ready.rotate_right(1); // it is the first of the next one
                }
                break;
            }
        }
        if slabs.is_empty() {
            return None;
        }
        self.next_frame += 1;
        self.sums.frames += 1;
        self.sums.bytes += bytes as u64;
        self.sums.slabs += slabs.len() as u64;
        if counted > 0 {
            self.frames.insert(id, counted);
        }
        Some(produce::Frame { slabs })
    }

    /// Closes the oldest unsent slab of a slot. How many bytes are sent of it.
    fn next_of(&mut self, at: usize) -> Option<usize> {
        let slot = &mut self.slots[at];
        if slot.waiting.is_empty() {
            slot.waiting.extend(slot.open.take());
        }
        let slab = self.slabs.get_mut(slot.waiting.front()?)?;
        slab.close(&self.topics[slot.topic].name, slot.partition);
        Some(slab.encoded_len())
    }

    /// The oldest closed slab of a slot, now sent, and whether the frame waits for it.
    fn send_next(&mut self, at: usize, frame: u64, now: Instant) -> Option<(Bytes, bool)> {
        let slot = &mut self.slots[at];
        let id = slot.waiting.pop_front()?;
        slot.sent.push_back((id, now));
        let topic = &mut self.topics[slot.topic];
        if topic.ordinary.get(topic.sticky) == Some(&slot.partition) {
            topic.sticky = (topic.sticky + 1) % topic.ordinary.len();
        }
        let slab = self.slabs.get_mut(&id)?;
        self.sums.resent += u64::from(slab.attempts > 0);
        slab.attempts += 1;
        slab.frame = (!slot.is_slow).then_some(frame);
        Some((slab.encoded(), slab.frame.is_some()))
    }

    /// Takes a receipt. None if its slab is unknown by now, or is to be sent again.
    pub(crate) fn receipt(&mut self, receipt: &Receipt, now: Instant) -> Option<Finished> {
        let id = receipt.slab;
        let slab = self.slabs.get_mut(&id)?;
        let slot = &mut self.slots[slab.slot];
        let sent = slot.sent.iter().position(|(other, _)| *other == id)?;
        slot.sent.remove(sent);
        release(&mut self.frames, slab);
        let at = slab.slot;
        if slot.sent.front().is_none_or(|(_, time)| {
            now.saturating_duration_since(*time) < self.bounds.partition_slow
        }) {
            slot.is_slow = false;
        }
        let mut verdict = verdict(receipt, slab.attempts);
        if slab.tells_offsets {
            verdict.place(receipt, slot.partition, slab.len());
        }
        if verdict.outcome == Outcome::Stored {
            slot.pace
                .note(slab.bytes, now, PACE_OVER * self.bounds.partition_slow);
        }
        let stored = |outcome: &Outcome| !matches!(outcome, Outcome::NotStored | Outcome::Unknown);
        let mut outcomes = verdict.exceptions.iter().map(|(_, outcome)| outcome);
        if !stored(&verdict.outcome) || !outcomes.all(stored) {
            slot.avoided_until = Some(now + AVOIDED_FOR * self.bounds.partition_slow);
        } else if slot.avoided_until.take().is_some() {
            // What kept it may have kept others too.
            let topic = slot.topic;
            let slots = self.slots.iter_mut().filter(|s| s.topic == topic);
            slots.for_each(|s| s.avoided_until = None);
        }
        let slot = &mut self.slots[at];
        if another_attempt_helps(receipt, slab.attempts)
            && now < slab.opened + self.bounds.ack_timeout
        {
            slot.resend_at = Some(now + RESEND_PAUSE * slab.attempts);
            let older = slot.waiting.iter().take_while(|other| **other < id).count();
            slot.waiting.insert(older, id);
            self.make_ready(at);
            return None;
        }
        let offsets = receipt.first.zip(receipt.last);
        self.finish(id, verdict, receipt.incarnation.clone(), offsets)
    }

    /// The producer has welcomed this lane.
    pub(crate) fn connected(&mut self, limits: &[TopicLimit]) {
        self.link = LinkState::Up;
        for topic in &mut self.topics {
            let limit = limits.iter().find(|limit| limit.topic == topic.name);
            topic.record_bytes_max = limit.map(|limit| limit.record_bytes_max as usize);
        }
    }

    /// The link broke: every slab without a receipt is to be sent again on the next one.
    pub(crate) fn disconnected(&mut self, now: Instant) {
        if matches!(self.link, LinkState::Up) {
            self.link = LinkState::Down { since: now };
        }
        self.frames.clear();
        for at in 0..self.slots.len() {
            let slot = &mut self.slots[at];
            slot.is_slow = false;
            slot.avoided_until = None;
            slot.resend_at = None;
            while let Some((id, _)) = slot.sent.pop_back() {
                if let Some(slab) = self.slabs.get_mut(&id) {
                    slab.frame = None;
                }
                let older = slot.waiting.iter().take_while(|other| **other < id).count();
                slot.waiting.insert(older, id);
            }
            if slot.has_more() {
                self.make_ready(at);
            }
        }
    }

    /// What time alone brings about: partitions become slow, slabs reach their deadline. Calls
    /// `finished` with the latter. Returns whether a frame could leave now that could not before.
    pub(crate) fn tick(&mut self, now: Instant, mut finished: impl FnMut(Finished)) -> bool {
        for slot in &mut self.slots {
            let oldest = slot.oldest().and_then(|id| self.slabs.get(&id));
            slot.measure(oldest.map(|slab| slab.opened), now, &self.bounds);
            let overdue =
                |time: &Instant| now.saturating_duration_since(*time) >= self.bounds.partition_slow;
            if slot.sent.front().is_some_and(|(_, time)| overdue(time)) {
                slot.is_slow = true;
                // Its slabs stop nobody else: the frames that they are in count without them.
                for (id, _) in &slot.sent {
                    if let Some(slab) = self.slabs.get_mut(id) {
                        release(&mut self.frames, slab);
                    }
                }
            }
        }
        while let Some((&id, slab)) = self.slabs.first_key_value()
            && slab.opened + self.bounds.ack_timeout <= now
        {
            let verdict = if slab.attempts == 0 {
                Verdict::whole(Outcome::NotStored, "Kafka could not be reached in time")
            } else {
                Verdict::whole(Outcome::Unknown, "Kafka did not confirm it in time")
            };
            if let Some(done) = self.finish(id, verdict, String::new(), None) {
                finished(done);
            }
        }
        !self.ready.is_empty()
    }

    /// Slabs that were sent, each with the number of its events.
    pub(crate) fn sent(&self) -> impl Iterator<Item = (u64, usize)> {
        let sent = self.slabs.values().filter(|slab| slab.attempts > 0);
        sent.map(|slab| (slab.id, slab.len()))
    }

    /// Whether nothing is on its way.
    pub(crate) fn is_empty(&self) -> bool {
        self.slabs.is_empty()
    }

    /// Whether anything waits to be sent.
    pub(crate) fn has_more(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Bytes on their way.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// What left since the last time.
    pub(crate) fn take_sums(&mut self) -> Sums {
        std::mem::take(&mut self.sums)
    }

    /// Lets go of a slab.
    fn finish(
        &mut self,
        id: u64,
        verdict: Verdict,
        incarnation: String,
        offsets: Option<(i64, i64)>,
    ) -> Option<Finished> {
        let mut slab = self.slabs.remove(&id)?;
        release(&mut self.frames, &mut slab);
        let slot = &mut self.slots[slab.slot];
        slot.open = slot.open.filter(|open| *open != id);
        slot.waiting.retain(|other| *other != id);
        slot.sent.retain(|(other, _)| *other != id);
        if slot.sent.is_empty() {
            slot.is_slow = false;
        }
        let resent = |id: &u64| self.slabs.get(id).is_some_and(|slab| slab.attempts > 0);
        if !slot.waiting.front().is_some_and(resent) {
            slot.resend_at = None; // what it made wait is gone
        }
        slot.bytes -= slab.bytes;
        self.bytes -= slab.bytes;
        self.budget.give_back(slab.bytes);
        let partition = slot.partition;
        Some(Finished {
            slab,
            verdict,
            partition,
            incarnation,
            offsets,
        })
    }

    pub(super) fn make_ready(&mut self, at: usize) {
        if !std::mem::replace(&mut self.slots[at].is_ready, true) {
            self.ready.push_back(at);
        }
    }
}

impl Bounds {
    /// Whether an open slab takes an event that encodes to `encoded` bytes. One that could not leave for long is
    /// closed, so that those who join late have most of their deadline left.
    pub(super) fn takes(&self, slab: &Slab, encoded: usize, now: Instant) -> bool {
        let young = now.saturating_duration_since(slab.opened) < self.ack_timeout / 10;
        young && slab.encoded_len() + encoded <= self.slab_bytes_max
    }
}

/// Takes a slab out of the frame that counts it; the last one out closes the frame.
fn release(frames: &mut HashMap<u64, usize>, slab: &mut Slab) {
    let Some(frame) = slab.frame.take() else {
        return;
    };
    if let Some(left) = frames.get_mut(&frame) {
        *left -= 1;
        if *left == 0 {
            frames.remove(&frame);
        }
    }
}

#[cfg(test)]
#[path = "lane_model/mod.rs"]
mod model;

#[cfg(test)]
#[path = "lane_tests.rs"]
mod tests;
