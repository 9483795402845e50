//! How fast a key may send: a bucket of events, filled at the rate, that may go into debt.
//!
//! A request is let in while there is anything in the bucket, and takes as many as it has records, so that no
//! batch is too large to ever be let in, and what is taken too much is waited for afterwards. The bucket is one
//! number that all workers share: the moment at which it will be full. This is the generic cell rate algorithm
//! (ITU-T I.371, annex A, as a virtual schedule), but for the debt. See docs/decisions/0013.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

use aguacero::config::Rate;

const SECOND_NS: u64 = 1_000_000_000;

/// The bucket of one key.
#[derive(Debug)]
pub(crate) struct Bucket {
    rate: Rate,
    began: Instant,
    /// When it will be full, in ns since `began`; in the past if it is.
    full_at: AtomicU64,
}

/// What a client may know of its bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Level {
    /// Events that can be sent at once, one by one: with a part of one left, one more.
    pub(crate) remaining: u64,
    /// Seconds, rounded up, until the bucket is full.
    pub(crate) full_in: u64,
}

impl Bucket {
    /// A full one.
    pub(crate) fn new(rate: Rate) -> Self {
        Self {
            rate,
            began: Instant::now(),
            full_at: AtomicU64::new(0),
        }
    }

    pub(crate) fn rate(&self) -> Rate {
        self.rate
    }

    /// Lets a request in and takes its first event; or tells how long nothing will be in the bucket.
    pub(crate) fn enter(&self) -> Result<(), Duration> {
        self.enter_at(self.now())
    }

    /// Takes events, into debt if need be.
    pub(crate) fn take(&self, events: usize) {
        self.take_at(events as u64, self.now());
    }

    pub(crate) fn level(&self) -> Level {
        self.level_at(self.now())
    }

    /// Seconds in which an empty bucket is filled, rounded up.
    pub(crate) fn window(&self) -> u64 {
        self.depth().div_ceil(SECOND_NS)
    }

    fn enter_at(&self, now: u64) -> Result<(), Duration> {
        let entered = self.full_at.fetch_update(Relaxed, Relaxed, |full_at| {
            let is_empty = full_at.saturating_sub(now) >= self.depth();
            (!is_empty).then(|| full_at.max(now).saturating_add(self.cost(1)))
        });
        match entered {
            Ok(_) => Ok(()),
            Err(full_at) => Err(Duration::from_nanos(full_at - now - self.depth() + 1)),
        }
    }

    fn take_at(&self, events: u64, now: u64) {
        let cost = self.cost(events);
        // Never an error: the closure always has an answer.
        _ = self.full_at.fetch_update(Relaxed, Relaxed, |full_at| {
            Some(full_at.max(now).saturating_add(cost))
        });
    }

    fn level_at(&self, now: u64) -> Level {
        let missing = self.full_at.load(Relaxed).saturating_sub(now);
        let left = self.depth().saturating_sub(missing);
        Level {
            remaining: left.div_ceil(self.cost(1)),
            full_in: missing.div_ceil(SECOND_NS),
        }
    }

    /// ns that it takes to fill an empty bucket.
    fn depth(&self) -> u64 {
        self.cost(self.rate.burst.into())
    }

    /// ns in which so many events come in. Rounded up, once a request: that is all by which the long-run rate
    /// is below the declared one, and it is never above.
    fn cost(&self, events: u64) -> u64 {
        let ns = u128::from(events) * u128::from(SECOND_NS);
        u64::try_from(ns.div_ceil(self.rate.per_second.into())).unwrap_or(u64::MAX)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bucket(per_second: u32, burst: u32) -> Bucket {
        Bucket::new(Rate { per_second, burst })
    }

    #[test]
    fn a_full_bucket_lets_its_burst_in_and_then_one_at_a_time() {
        for per_second in [1, 3, 7, 1000, 999_983] {
            let b = bucket(per_second, 5);
            for n in 0..5 {
                assert_eq!(b.level_at(0).remaining, 5 - n, "{per_second}");
                b.enter_at(0).unwrap();
            }
            let wait = b.enter_at(0).unwrap_err().as_nanos() as u64;
            assert!(wait <= b.cost(1) + 1, "{per_second}: {wait}");
            b.enter_at(wait).unwrap();
            b.enter_at(wait).unwrap_err();
        }
    }

    #[test]
    fn a_batch_larger_than_the_burst_is_let_in_and_paid_for_afterwards() {
        let b = bucket(10, 10);
        b.enter_at(0).unwrap();
        b.take_at(999, 0);
        let wait = b.enter_at(0).unwrap_err();
        assert_eq!(
            wait.as_secs(),
            99,
            "1000 events at 10 a second, less the burst"
        );
        assert_eq!(b.level_at(0).remaining, 0);
        b.enter_at(wait.as_nanos() as u64).unwrap();
    }

    #[test]
    fn a_long_pause_fills_no_more_than_the_burst() {
        let b = bucket(10, 20);
        let hour = 3600 * SECOND_NS;
        let level = Level {
            remaining: 20,
            full_in: 0,
        };
        assert_eq!((b.level_at(hour), b.window()), (level, 2));
        (0..20).for_each(|_| b.enter_at(hour).unwrap());
        b.enter_at(hour).unwrap_err();
    }

    #[test]
    fn requests_at_the_same_time_never_enter_more_often_than_there_are_events() {
        let b = bucket(1, 100);
        let entered: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| (0..1000).filter(|_| b.enter_at(0).is_ok()).count()))
                .collect();
            threads.into_iter().map(|t| t.join().unwrap()).sum()
        });
        assert_eq!(entered, 100);
    }

    proptest! {
        /// Whatever is sent when: no more than the burst, the rate, and the debt of the last request.
        #[test]
        fn the_long_run_rate_is_kept(
            (per_second, burst) in (1_u32..5000, 1_u32..5000),
            steps in prop::collection::vec((0_u64..300_000_000, 1_u64..3000), 1..200),
        ) {
            let (b, mut now, mut taken, mut last) = (bucket(per_second, burst), 0, 0, 0);
            for (pause, events) in steps {
                now += pause;
                if b.enter_at(now).is_ok() {
                    b.take_at(events - 1, now);
                    (taken, last) = (taken + events, events);
                }
            }
            let refilled = u128::from(now) * u128::from(per_second) / u128::from(SECOND_NS);
            prop_assert!(u128::from(taken) <= u128::from(burst) + refilled + u128::from(last) + 1);
        }
    }
}
