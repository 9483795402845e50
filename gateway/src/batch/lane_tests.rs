//! The lane's promises, checked on its state alone.

use std::{collections::HashSet, rc::Rc};

use aguacero_proto::produce::Exception;
use tokio::sync::oneshot::Receiver;

use super::*;
use crate::batch::{
    append::{Append, Appending, Origin, Refused},
    slab::decoded,
    slot::BYTES_ALLOWED_MIN,
    ticket::Place,
};
use aguacero::id::EventId;
use prost::Message as _;
use smallvec::SmallVec;

const FILE: &str = r#"
[topics.t]
partitions = 3
reserved = { apart = 2 }

[streams.s]
topic = "t"
key = "k"
rules = [ { when = { field = "vip", is = [true] }, partition = "apart" } ]
fields = [ { name = "k", type = "string" }, { name = "vip", type = "boolean" } ]
[[streams.s.routes]]
path = "/s"
"#;

fn config() -> Config {
    Config::parse(FILE, "test", []).unwrap()
}

fn bounds() -> Bounds {
    Bounds {
        frames_max: 2,
        slab_bytes_max: 2000,
        partition_bytes_max: 4000,
        ack_timeout: Duration::from_secs(10),
        partition_slow: Duration::from_secs(1),
    }
}

/// A lane that is connected, and the clock it is shown.
struct Bench {
    config: Config,
    lane: Lane,
    start: Instant,
    /// Whether clients ask where their events are.
    tells_offsets: bool,
}

impl Bench {
    fn new() -> Self {
        let (config, start) = (config(), Instant::now());
        let mut lane = Lane::new(&config, bounds(), Budget::new(6000), start);
        lane.connected(&[]);
        Self {
            config,
            lane,
            start,
            tells_offsets: false,
        }
    }

    fn at(&self, ms: u64) -> Instant {
        self.start + Duration::from_millis(ms)
    }

    fn append(
        &mut self,
        id: u64,
        key: Option<&str>,
        ms: u64,
    ) -> Result<(Place, Receiver<Rc<Verdict>>), Refused> {
        let taken = self.request(id, &[0], key, ms).remove(0)?;
        let verdict = self.lane.wait(taken.slab).unwrap();
        Ok((taken, verdict))
    }

    /// A request whose ids begin with `base`, with events at these positions.
    fn request(
        &mut self,
        base: u64,
        positions: &[u32],
        key: Option<&str>,
        ms: u64,
    ) -> Vec<Result<Place, Refused>> {
        let now = self.at(ms);
        let origin = Origin {
            stream: &self.config.streams[0],
            base: EventId([0; 16]).plus(base),
            client_key: Bytes::new(),
            arrived_ms: 0,
            trace: <[Bytes; 2]>::default(),
            tells_offsets: self.tells_offsets,
        };
        let estimated = origin.estimate(positions.len(), 10 * positions.len());
        let mut appending = Appending::begin(&mut self.lane, &origin, estimated, now);
        let places = positions.iter().map(|&position| {
            let place = appending.append(&Append {
                position,
                value: br#"{"k":"v"}"#,
                key: key.map(str::as_bytes),
                reserved: None,
                id: origin.base.plus(position.into()),
                name: None,
                counter_keys: SmallVec::new(),
            });
            place.map(Option::unwrap)
        });
        places.collect()
    }

    /// The slabs of the next frame.
    fn frame(&mut self, ms: u64) -> Option<Vec<produce::Slab>> {
        let now = self.at(ms);
        Some(decoded(&self.lane.next_frame(now)?))
    }

    fn receive(&mut self, slab: u64, outcome: produce::Outcome, ms: u64) -> Option<Finished> {
        let receipt = Receipt {
            slab,
            outcome: outcome.into(),
            ..Receipt::default()
        };
        let now = self.at(ms);
        let mut finished = self.lane.receipt(&receipt, now)?;
        finished.slab.resolve(finished.verdict.clone());
        Some(finished)
    }

    fn tick(&mut self, ms: u64) -> usize {
        let (now, mut count) = (self.at(ms), 0);
        self.lane.tick(now, |mut finished| {
            finished.slab.resolve(finished.verdict.clone());
            count += 1;
        });
        count
    }
}

