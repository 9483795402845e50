//! A lane: the slabs of one worker on their way to the kafka-producer. Pure state, no I/O: time and
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

use aguacero::{
    config::{Config, Partitioning},
    kafka::partition_of,
};
use aguacero_proto::produce::{self, Receipt, TopicLimit};
use tokio::sync::oneshot;

use crate::batch::{
    append::{Append, Refused},
    slab::Slab,
    slot::{PACE_OVER, Slot},
    ticket::Place,
    verdict::{Outcome, Verdict, another_attempt_helps, verdict},
};

/// Bytes of values after which a frame takes no further slab.
const FRAME_BYTES_MAX: usize = 4 << 20;
/// Pause before a slab whose outcome was unknown is sent again, for each attempt.
const RESEND_PAUSE: Duration = Duration::from_millis(50);
/// How long sticky spreading prefers others to a partition that did not store, in `partition_slow`.
const AVOIDED_FOR: u32 = 10;

/// The slabs of one worker.
pub(crate) struct Lane {
    bounds: Bounds,
    topics: Vec<Topic>,
    slots: Vec<Slot>,
    /// By id, so the oldest is first.
    slabs: BTreeMap<u64, Slab>,
    next_slab: u64,
    /// Slots that have something to send.
    ready: VecDeque<usize>,
    /// Unanswered frames, and how many of their slabs are.
    frames: HashMap<u64, usize>,
    next_frame: u64,
    bytes: usize,
    link: LinkState,
}

/// What a worker may have on its way.
#[derive(Debug, Clone)]
pub(crate) struct Bounds {
    pub(crate) frames_max: usize,
    pub(crate) slab_bytes_max: usize,
    pub(crate) partition_bytes_max: usize,
    pub(crate) bytes_max: usize,
    pub(crate) ack_timeout: Duration,
    pub(crate) partition_slow: Duration,
}

enum LinkState {
    Up,
    Down { since: Instant },
}

struct Topic {
    name: String,
    /// Slot of partition 0; the others follow.
    first_slot: usize,
    ordinary: Vec<i32>,
    /// Position in `ordinary` that sticky spreading stays with.
    sticky: usize,
    /// Value and key of one record, as the kafka-producer told.
    record_bytes_max: Option<usize>,
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
    /// The worker's share of the configured bounds.
    pub(crate) fn of(config: &Config) -> Self {
        let gateway = &config.gateway;
        Self {
            frames_max: gateway.frames_in_flight_max,
            slab_bytes_max: gateway.slab_bytes_max,
            // Never below one event of the greatest size, or no worker could take it.
            partition_bytes_max: (gateway.partition_bytes_in_flight_max / gateway.workers)
                .max(gateway.event_bytes_max * 2),
            bytes_max: (gateway.bytes_in_flight_max / gateway.workers)
                .max(gateway.event_bytes_max * 2),
            ack_timeout: gateway.ack_timeout,
            partition_slow: gateway.partition_slow,
        }
    }
}

