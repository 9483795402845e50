//! What has to be true, step by step and in the end.

use super::{
    world::{Event, Known, Record, State, World},
    *,
};
use crate::batch::slab::Share;
use aguacero::id::EventId;
use aguacero_proto::produce::Request;

/// What one request of a history holds at most.
const REQUEST_MAX: usize = 4000;

impl World {
    /// An event of `bytes` was refused, when so many were on their way `in_all` and in each slot.
    pub(super) fn assert_refusal(
        &self,
        refused: Refused,
        bytes: usize,
        in_all: usize,
        in_slots: &[usize],
    ) {
        match refused {
            Refused::TooLarge(limit) => {
                assert_eq!(limit, self.limit.map(|n| n as usize));
                assert!(bytes > limit.unwrap());
            }
            Refused::Full => {
                let most = in_slots.iter().copied().max().unwrap_or(0);
                assert!(in_all >= BYTES_MAX || most >= BOUNDS.partition_bytes_max);
            }
            Refused::Away => {
                let away = !self.up && self.now - self.down_since > 1000;
                let overdue = |known: &Known| known.state == State::Sent;
                assert!(away || self.slabs.values().any(overdue));
            }
        }
    }

    pub(super) fn assert_may_leave(&self, slab: &produce::Slab) {
        let known = &self.slabs[&slab.id];
        assert_eq!((&*slab.topic, slab.partition), ("t", known.partition));
        assert_eq!(
            known.state,
            State::Waiting,
            "slab {} is on its way",
            slab.id
        );
        let mut older = self
            .slabs
            .range(..slab.id)
            .filter(|(_, k)| k.partition == known.partition);
        let waits = older.find(|(_, k)| k.state == State::Waiting);
        assert!(
            waits.is_none(),
            "slab {} overtakes {:?}",
            slab.id,
            waits.map(|(id, _)| id)
        );
    }

    /// Every event of a slab has its outcome now, and what the counters are told is true of the log.
    pub(super) fn finish(&mut self, mut finished: Finished, expected: &[Outcome]) {
        let known = self.slabs.get_mut(&finished.slab.id).unwrap();
        assert_ne!(
            known.state,
            State::Done,
            "slab {} ends twice",
            finished.slab.id
        );
        known.state = State::Done;
        assert_eq!(finished.partition, known.partition);
        finished.slab.resolve(finished.verdict.clone());

        let mut keys = aguacero::counts::Counts::default();
        for (index, &n) in known.events.iter().enumerate() {
            let event = self.events[n].as_mut().unwrap();
            let outcome = event
                .verdict
                .try_recv()
                .map(|v| v.events_from(index as u32).next().expect("without end").0);
            assert_eq!(outcome, Ok(expected[index]), "event {n}");
            (event.told, event.told_at) = (outcome.ok(), self.log.len());
            let logged = self.log.iter().filter(|r| r.event == n);
            if expected[index] == Outcome::Stored {
                assert!(
                    logged.clone().count() > 0,
                    "event {n} is told as stored and is not"
                );
                assert_eq!(
                    finished.verdict.outcome,
                    Outcome::Stored,
                    "or it would not be counted"
                );
                if let Some((first, last)) = finished.offsets {
                    let here = |r: &Record| {
                        r.incarnation.to_string() == finished.incarnation
                            && r.partition == finished.partition
                            && (first..=last).contains(&r.offset)
                    };
                    assert!(
                        logged.clone().any(here),
                        "event {n} is counted where it is not"
                    );
                }
            }
            if let Some(key) = &event.key {
                *keys.entry(key.clone()).or_default() += 1;
            }
        }
        let [
            Share {
                stream: 0, deltas, ..
            },
        ] = &finished.slab.shares[..]
        else {
            panic!("{:?}", finished.slab.shares);
        };
        assert_eq!(deltas.events, known.events.len() as u64);
        assert_eq!(deltas.counters, [keys]);
    }

    /// What is counted is at least what the events have, and all of it is given back with them.
    pub(super) fn assert_bytes(&self) {
        let mut bytes = [0; APART as usize + 1];
        for known in self.slabs.values().filter(|k| k.state != State::Done) {
            let of = |n: &usize| self.events[*n].as_ref().unwrap().bytes;
            bytes[known.partition as usize] += known.events.iter().map(of).sum::<usize>();
        }
        for (slot, bytes) in self.lane.slots.iter().zip(bytes) {
            assert!(slot.bytes >= bytes);
            assert_eq!(slot.bytes == 0, bytes == 0);
            assert!(slot.bytes < BOUNDS.partition_bytes_max + REQUEST_MAX);
        }
        let in_slots = self.lane.slots.iter().map(|slot| slot.bytes).sum();
        let counted = (self.lane.bytes(), self.lane.budget.taken());
        assert_eq!(counted, (in_slots, in_slots));
        assert!(in_slots < BYTES_MAX + REQUEST_MAX);
    }