fn told(verdict: &mut Receiver<Rc<Verdict>>) -> Option<Outcome> {
    verdict.try_recv().ok().map(|v| v.outcome)
}

#[test]
fn a_lone_event_leaves_at_once_and_others_join_while_frames_are_away() {
    let mut b = Bench::new();
    for id in 0..2 {
        b.append(id, None, 0).unwrap();
        assert_eq!(b.frame(0).unwrap().len(), 1);
    }
    for id in 2..7 {
        b.append(id, Some("x"), 0).unwrap();
    }
    assert!(b.frame(0).is_none(), "two frames are away");
    b.receive(1, produce::Outcome::Stored, 0).unwrap();
    let frame = b.frame(0).unwrap();
    assert_eq!(frame.iter().map(|s| s.ends.len()).sum::<usize>(), 5);
}

#[test]
fn what_the_events_of_a_request_have_in_common_is_sent_once() {
    let mut b = Bench::new();
    b.request(100, &[5, 6, 7, 9], Some("x"), 0);
    b.request(200, &[0, 1], Some("x"), 0);
    let slab = b.frame(0).unwrap().remove(0);
    let requests = slab.requests.iter().map(|r| (r.base_low, r.events));
    assert_eq!(requests.collect::<Vec<_>>(), [(100, 4), (200, 2)]);
    assert_eq!(slab.gaps, [5, 0, 0, 1, 0, 0]);
    assert!(slab.ids.is_empty());
}

#[test]
fn a_request_that_begins_while_there_is_room_is_taken_whole() {
    let mut b = Bench::new();
    let positions: Vec<u32> = (0..1000).collect(); // far beyond every bound
    let places = b.request(0, &positions, Some("x"), 0);
    assert!(places.iter().all(Result::is_ok));
    assert_eq!(b.append(0, Some("x"), 0).err(), Some(Refused::Full));
    assert_eq!(b.append(0, None, 0).err(), Some(Refused::Full), "in all");
    assert_eq!(b.lane.budget.taken(), b.lane.bytes());

    b.lane.budget = Budget::new(1 << 20);
    let places = b.request(0, &positions, Some("x"), 0);
    assert!(
        places.iter().all(|p| p.err() == Some(Refused::Full)),
        "or not at all"
    );
    b.append(0, None, 0)
        .expect("sticky spreading knows another");
}

#[test]
fn a_frame_encodes_to_what_can_be_sent() {
    let mut b = Bench::new();
    b.lane.bounds.slab_bytes_max = 1 << 20;
    b.lane.bounds.frames_max = 64;
    for base in 0..8 {
        let positions: Vec<u32> = (0..200_000).step_by(2).collect();
        b.lane.budget = Budget::new(1 << 30);
        b.lane.bounds.partition_bytes_max = 1 << 30;
        b.request(base << 32, &positions, Some("x"), 0);
    }
    let (mut events, mut frames) = (0, 0);
    let now = b.at(0);
    events += b
        .frame(0)
        .unwrap()
        .iter()
        .map(|s| s.ends.len())
        .sum::<usize>();
    b.append(1, Some("x"), 0).unwrap(); // into a slab of its own
    while let Some(frame) = b.lane.next_frame(now) {
        assert!(frame.slabs.iter().all(|slab| slab.len() <= 1 << 20));
        assert!(frame.encoded_len() <= FRAME_BYTES_MAX + 64);
        events += decoded(&frame).iter().map(|s| s.ends.len()).sum::<usize>();
        frames += 1;
    }
    assert_eq!(events, 800_001);
    assert!(frames > 1, "{frames}");
}

#[test]
fn events_with_and_without_a_key_keep_theirs() {
    let mut b = Bench::new();
    b.lane.topics[0].ordinary = vec![0]; // all in one slab
    b.append(0, None, 0).unwrap();
    b.append(1, Some("ab"), 0).unwrap();
    b.append(2, Some(""), 0).unwrap();
    b.append(3, None, 0).unwrap();
    let slab = b.frame(0).unwrap().remove(0);
    assert_eq!(
        (&slab.keys[..], &slab.key_lens[..]),
        (&b"ab"[..], &[0, 3, 1, 0][..])
    );
}

