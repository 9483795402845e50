//! What has to be true, step by step and in the end.

use super::{
    world::{Event, Known, Record, State, World},
    *,
};
use aguacero::id::EventId;

impl World {
    pub(super) fn assert_refusal(&self, refused: Refused, append: &Append<'_>) {
        match refused {
            Refused::TooLarge(limit) => {
                assert_eq!(limit, self.limit.map(|n| n as usize));
                assert!(append.value.len() + append.key.map_or(0, <[u8]>::len) > limit.unwrap());
            }
            Refused::Full => {
                let slots = || self.lane.slots.iter().map(|slot| slot.bytes);
                let most = slots().max().unwrap_or(0);
                assert!(
                    self.lane.bytes() + append.bytes() > BOUNDS.bytes_max
                        || most + append.bytes() > BOUNDS.partition_bytes_max
                );
            }
            Refused::Away => {
                let away = !self.up && self.now - self.down_since > 1000;
                let overdue = |known: &Known| known.state == State::OutgoingAnswer;
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

        let mut keys: HashMap<String, u64> = HashMap::new();
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
        let [(0, deltas)] = &finished.slab.deltas[..] else {
            panic!("{:?}", finished.slab.deltas);
        };
        assert_eq!(deltas.events, known.events.len() as u64);
        assert_eq!(deltas.counters, [keys]);
    }

    pub(super) fn assert_bytes(&self) {
        let mut bytes = [0; APART as usize + 1];
        for known in self.slabs.values().filter(|k| k.state != State::Done) {
            let of = |n: &usize| self.events[*n].as_ref().unwrap().bytes;
            bytes[known.partition as usize] += known.events.iter().map(of).sum::<usize>();
        }
        let slots: Vec<_> = self.lane.slots.iter().map(|slot| slot.bytes).collect();
        assert_eq!(
            (&slots[..], self.lane.bytes()),
            (&bytes[..], bytes.iter().sum())
        );
        assert!(self.lane.bytes() <= BOUNDS.bytes_max);
        assert!(slots.iter().all(|n| *n <= BOUNDS.partition_bytes_max));
    }

    /// Each partition takes an event, sends it at once and tells that it is stored.
    pub(super) fn assert_alive(&mut self) {
        for key in [0, 1, 2, 3, 4, 5] {
            self.limit = None;
            let event = self.append(key, 0).expect("there is room");
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
    let (mut start, mut key_start) = (0, 0);
    let ids = slab.runs.iter().flat_map(|run| {
        let base = EventId::from_halves(run.base_high, run.base_low);
        (0..run.count).map(move |i| base.plus(i.into()))
    });
    let mut ids = ids.collect::<Vec<_>>().into_iter();
    let mut count = 0;
    for (index, (n, event)) in events.enumerate() {
        let end = slab.ends[index] as usize;
        assert_eq!(&slab.values[start..end], event.value.as_bytes());
        assert_eq!(ids.next(), Some(EventId([0; 16]).plus(n as u64)));
        let len = slab.key_lens.get(index).copied().unwrap_or(0) as usize;
        let key_end = key_start + len.saturating_sub(1);
        let key = (len > 0).then(|| &slab.keys[key_start..key_end]);
        assert_eq!(key, event.key.as_deref().map(str::as_bytes));
        (start, key_start, count) = (end, key_end, count + 1);
    }
    assert_eq!(
        (slab.ends.len(), start, ids.next()),
        (count, slab.values.len(), None)
    );
}