    /// Each partition takes an event, sends it at once and tells that it is stored.
    pub(super) fn assert_alive(&mut self) {
        for key in [0, 1, 2, 3, 4, 5] {
            self.limit = None;
            let event = self.append(&[(key, 0)], false);
            let event = *event.first().expect("there is room");
            assert!(self.frame(), "nothing keeps a lone event back");
            self.read(usize::MAX);
            self.produce(0, &[Fate::Stored]);
            let receipt = self.receipts.remove(0);
            self.receive(&receipt);
            assert_eq!(
                self.events[event].as_ref().unwrap().told,
                Some(Outcome::Stored)
            );
        }
    }

    /// What was told remains true after everything that was on its way anywhere has arrived.
    pub(super) fn assert_promises(&mut self) {
        let mut first: HashMap<usize, usize> = HashMap::new();
        for (at, record) in self.log.iter().enumerate() {
            first.entry(record.event).or_insert(at);
        }
        let logged: HashSet<_> = first.keys().copied().collect();
        for (n, event) in self.events.iter_mut().enumerate() {
            let Some(event) = event else {
                assert!(
                    !logged.contains(&n),
                    "event {n} was refused and is in the log"
                );
                continue;
            };
            assert_eq!(
                event.verdict.try_recv().err(),
                Some(TryRecvError::Closed),
                "told once"
            );
            let told = event.told.expect("every event has an outcome");
            let certain = matches!(told, Outcome::NotStored | Outcome::TooLarge);
            assert!(
                !(certain && logged.contains(&n)),
                "event {n} is in the log: {told:?}"
            );
        }
        let events: Vec<_> = self
            .events
            .iter()
            .enumerate()
            .filter_map(|(n, e)| Some((n, e.as_ref()?)))
            .collect();
        for (a, one) in &events {
            let acknowledged = one.told == Some(Outcome::Stored) && one.key.is_some();
            for (b, other) in events.iter().filter(|(b, _)| acknowledged && b > a) {
                if one.key == other.key && one.told_at <= other.appended_at {
                    let before = first.get(b).is_none_or(|at| first[a] < *at);
                    assert!(before, "event {a} was acknowledged before {b} was sent");
                }
            }
        }
    }
}

/// The slab says what the events say.
pub(super) fn assert_holds<'a>(
    slab: &produce::Slab,
    events: impl Iterator<Item = (usize, &'a Event)>,
) {
    let (mut start, mut key_start, mut name_start) = (0, 0, 0);
    let (mut requests, mut ids) = (slab.requests.iter(), slab.ids.chunks(16));
    let (mut request, mut left, mut next) = (&Request::default(), 0, EventId([0; 16]));
    let mut count = 0;
    for (index, (n, event)) in events.enumerate() {
        if left == 0 {
            request = requests.next().unwrap();
            next = EventId::from_halves(request.base_high, request.base_low);
            left = request.events;
        }
        let end = slab.ends[index] as usize;
        assert_eq!(&slab.values[start..end], event.value.as_bytes());
        let (key, key_end) = text(&slab.keys, &slab.key_lens, index, key_start);
        assert_eq!(key, event.key.as_deref().map(str::as_bytes));
        let (name, name_end) = text(&slab.names, &slab.name_lens, index, name_start);
        let client_key = name.unwrap_or(&request.client_key);
        assert_eq!(client_key, event.client_key.as_bytes());
        let counted = next.plus(slab.gaps.get(index).copied().unwrap_or(0).into());
        let id = match name.is_some() || !request.client_key.is_empty() {
            true => EventId(ids.next().unwrap().try_into().unwrap()),
            false => counted,
        };
        assert_eq!(id, EventId([0; 16]).plus(n as u64));
        (start, key_start, name_start) = (end, key_end, name_end);
        (next, left, count) = (counted.plus(1), left - 1, count + 1);
    }
    assert_eq!((slab.ends.len(), start), (count, slab.values.len()));
    assert_eq!((requests.next(), ids.next(), left), (None, None, 0));
}

/// The text that an event has in two columns, if it has one, and where it ends.
fn text<'a>(
    bytes: &'a [u8],
    lens: &[u32],
    index: usize,
    start: usize,
) -> (Option<&'a [u8]>, usize) {
    let len = lens.get(index).copied().unwrap_or(0) as usize;
    let end = start + len.saturating_sub(1);
    ((len > 0).then(|| &bytes[start..end]), end)
}