#[test]
fn what_certainly_was_not_stored_is_told_apart_from_what_nobody_knows() {
    for (attempts, outcome, expected) in [
        (1, produce::Outcome::NotStored, Outcome::NotStored),
        (2, produce::Outcome::NotStored, Outcome::Unknown),
        (1, produce::Outcome::TooLarge, Outcome::TooLarge),
        (2, produce::Outcome::TooLarge, Outcome::Unknown),
        (2, produce::Outcome::Stored, Outcome::Stored),
    ] {
        let mut b = Bench::new();
        let (place, mut verdict) = b.append(0, None, 0).unwrap();
        for attempt in 1..attempts {
            assert!(b.frame(attempt).is_some());
            let now = b.at(attempt);
            b.lane.disconnected(now);
            b.lane.connected(&[]);
        }
        assert!(b.frame(10).is_some());
        if expected == Outcome::Unknown && outcome != produce::Outcome::TooLarge {
            // It is sent again until the deadline, and answered only then; what is too large never
            // becomes less.
            assert!(b.receive(place.slab, outcome, 20).is_none());
            b.tick(10_000);
        } else {
            b.receive(place.slab, outcome, 20);
        }
        assert_eq!(told(&mut verdict), Some(expected), "{attempts} {outcome:?}");
    }
}

#[test]
fn an_unknown_slab_is_sent_again_before_anything_newer_of_its_partition() {
    let mut b = Bench::new();
    let (first, _kept) = b.append(0, Some("x"), 0).unwrap();
    b.frame(0).unwrap();
    let (second, _kept) = b.append(1, Some("x"), 0).unwrap();
    assert!(
        b.receive(first.slab, produce::Outcome::Unknown, 1)
            .is_none()
    );
    assert!(
        b.frame(1).is_none(),
        "it pauses, and the newer one waits behind it"
    );
    let again: Vec<_> = b.frame(100).unwrap().iter().map(|s| s.id).collect();
    assert_eq!(again, [first.slab, second.slab]);
}

#[test]
fn unknown_slabs_are_sent_again_oldest_first_whichever_was_known_first() {
    let mut b = Bench::new();
    for id in 0..2 {
        b.append(id, Some("x"), 0).unwrap();
        b.frame(0).unwrap();
    }
    for slab in [2, 1] {
        assert!(b.receive(slab, produce::Outcome::Unknown, 1).is_none());
    }
    let again: Vec<_> = b.frame(100).unwrap().iter().map(|s| s.id).collect();
    assert_eq!(again, [1, 2]);
}

#[test]
fn a_pause_before_sending_again_ends_with_the_slab_that_it_is_for() {
    let mut b = Bench::new();
    let (place, _kept) = b.append(0, Some("x"), 0).unwrap();
    b.frame(0).unwrap();
    assert!(
        b.receive(place.slab, produce::Outcome::Unknown, 9990)
            .is_none()
    );
    b.tick(10_000);
    b.append(1, Some("x"), 10_000).unwrap();
    assert!(b.frame(10_000).is_some(), "a lone event leaves at once");
}

#[test]
fn a_lost_link_sends_everything_again_in_the_same_order_with_the_same_ids() {
    let mut b = Bench::new();
    let mut frames = Vec::new();
    for id in [0, 10] {
        b.append(id, Some("x"), 0).unwrap();
        frames.extend(b.frame(0).unwrap());
    }
    let now = b.at(5);
    b.lane.disconnected(now);
    assert!(b.frame(5).is_none());
    b.lane.connected(&[]);
    let again = b.frame(5).unwrap();
    assert_eq!(again, frames);
}

#[test]
fn beyond_the_deadline_nothing_is_kept_and_everyone_is_told() {
    let mut b = Bench::new();
    let (_, mut sent) = b.append(0, Some("x"), 0).unwrap();
    b.frame(0).unwrap();
    let now = b.at(1);
    b.lane.disconnected(now);
    let (_, mut unsent) = b.append(1, Some("x"), 1).unwrap();
    // The second joined a slab of its own, since the first is closed.
    assert_eq!(b.tick(10_000), 1);
    assert_eq!(b.tick(10_001), 1);
    assert_eq!(told(&mut sent), Some(Outcome::Unknown));
    assert_eq!(told(&mut unsent), Some(Outcome::NotStored));
    assert!(b.lane.is_empty());
    assert_eq!(b.lane.bytes(), 0);
    assert!(
        b.receive(1, produce::Outcome::Stored, 10_002).is_none(),
        "a late receipt changes nothing"
    );
}

