//! Where every cart is, and which strays were reported: what was said in the last minute. Pure: the time is an argument.
//!
//! What is said counts from its arrival at the gateway. "Now" is the latest time that this process was ever told, so a
//! clock that is put back brings nobody back. A gateway whose clock is early cannot make a cart stay: what is stamped
//! with a time to come counts from the moment that it is read. One whose clock is late makes carts go early, and by
//! more than a minute, makes them never come: nothing tells such a word from an old one. How many came too late is
//! counted.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};

use aguacero::id::EventId;

use crate::place::Place;

/// How long a word holds.
pub const HOLDS_MS: i64 = 60_000;
/// Strays that are shown at the same time: anybody may report some. Beyond it the oldest is forgotten.
pub const STRAYS_MAX: usize = 1000;
/// The same for carts.
pub const CARTS_MAX: usize = 100_000;

/// What is known now.
#[derive(Debug, Clone, Default)]
pub struct Map {
    now_ms: i64,
    carts: BTreeMap<String, Seen>,
    strays: BTreeMap<EventId, Seen>,
    /// When each word ends: the next one is first.
    ends: BTreeSet<(i64, Who)>,
    /// Events of the last minute: a client may send one again, and it says nothing new.
    heard: HashSet<EventId>,
    /// Until when each is remembered, in order.
    remembered: VecDeque<(i64, EventId)>,
    too_late: u64,
}

/// Where something was.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Seen {
    /// Where.
    pub place: Place,
    /// When that was said.
    pub said_ms: i64,
}

/// Whom a word is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    /// A cart, by its plate.
    Cart(String),
    /// A stray, by the report.
    Stray(EventId),
}

/// What has changed.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// It is somewhere else, or new.
    At(Who, Place),
    /// Nothing was heard of it for a minute.
    Gone(Who, Place),
}

impl Map {
    /// By the event `id`, said at `at_ms` and read at `now_ms`, somebody was at `place`. None if that changes nothing that
    /// is shown.
    pub fn hear(
        &mut self,
        id: EventId,
        (who, place): (Who, Place),
        at_ms: i64,
        now_ms: i64,
    ) -> Option<Change> {
        self.now_ms = self.now_ms.max(now_ms);
        let said_ms = at_ms.min(self.now_ms);
        if said_ms.saturating_add(HOLDS_MS) <= self.now_ms {
            self.too_late += 1;
            return None;
        }
        if !self.heard.insert(id) {
            return None;
        }
        self.remembered.push_back((self.now_ms + HOLDS_MS, id));
        let before = self.seen(&who);
        if before.is_some_and(|before| said_ms < before.said_ms) {
            return None; // something newer was said already
        }
        if let Some(before) = before {
            self.ends.remove(&(before.said_ms + HOLDS_MS, who.clone()));
        }
        self.ends.insert((said_ms + HOLDS_MS, who.clone()));
        let seen = Seen { place, said_ms };
        match &who {
            Who::Cart(plate) => _ = self.carts.insert(plate.clone(), seen),
            Who::Stray(id) => _ = self.strays.insert(*id, seen),
        }
        let is_news = before.is_none_or(|before| before.place != place);
        is_news.then_some(Change::At(who, place))
    }

    /// Forgets what has held its minute at `now_ms`, and what there is no room for.
    pub fn expire(&mut self, now_ms: i64) -> Vec<Change> {
        self.now_ms = self.now_ms.max(now_ms);
        let is_over = |(end, _): &mut (i64, EventId)| *end <= self.now_ms;
        while let Some((_, id)) = self.remembered.pop_front_if(is_over) {
            self.heard.remove(&id);
        }
        let mut gone = Vec::new();
        while let Some((end, who)) = self.ends.first().cloned() {
            if end > self.now_ms {
                break;
            }
            gone.extend(self.forget(end, who));
        }
        while self.strays.len() > STRAYS_MAX || self.carts.len() > CARTS_MAX {
            let too_many_carts = self.carts.len() > CARTS_MAX;
            let oldest = self.ends.iter();
            let mut oldest =
                oldest.filter(|(_, who)| matches!(who, Who::Cart(_)) == too_many_carts);
            let Some((end, who)) = oldest.next().cloned() else {
                break;
            };
            gone.extend(self.forget(end, who));
        }
        gone
    }