impl Lane {
    pub(crate) fn new(config: &Config, bounds: Bounds, now: Instant) -> Self {
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
            topics,
            slots,
            slabs: BTreeMap::new(),
            next_slab: 1,
            ready: VecDeque::new(),
            frames: HashMap::new(),
            next_frame: 1,
            bytes: 0,
            link: LinkState::Down { since: now },
        }
    }

    /// Appends an event to the open slab of its partition.
    pub(crate) fn append(&mut self, event: &Append<'_>, now: Instant) -> Result<Place, Refused> {
        if let LinkState::Down { since } = self.link
            && now.saturating_duration_since(since) > self.bounds.partition_slow
        {
            return Err(Refused::Away);
        }
        self.check_size(event)?;
        let at = self.slot_for(event, now)?;
        let bytes = event.bytes();
        if self.bytes + bytes > self.bounds.bytes_max
            || self.slots[at].bytes + bytes > self.bounds.partition_bytes_max
        {
            return Err(Refused::Full);
        }
        let slab = self.open_slab(at, event.value.len(), now);
        let place = Place {
            slab: slab.id,
            event: slab.append(event),
        };
        self.bytes += bytes;
        self.slots[at].bytes += bytes;
        self.make_ready(at);
        Ok(place)
    }

    /// Refuses an event that is larger than its topic takes.
    pub(crate) fn check_size(&self, event: &Append<'_>) -> Result<(), Refused> {
        let limit = self.topics[event.stream.topic].record_bytes_max;
        let bytes = event.value.len() + event.key.map_or(0, <[u8]>::len);
        match limit.is_some_and(|limit| bytes > limit) {
            true => Err(Refused::TooLarge(limit)),
            false => Ok(()),
        }
    }

    /// The topic-partition of an event; refused if every one that it may enter is slow or crowded.
    fn slot_for(&mut self, event: &Append<'_>, now: Instant) -> Result<usize, Refused> {
        let topic = &mut self.topics[event.stream.topic];
        let n = topic.ordinary.len();
        let partition = match (event.reserved, event.key, &event.stream.spread.otherwise) {
            (Some(reserved), _, _) => reserved,
            (None, Some(key), Partitioning::Key(_)) => topic.ordinary[partition_of(key, n)],
            _ => {
                let slot = |i: usize| &self.slots[topic.first_slot + topic.ordinary[i] as usize];
                let takes = |i: &usize| slot(*i).refusal().is_none();
                let stores = |i: &usize| takes(i) && !slot(*i).is_avoided(now);
                let mut from_here = (0..n).map(|i| (topic.sticky + i) % n);
                let chosen = from_here.clone().find(stores);
                topic.sticky = chosen
                    .or_else(|| from_here.find(takes))
                    .unwrap_or(topic.sticky);
                topic.ordinary[topic.sticky]
            }
        };
        let at = topic.first_slot + partition as usize;
        self.slots[at].refusal().map_or(Ok(at), Err)
    }

    /// The open slab of a slot with room for `bytes` more.
    fn open_slab(&mut self, at: usize, bytes: usize, now: Instant) -> &mut Slab {
        let slot = &mut self.slots[at];
        let id = match slot.open {
            Some(id)
                if self
                    .slabs
                    .get(&id)
                    .is_some_and(|s| self.bounds.takes(s, bytes, now)) =>
            {
                id
            }
            full => {
                slot.waiting.extend(full);
                let id = self.next_slab;
                self.next_slab += 1;
                slot.open = Some(id);
                id
            }
        };
        self.slabs
            .entry(id)
            .or_insert_with(|| Slab::open(id, at, now))
    }

    /// Registers for the verdict on a slab, which is to say where each event is if anybody `tells_offsets`;
    /// none if there is no such slab.
    pub(crate) fn wait(
        &mut self,
        slab: u64,
        tells_offsets: bool,
    ) -> Option<oneshot::Receiver<Rc<Verdict>>> {
        let slab = self.slabs.get_mut(&slab)?;
        slab.tells_offsets |= tells_offsets;
        Some(slab.wait())
    }

    /// The next frame, if one may leave and has anything in it.
    pub(crate) fn next_frame(&mut self, now: Instant) -> Option<produce::Frame> {
        if self.frames.len() >= self.bounds.frames_max || !matches!(self.link, LinkState::Up) {
            return None;
        }
        let id = self.next_frame;
        let (mut slabs, mut bytes) = (Vec::new(), 0);
        for _ in 0..self.ready.len() {
            if bytes >= FRAME_BYTES_MAX {
                break;
            }
            let Some(at) = self.ready.pop_front() else {
                break;
            };
            self.slots[at].is_ready = false;
            if self.slots[at].resend_at.is_some_and(|time| time > now) {
                self.make_ready(at);
                continue;
            }
            while bytes < FRAME_BYTES_MAX
                && let Some(wire) = self.send_next(at, id, now)
            {
                bytes += wire.values.len();
                slabs.push(wire);
            }
            if self.slots[at].has_more() {
                self.make_ready(at);
            }
        }
        if slabs.is_empty() {
            return None;
        }
        self.next_frame += 1;
        let counted = slabs
            .iter()
            .filter(|s| self.slabs.get(&s.id).is_some_and(|s| s.frame.is_some()));
        let counted = counted.count();
        if counted > 0 {
            self.frames.insert(id, counted);
        }
        Some(produce::Frame { slabs })
    }

    /// The oldest unsent slab of a slot, now sent.
    fn send_next(&mut self, at: usize, frame: u64, now: Instant) -> Option<produce::Slab> {
        let slot = &mut self.slots[at];
        let id = slot.waiting.pop_front().or_else(|| slot.open.take())?;
        slot.sent.push_back((id, now));
        let topic = &mut self.topics[slot.topic];
        if topic.ordinary.get(topic.sticky) == Some(&slot.partition) {
            topic.sticky = (topic.sticky + 1) % topic.ordinary.len();
        }
        let slab = self.slabs.get_mut(&id)?;
        slab.attempts += 1;
        slab.frame = (!slot.is_slow).then_some(frame);
        Some(slab.wire(&topic.name, slot.partition))
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

    /// The kafka-producer has welcomed this lane.
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
        let partition = slot.partition;
        Some(Finished {
            slab,
            verdict,
            partition,
            incarnation,
            offsets,
        })
    }

    fn make_ready(&mut self, at: usize) {
        if !std::mem::replace(&mut self.slots[at].is_ready, true) {
            self.ready.push_back(at);
        }
    }
}

impl Bounds {
    /// Whether an open slab takes `bytes` more. One that could not leave for long is closed, so that
    /// those who join late have most of their deadline left.
    fn takes(&self, slab: &Slab, bytes: usize, now: Instant) -> bool {
        let young = now.saturating_duration_since(slab.opened) < self.ack_timeout / 10;
        young && (slab.len() == 0 || slab.value_bytes() + bytes <= self.slab_bytes_max)
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