#[test]
fn while_it_takes_long_no_more_may_wait_than_is_stored_in_half_a_second() {
    let mut b = Bench::new();
    b.lane.bounds = Bounds {
        slab_bytes_max: 10_000,
        partition_bytes_max: 1 << 20,
        ..bounds()
    };
    b.lane.budget = Budget::new(1 << 20);
    let fill = |b: &mut Bench, ms| {
        let mut id = 0;
        while b.append(id, Some("x"), ms).is_ok() && b.lane.bytes() < 600_000 {
            id += 1;
        }
        b.lane.bytes()
    };
    assert!(fill(&mut b, 0) >= 600_000, "a burst is taken");
    b.frame(0);
    b.tick(200);
    assert!(fill(&mut b, 200) >= 600_000, "a hiccup is waited for");
    b.tick(300);
    assert_eq!(b.append(0, Some("x"), 300).err(), Some(Refused::Full));
    b.append(0, None, 300).unwrap(); // sticky spreading knows others

    let sent: Vec<u64> = b.lane.slabs.keys().copied().collect();
    let mut stored = 0;
    for slab in sent {
        let before = b.lane.bytes();
        if stored < 400_000 && b.receive(slab, produce::Outcome::Stored, 500).is_some() {
            stored += before - b.lane.bytes();
            b.frame(500);
        }
    }
    b.tick(520);
    let crowded = b
        .lane
        .slots
        .iter()
        .filter_map(|slot| slot.bytes_allowed)
        .max();
    assert_eq!(
        crowded,
        Some((stored / 2 / PACE_OVER as usize).max(BYTES_ALLOWED_MIN))
    );
}

#[test]
fn a_slow_partition_stops_nobody_else() {
    let mut b = Bench::new();
    b.lane.bounds.partition_bytes_max = 10_000;
    b.lane.budget = Budget::new(20_000);
    // With keys, so that both frames are for one partition.
    b.append(0, Some("x"), 0).unwrap();
    b.frame(0).unwrap();
    b.append(1, Some("x"), 0).unwrap();
    b.frame(0).unwrap();
    let slow = b.lane.slabs[&1].slot;
    b.append(2, None, 0).unwrap();
    assert!(b.frame(500).is_none());
    b.tick(1000);
    assert!(b.frame(1000).is_some());
    assert_eq!(b.append(3, Some("x"), 1000).err(), Some(Refused::Away));
    for id in 4..20 {
        let (place, _) = b.append(id, None, 1000).unwrap();
        assert_ne!(
            b.lane.slabs[&place.slab].slot, slow,
            "sticky spreading passes over it"
        );
        b.frame(1000);
    }
    for slab in [1, 2] {
        b.receive(slab, produce::Outcome::Stored, 1100).unwrap();
    }
    assert!(
        b.append(30, Some("x"), 1100).is_ok(),
        "and it is back with its receipts"
    );
}

#[test]
fn a_partition_that_does_not_store_is_tried_now_and_then_as_long_as_another_does() {
    let mut b = Bench::new();
    let (mut refused, mut id) = (0, 0);
    let ill = b.lane.topics[0].ordinary[0] as usize;
    for ms in (0..20_000).step_by(100) {
        let (place, _) = b.append(id, None, ms).unwrap();
        b.frame(ms).unwrap();
        let outcome = match b.lane.slabs[&place.slab].slot == ill {
            true => produce::Outcome::NotStored,
            false => produce::Outcome::Stored,
        };
        refused += u32::from(outcome == produce::Outcome::NotStored);
        b.receive(place.slab, outcome, ms + 50).unwrap();
        id += 1;
    }
    assert_eq!(refused, 2, "once, and again after ten seconds");
    // One stores again, and so the other may.
    for slot in 0..2 {
        b.lane.slots[slot].avoided_until = Some(b.at(60_000));
    }
    let used: HashSet<_> = (0..4)
        .map(|i| {
            let (place, _) = b.append(id + i, None, 30_000).unwrap();
            b.frame(30_000).unwrap();
            let slot = b.lane.slabs[&place.slab].slot;
            b.receive(place.slab, produce::Outcome::Stored, 30_000);
            slot
        })
        .collect();
    assert_eq!(used.len(), 2);
}

