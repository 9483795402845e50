//! What a history does to the lane and to all that is behind it.

use super::{checks::assert_holds, *};
use aguacero::{config::Partitioning, id::EventId, kafka::partition_of};
use smallvec::SmallVec;

pub(super) struct Event {
    pub(super) value: String,
    pub(super) key: Option<String>,
    /// What the client called it, and whether itself or its request.
    pub(super) client_key: String,
    pub(super) bytes: usize,
    pub(super) verdict: Receiver<Rc<Verdict>>,
    pub(super) told: Option<Outcome>,
    /// Told by the clock, without a receipt.
    pub(super) given_up: bool,
    /// Length of the log when it was appended to the lane, and when it was told.
    pub(super) appended_at: usize,
    pub(super) told_at: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Waiting,
    Sent,
    Done,
}

/// A slab as the model knows it.
pub(super) struct Known {
    pub(super) partition: i32,
    /// Their numbers.
    pub(super) events: Vec<usize>,
    pub(super) opened: u64,
    pub(super) attempts: u32,
    pub(super) state: State,
    pub(super) sent_as: Option<produce::Slab>,
}

/// A slab that a kafka-producer has read and not reported on.
pub(super) struct PendingBytes {
    pub(super) producer: u32,
    pub(super) session: u32,
    /// Of the topic when it was read.
    pub(super) incarnation: u32,
    pub(super) slab: u64,
}

/// A record of the log.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) incarnation: u32,
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) event: usize,
}

pub(super) struct World {
    pub(super) config: Config,
    pub(super) lane: Lane,
    pub(super) start: Instant,
    pub(super) now: u64,
    pub(super) events: Vec<Option<Event>>,
    pub(super) slabs: BTreeMap<u64, Known>,
    pub(super) up: bool,
    pub(super) down_since: u64,
    pub(super) limit: Option<u32>,
    pub(super) session: u32,
    pub(super) producer: u32,
    pub(super) incarnation: u32,
    /// Sent, and not read yet.
    pub(super) wire: Vec<u64>,
    pub(super) held: Vec<PendingBytes>,
    pub(super) receipts: Vec<Receipt>,
    pub(super) delivered: Vec<Receipt>,
    /// Whether a receipt was lost on this connection.
    pub(super) has_lost: bool,
    /// Of all partitions, in the order of time.
    pub(super) log: Vec<Record>,
}

impl World {
    pub(super) fn new() -> Self {
        let config = Config::parse(FILE, "test", []).unwrap();
        let start = Instant::now();
        Self {
            lane: Lane::new(&config, BOUNDS, Budget::new(BYTES_MAX), start),
            config,
            start,
            now: 0,
            events: Vec::new(),
            slabs: BTreeMap::new(),
            up: false,
            down_since: 0,
            limit: None,
            session: 0,
            producer: 0,
            incarnation: 0,
            wire: Vec::new(),
            held: Vec::new(),
            receipts: Vec::new(),
            delivered: Vec::new(),
            has_lost: false,
            log: Vec::new(),
        }
    }

    fn time(&self) -> Instant {
        self.start + Duration::from_millis(self.now)
    }

    pub(super) fn step(&mut self, step: Step) {
        match step {
            Step::Append { events, client_key } => {
                self.append(&events, client_key);
            }
            Step::Frame => {
                self.frame();
            }
            Step::Produce { which, fates } => {
                let mut oldest: BTreeMap<(u32, i32), usize> = BTreeMap::new();
                self.read(usize::MAX);
                for (at, held) in self.held.iter().enumerate() {
                    let queue = (held.producer, self.slabs[&held.slab].partition);
                    oldest.entry(queue).or_insert(at);
                }
                let oldest: Vec<_> = oldest.into_values().collect();
                if !oldest.is_empty() {
                    self.produce(oldest[which.index(oldest.len())], &fates);
                }
            }
            Step::Receipt(which) if !self.receipts.is_empty() => {
                let receipt = self.receipts.remove(which.index(self.receipts.len()));
                self.receive(&receipt);
                self.delivered.push(receipt);
            }
            Step::Repeat(which) if !self.delivered.is_empty() => {
                let receipt = self.delivered[which.index(self.delivered.len())].clone();
                // What it says of a slab that was sent again is no news of the second attempt.
                if self.slabs[&receipt.slab].state != State::Sent {
                    self.receive(&receipt);
                }
            }
            Step::LoseReceipt(which) if !self.receipts.is_empty() => {
                self.receipts.remove(which.index(self.receipts.len()));
                self.has_lost = true;
            }
            Step::Receipt(_) | Step::Repeat(_) | Step::LoseReceipt(_) => {}
            Step::Cut { read, restarted } => {
                let some = read.index(self.wire.len() + 1);
                self.cut(some, restarted);
            }
            Step::Connect { limit } => self.connect(limit),
            Step::Recreate => self.incarnation += 1,
            Step::Later { ms, looks } if looks => self.later(ms),
            Step::Later { ms, .. } => self.now += ms,
        }
        self.assert_bytes();
    }