    /// Carts by plate.
    pub fn carts(&self) -> impl Iterator<Item = (&str, &Seen)> {
        self.carts
            .iter()
            .map(|(plate, seen)| (plate.as_str(), seen))
    }

    /// Strays, the newest first.
    #[must_use]
    pub fn strays(&self) -> Vec<&Seen> {
        let mut strays: Vec<_> = self.strays.iter().collect();
        strays.sort_by_key(|(id, seen)| (std::cmp::Reverse(seen.said_ms), **id));
        strays.into_iter().map(|(_, seen)| seen).collect()
    }

    /// The latest time that it was told.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        self.now_ms
    }

    /// Words that were older than a minute when they came.
    #[must_use]
    pub fn too_late(&self) -> u64 {
        self.too_late
    }

    fn seen(&self, who: &Who) -> Option<Seen> {
        match who {
            Who::Cart(plate) => self.carts.get(plate),
            Who::Stray(id) => self.strays.get(id),
        }
        .copied()
    }

    fn forget(&mut self, end: i64, who: Who) -> Option<Change> {
        let seen = match &who {
            Who::Cart(plate) => self.carts.remove(plate),
            Who::Stray(id) => self.strays.remove(id),
        };
        let entry = (end, who);
        self.ends.remove(&entry);
        seen.map(|seen| Change::Gone(entry.1, seen.place))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    const NOW: i64 = 1_800_000_000_000;

    fn place(n: i64) -> Place {
        Place {
            lat: -33.0 - n as f64 / 1000.0,
            lon: -70.0,
        }
    }

    fn cart(plate: &str) -> Who {
        Who::Cart(plate.into())
    }

    fn stray(n: u32) -> Who {
        Who::Stray(EventId(u128::from(n).to_be_bytes()))
    }

    /// By an event of its own.
    fn hear(map: &mut Map, who: Who, place: Place, at_ms: i64, now_ms: i64) -> Option<Change> {
        static IDS: AtomicU64 = AtomicU64::new(0);
        let id = u128::from(IDS.fetch_add(1, Ordering::Relaxed));
        map.hear(EventId(id.to_be_bytes()), (who, place), at_ms, now_ms)
    }

    fn plates(map: &Map) -> Vec<&str> {
        map.carts().map(|(plate, _)| plate).collect()
    }

    #[test]
    fn a_cart_is_where_it_was_last_and_gone_a_minute_after_its_last_word() {
        let mut map = Map::default();
        let came = hear(&mut map, cart("A"), place(1), NOW, NOW);
        assert_eq!(came, Some(Change::At(cart("A"), place(1))));
        let moved = hear(&mut map, cart("A"), place(2), NOW + 30_000, NOW + 30_000);
        assert_eq!(moved, Some(Change::At(cart("A"), place(2))));
        assert_eq!(
            hear(&mut map, cart("A"), place(2), NOW + 31_000, NOW + 31_000),
            None
        );
        assert!(map.expire(NOW + 31_000 + HOLDS_MS - 1).is_empty());
        let gone = map.expire(NOW + 31_000 + HOLDS_MS);
        assert_eq!(gone, [Change::Gone(cart("A"), place(2))]);
        assert!(plates(&map).is_empty() && map.ends.is_empty());
    }

    #[test]
    fn what_is_read_late_counts_from_its_arrival() {
        let mut map = Map::default();
        hear(&mut map, cart("A"), place(1), NOW - 59_000, NOW);
        assert_eq!(plates(&map), ["A"]);
        assert_eq!(map.expire(NOW + 1000).len(), 1);
        assert_eq!(
            hear(&mut map, cart("B"), place(1), NOW - 59_000, NOW + 1000),
            None
        );
        assert_eq!((plates(&map).len(), map.too_late()), (0, 1));
    }

    #[test]
    fn what_was_said_before_does_not_replace_what_was_said_later() {
        let mut map = Map::default();
        hear(&mut map, cart("A"), place(2), NOW, NOW);
        assert_eq!(
            hear(&mut map, cart("A"), place(1), NOW - 5000, NOW + 10),
            None
        );
        assert_eq!(map.carts().next().map(|(_, s)| s.place), Some(place(2)));
        // At the same moment, what comes later was said later.
        assert!(hear(&mut map, cart("A"), place(3), NOW, NOW + 20).is_some());
    }

    #[test]
    fn an_event_that_is_sent_again_says_nothing_new() {
        let mut map = Map::default();
        let (first, second) = (EventId([1; 16]), EventId([2; 16]));
        map.hear(first, (cart("A"), place(1)), NOW, NOW);
        map.hear(second, (cart("A"), place(2)), NOW + 1000, NOW + 1000);
        let again = map.hear(first, (cart("A"), place(1)), NOW + 2000, NOW + 2000);
        assert_eq!(again, None);
        assert_eq!(map.carts().next().map(|(_, s)| s.place), Some(place(2)));
        map.expire(NOW + 1000 + HOLDS_MS);
        assert!(map.heard.is_empty() && map.remembered.is_empty());
    }

    #[test]
    fn an_early_clock_makes_nothing_stay_and_hides_no_other_cart() {
        let mut map = Map::default();
        hear(&mut map, cart("A"), place(1), NOW + 3_600_000, NOW);
        hear(&mut map, cart("B"), place(1), NOW, NOW);
        assert_eq!(plates(&map), ["A", "B"]);
        // Another gateway, whose clock is right, hears of it.
        assert!(hear(&mut map, cart("A"), place(2), NOW + 5000, NOW + 5000).is_some());
        assert_eq!(map.expire(NOW + HOLDS_MS).len(), 1, "B");
        assert_eq!(map.expire(NOW + 5000 + HOLDS_MS).len(), 1, "A");
    }

    #[test]
    fn a_clock_that_is_put_back_brings_nobody_back() {
        let mut map = Map::default();
        hear(&mut map, cart("A"), place(1), NOW, NOW);
        map.expire(NOW + HOLDS_MS);
        assert_eq!(hear(&mut map, cart("A"), place(1), NOW, NOW - 1000), None);
        assert_eq!(map.now_ms(), NOW + HOLDS_MS);
    }

    #[test]
    fn no_stamp_is_too_strange() {
        let mut map = Map::default();
        for stamp in [i64::MIN, -1, 0, i64::MAX] {
            hear(&mut map, cart("A"), place(1), stamp, NOW);
        }
        assert_eq!(map.too_late(), 3);
        assert_eq!(plates(&map), ["A"]);
    }

    #[test]
    fn strays_are_apart_each_report_once_and_bounded() {
        let mut map = Map::default();
        hear(&mut map, cart("A"), place(1), NOW, NOW);
        for n in 0..STRAYS_MAX as u32 + 5 {
            let at = NOW + i64::from(n);
            hear(&mut map, stray(n), place(i64::from(n)), at, NOW + 10_000);
        }
        assert_eq!(
            hear(&mut map, stray(7), place(7), NOW + 7, NOW + 10_000),
            None,
            "a repeat"
        );
        let gone = map.expire(NOW + 10_000);
        let first: Vec<_> = (0..5)
            .map(|n| Change::Gone(stray(n), place(i64::from(n))))
            .collect();
        assert_eq!(gone, first, "the oldest give way");
        assert_eq!((map.strays().len(), plates(&map).len()), (STRAYS_MAX, 1));
        let newest = NOW + STRAYS_MAX as i64 + 4;
        assert_eq!(map.strays()[0].said_ms, newest);
    }
}