#[test]
fn while_the_link_is_away_for_long_events_are_refused_at_once() {
    let mut b = Bench::new();
    let now = b.at(0);
    b.lane.disconnected(now);
    assert!(
        b.append(0, None, 900).is_ok(),
        "a restart of the sidecar is waited for"
    );
    assert_eq!(b.append(1, None, 1100).err(), Some(Refused::Away));
}

#[test]
fn bytes_are_bounded_for_each_partition_and_in_all_but_for_one_request() {
    let mut b = Bench::new();
    let mut taken = 0;
    while b.append(taken, Some("x"), 0).is_ok() {
        taken += 1;
    }
    let one = b.lane.bytes() / taken as usize;
    assert!((4000..4000 + one).contains(&b.lane.bytes()));
    assert_eq!(b.append(taken, Some("x"), 0).err(), Some(Refused::Full));
    while b.append(taken, None, 0).is_ok() {
        taken += 1;
        b.frame(0); // sticky spreading moves on
    }
    assert!((6000..6000 + one).contains(&b.lane.bytes()));
    assert_eq!(b.lane.budget.taken(), b.lane.bytes());
}

/// Three events in one slab, of which the second was not stored; where the others are.
fn places(asked: bool, offsets: Vec<i64>, last: i64) -> [Option<(i32, Option<i64>)>; 2] {
    let mut b = Bench::new();
    b.tells_offsets = asked;
    let (place, mut verdict) = b.append(0, Some("x"), 0).unwrap();
    for id in 1..3 {
        b.append(id, Some("x"), 0).unwrap();
    }
    assert_eq!(b.frame(0).unwrap()[0].tell_offsets, asked);
    let too_large = Exception {
        index: 1,
        outcome: produce::Outcome::TooLarge.into(),
        detail: String::new(),
    };
    let receipt = Receipt {
        slab: place.slab,
        outcome: produce::Outcome::Stored.into(),
        first: Some(10),
        last: Some(last),
        exceptions: vec![too_large],
        offsets,
        ..Receipt::default()
    };
    let now = b.at(1);
    let mut finished = b.lane.receipt(&receipt, now).unwrap();
    finished.slab.resolve(finished.verdict.clone());
    let verdict = verdict.try_recv().unwrap();
    [0, 2].map(|event| {
        let place = verdict.events_from(event).next()?.1?;
        assert_eq!(place.0, finished.partition);
        Some(place)
    })
}

#[test]
fn whoever_asks_is_told_where_each_stored_event_is_and_never_a_guess() {
    let offsets = |told: [Option<(i32, Option<i64>)>; 2]| told.map(|at| at.unwrap().1);
    assert_eq!(offsets(places(true, vec![], 11)), [Some(10), Some(11)]);
    assert_eq!(offsets(places(true, vec![0, 7], 17)), [Some(10), Some(17)]);
    assert_eq!(offsets(places(true, vec![2, -2], 12)), [Some(12), Some(10)]);
    assert_eq!(
        offsets(places(true, vec![], 12)),
        [None, None],
        "with a gap somewhere"
    );
    assert_eq!(
        offsets(places(true, vec![0], 12)),
        [None, None],
        "of something else"
    );
    assert_eq!(places(false, vec![], 11), [None, None]);
}

#[test]
fn an_exception_is_the_outcome_of_its_event_only() {
    let mut b = Bench::new();
    let (place, mut verdict) = b.append(0, Some("x"), 0).unwrap();
    b.append(1, Some("x"), 0).unwrap();
    b.frame(0).unwrap();
    let receipt = Receipt {
        slab: place.slab,
        outcome: produce::Outcome::Stored.into(),
        exceptions: vec![Exception {
            index: 1,
            outcome: produce::Outcome::TooLarge.into(),
            detail: "big".into(),
        }],
        ..Receipt::default()
    };
    let now = b.at(1);
    let mut finished = b.lane.receipt(&receipt, now).unwrap();
    finished.slab.resolve(finished.verdict.clone());
    let verdict = verdict.try_recv().unwrap();
    assert_eq!(verdict.outcome, Outcome::Stored);
    assert_eq!(verdict.exceptions, [(1, Outcome::TooLarge)]);
}