    /// A request with these events. Key 0 is none: sticky. Key 5 belongs into the partition apart. Every third
    /// padding makes an event with a name of its own. Those that were taken.
    pub(super) fn append(&mut self, events: &[(u8, usize)], client_key: bool) -> Vec<usize> {
        let first = self.events.len();
        let [mut sticky, mut keyed] = [(); 2].map(|()| self.config.streams[0].clone());
        keyed.spread.otherwise = Partitioning::Key(0);
        sticky.index = 0;
        let has_keys = events[0].0 != 0;
        let origin = Origin {
            stream: if has_keys { &keyed } else { &sticky },
            base: EventId([0; 16]).plus(first as u64),
            client_key: Bytes::from_static(if client_key { b"a-key" } else { b"" }),
            arrived_ms: self.now as i64,
            trace: <[Bytes; 2]>::default(),
            tells_offsets: false,
        };
        let now = self.time();
        let before: Vec<_> = self.lane.slots.iter().map(|slot| slot.bytes).collect();
        let total = self.lane.bytes();
        let mut appending = Appending::begin(&mut self.lane, &origin, 300 * events.len(), now);
        let mut results = Vec::new();
        for (position, (key, padding)) in (0..).zip(events) {
            let event = first + position as usize;
            let key = (1..5)
                .contains(key)
                .then(|| key.to_string())
                .or((*key == 5).then(|| "vip".into()))
                .filter(|_| has_keys);
            let value = format!(r#"{{"n":{event},"p":"{}"}}"#, "x".repeat(*padding));
            let name = (padding % 3 == 1).then(|| format!("name-{event}"));
            let apart = key.as_deref() == Some("vip");
            let append = Append {
                position,
                value: value.as_bytes(),
                key: key.as_deref().map(str::as_bytes),
                reserved: apart.then_some(APART),
                id: EventId([0; 16]).plus(event as u64),
                name: name.as_deref().map(str::as_bytes),
                counter_keys: SmallVec::from_elem(key.as_deref(), 1),
            };
            let place = appending.append(&append).map(Option::unwrap);
            let bytes = append.bytes();
            drop(append);
            results.push((place, bytes, value, key, name));
        }
        drop(appending);
        let mut taken = Vec::new();
        for (n, (place, bytes, value, key, name)) in (first..).zip(results) {
            let place = match place {
                Ok(place) => place,
                Err(refused) => {
                    self.assert_refusal(refused, bytes, total, &before);
                    self.events.push(None);
                    continue;
                }
            };
            let verdict = self.lane.wait(place.slab).unwrap();
            let slot = self.lane.slabs[&place.slab].slot;
            let known = self.slabs.entry(place.slab).or_insert_with(|| Known {
                partition: slot as i32,
                events: Vec::new(),
                opened: self.now,
                attempts: 0,
                state: State::Waiting,
                sent_as: None,
            });
            assert!(
                known.sent_as.is_none(),
                "nothing joins a slab that was sent"
            );
            assert_eq!(place.event as usize, known.events.len());
            known.events.push(n);
            let expected = match key.as_deref() {
                Some("vip") => APART,
                Some(key) => partition_of(key.as_bytes(), 3) as i32,
                None => known.partition.min(APART - 1),
            };
            assert_eq!(known.partition, expected, "the partition of {key:?}");
            let request = String::from_utf8(origin.client_key.to_vec()).unwrap();
            self.events.push(Some(Event {
                value,
                key,
                client_key: name.unwrap_or(request),
                bytes,
                verdict,
                told: None,
                given_up: false,
                appended_at: self.log.len(),
                told_at: usize::MAX,
            }));
            taken.push(n);
        }
        taken
    }

    /// A frame leaves if it may. Whether one did.
    pub(super) fn frame(&mut self) -> bool {
        let now = self.time();
        let Some(frame) = self.lane.next_frame(now) else {
            return false;
        };
        assert!(self.up && !frame.slabs.is_empty());
        for slab in decoded(&frame) {
            self.assert_may_leave(&slab);
            let events = &self.events;
            let known = self.slabs.get_mut(&slab.id).unwrap();
            match &known.sent_as {
                Some(before) => assert_eq!(&slab, before, "sent again as it was"),
                None => assert_holds(
                    &slab,
                    known
                        .events
                        .iter()
                        .map(|&n| (n, events[n].as_ref().unwrap())),
                ),
            }
            known.attempts += 1;
            known.state = State::Sent;
            self.wire.push(slab.id);
            known.sent_as = Some(slab);
        }
        assert!(self.lane.frames.len() <= BOUNDS.frames_max);
        true
    }

    /// The kafka-producer reads `n` slabs of what is on its way.
    pub(super) fn read(&mut self, n: usize) {
        let n = n.min(self.wire.len());
        self.held
            .extend(self.wire.drain(..n).map(|slab| PendingBytes {
                producer: self.producer,
                session: self.session,
                incarnation: self.incarnation,
                slab,
            }));
    }

    /// Does slab `at` of those that are held; event `i` meets `fates[i]`, cyclically.
    pub(super) fn produce(&mut self, at: usize, fates: &[Fate]) {
        let held = self.held.remove(at);
        let known = &self.slabs[&held.slab];
        let (mut offsets, mut exceptions) = (Vec::new(), Vec::new());
        let mut fate_of = fates.iter().copied().cycle();
        let mut somewhere = false;
        for (index, &event) in (0..).zip(&known.events) {
            let fate = fate_of.next().unwrap();
            if fate.is_appended() {
                let here = (self.incarnation, known.partition);
                let offset = self
                    .log
                    .iter()
                    .filter(|r| (r.incarnation, r.partition) == here)
                    .count() as i64;
                self.log.push(Record {
                    incarnation: here.0,
                    partition: here.1,
                    offset,
                    event,
                });
                offsets.extend((fate == Fate::Stored).then_some(offset));
            }
            somewhere |= fate == Fate::StoredSomewhere;
            if fate.told() != Wire::Stored {
                let (outcome, detail) = (fate.told().into(), String::new());
                exceptions.push(Exception {
                    index,
                    outcome,
                    detail,
                });
            }
        }
        // As the kafka-producer does: one outcome for a slab of which nothing is stored for one reason,
        // offsets only if each is known and the topic is the same.
        let mut outcome = Wire::Stored.into();
        if exceptions.len() == known.events.len()
            && exceptions
                .iter()
                .all(|e| e.outcome == exceptions[0].outcome)
        {
            outcome = exceptions[0].outcome;
            exceptions.clear();
        }
        let is_known = !somewhere && held.incarnation == self.incarnation;
        if held.session == self.session && self.up {
            self.receipts.push(Receipt {
                slab: held.slab,
                outcome,
                first: offsets.iter().min().copied().filter(|_| is_known),
                last: offsets.iter().max().copied().filter(|_| is_known),
                incarnation: held.incarnation.to_string(),
                exceptions,
                ..Receipt::default()
            });
        }
    }

    /// Hands the lane a receipt, and checks what it makes of it.
    pub(super) fn receive(&mut self, receipt: &Receipt) {
        let now = self.time();
        let finished = self.lane.receipt(receipt, now);
        let known = self.slabs.get_mut(&receipt.slab).unwrap();
        if known.state != State::Sent {
            assert!(
                finished.is_none(),
                "a receipt that comes twice changes nothing"
            );
            return;
        }
        let told = |index: usize| {
            let exception = receipt
                .exceptions
                .iter()
                .find(|e| e.index as usize == index);
            exception.map_or(receipt.outcome(), Exception::outcome)
        };
        let may_become_known = (0..known.events.len()).any(|index| match told(index) {
            Wire::Unknown => true,
            Wire::NotStored => known.attempts > 1,
            Wire::Stored | Wire::TooLarge => false,
        });
        let is_over = self.now >= known.opened + BOUNDS.ack_timeout.as_millis() as u64;
        assert_eq!(
            finished.is_some(),
            is_over || !may_become_known,
            "{receipt:?}"
        );
        let Some(finished) = finished else {
            known.state = State::Waiting;
            return;
        };
        let first_attempt = known.attempts == 1;
        let expected = (0..known.events.len()).map(|index| match told(index) {
            Wire::Stored => Outcome::Stored,
            Wire::NotStored if first_attempt => Outcome::NotStored,
            Wire::TooLarge if first_attempt => Outcome::TooLarge,
            _ => Outcome::Unknown,
        });
        let expected: Vec<_> = expected.collect();
        self.finish(finished, &expected);
    }

    fn cut(&mut self, read: usize, restarted: bool) {
        self.read(read);
        self.wire.clear();
        self.receipts.clear();
        self.delivered.clear();
        self.has_lost = false;
        // What a killed kafka-producer had sent may still be appended, at any time.
        self.producer += u32::from(restarted);
        if std::mem::replace(&mut self.up, false) {
            self.down_since = self.now;
        }
        let now = self.time();
        self.lane.disconnected(now);
        let sent = self.slabs.values_mut().filter(|k| k.state == State::Sent);
        sent.for_each(|known| known.state = State::Waiting);
    }

    pub(super) fn connect(&mut self, limit: Option<u32>) {
        if self.up {
            return;
        }
        (self.up, self.limit) = (true, limit);
        self.session += 1;
        let limit = limit.map(|record_bytes_max| TopicLimit {
            topic: "t".into(),
            record_bytes_max,
        });
        self.lane.connected(limit.as_slice());
    }

    fn later(&mut self, ms: u64) {
        self.now += ms;
        let (now, mut done) = (self.time(), Vec::new());
        self.lane.tick(now, |finished| done.push(finished));
        for finished in done {
            let known = &self.slabs[&finished.slab.id];
            let outcome = if known.attempts == 0 {
                Outcome::NotStored
            } else {
                Outcome::Unknown
            };
            let expected = vec![outcome; known.events.len()];
            assert!(
                known.opened + 10_000 <= self.now,
                "given up before its time"
            );
            for n in &known.events {
                self.events[*n].as_mut().unwrap().given_up = true;
            }
            self.finish(finished, &expected);
        }
        let overdue = |k: &&Known| k.state != State::Done && k.opened + 10_000 <= self.now;
        assert_eq!(
            self.slabs.values().filter(overdue).count(),
            0,
            "beyond the deadline"
        );
    }

    /// Everything is well from now on: whatever has time left is stored, and nothing stays behind.
    pub(super) fn heal(&mut self) {
        if self.has_lost {
            self.cut(usize::MAX, false);
        }
        self.connect(None);
        let mut hopeful: Vec<usize> = Vec::new();
        for known in self.slabs.values() {
            if known.state != State::Done && known.opened + 4000 > self.now && known.attempts < 20 {
                hopeful.extend(&known.events);
            }
        }
        for _ in 0..400 {
            loop {
                while self.frame() {}
                self.read(usize::MAX);
                if self.held.is_empty() && self.receipts.is_empty() {
                    break;
                }
                while !self.held.is_empty() {
                    self.produce(0, &[Fate::Stored]);
                }
                for receipt in std::mem::take(&mut self.receipts) {
                    self.receive(&receipt);
                }
            }
            if self.lane.is_empty() {
                break;
            }
            self.later(50);
        }
        self.assert_bytes();
        assert!(self.lane.is_empty() && self.lane.bytes() == 0 && self.lane.frames.is_empty());
        let rest = |s: &Slot| s.bytes > 0 || !s.sent.is_empty() || s.has_more() || s.is_slow;
        assert!(!self.lane.slots.iter().any(rest));
        let given_up = |n: &usize| self.events[*n].as_ref().is_some_and(|e| e.given_up);
        let forgotten = hopeful.into_iter().find(given_up);
        assert_eq!(forgotten, None, "it had time left and was not sent");
    }
}
