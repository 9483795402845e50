//! One position's watermark follows the archive, step by step, wherever somebody else may have moved it.

use std::{
    sync::{Arc, PoisonError},
    time::{Duration, Instant},
};

use aguacero::{config::Stream, ledger::Position, log_limiter};

use super::{Failure, Key, Progress, Settler, ahead::Ahead};
use crate::{archive::Totals, metric};

/// Until what has failed is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// What the log says while it fails.
const UNSETTLED: &str = "counters cannot be settled for now; the archive goes on";

/// What is to be done next.
enum Step {
    /// Up to here, from the archive.
    Archive { to: i64, step: i64 },
    /// Tell that the stream has to be counted anew.
    Below,
    /// A segment that is known.
    Known(Totals),
}

impl Settler {
    /// Begins to settle a position that has something to settle, unless somebody does.
    pub(super) fn start(self: &Arc<Self>, key: Key) {
        let is_due = self.with(&key, |ahead| {
            let due = ahead.not_before.is_none_or(|at| at <= Instant::now());
            let start = !ahead.running && !ahead.is_empty() && due;
            ahead.running |= start;
            start
        });
        if is_due {
            self.active.send_modify(|n| *n += 1);
            let settler = self.clone();
            tokio::spawn(async move {
                settler.follow(&key).await;
                settler.active.send_modify(|n| *n -= 1);
            });
        }
    }

    /// Tries again what has failed, of whatever position: one that is gone gets no other batch that would.
    pub fn go_on(self: &Arc<Self>, stream: &Stream) {
        let ahead = self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
        let left = |(key, ahead): &(&Key, &Ahead)| key.0 == stream.index && !ahead.is_empty();
        let keys: Vec<_> = ahead
            .iter()
            .filter(left)
            .map(|(key, _)| key.clone())
            .collect();
        drop(ahead);
        for key in keys {
            self.start(key);
        }
    }

    /// Settles until there is nothing left, or until it fails.
    async fn follow(&self, key: &Key) {
        let config = self.config.clone();
        let (stream, position) = (&config.streams[key.0], &key.1);
        loop {
            let next = self.with(key, |ahead| {
                let next = ahead.next();
                ahead.running = next.is_some();
                next.map(|step| (step, ahead.left, ahead.epoch))
            });
            let Some((step, from, epoch)) = next else {
                return;
            };
            if matches!(step, Step::Below) {
                self.with(key, |ahead| ahead.below = false);
                self.new_below(stream, position, epoch).await;
                continue;
            }
            let result = self.step(stream, position, key, from, step).await;
            match result {
                Ok(moved) => {
                    log_limiter::ended(UNSETTLED, &stream.name);
                    let below = self.with(key, |ahead| {
                        (ahead.epoch == epoch).then(|| ahead.moved(moved))
                    });
                    if below.flatten().is_some() {
                        self.new_below(stream, position, epoch).await;
                    }
                }
                Err(failure) => {
                    log_limiter::repeated(UNSETTLED, &stream.name, &failure);
                    if failure.is_for_ever() {
                        self.want_recount(stream, &failure.to_string()).await;
                    }
                    let timed_out = failure.is_timeout();
                    self.with(key, |ahead| ahead.failed(timed_out));
                    return;
                }
            }
        }
    }

    /// One call to Redis that moves the watermark, or says where it is.
    async fn step(
        &self,
        stream: &Stream,
        position: &Position,
        key: &Key,
        from: Option<i64>,
        step: Step,
    ) -> Result<Moved, Failure> {
        let mut moved = Moved::default();
        let (from, totals, name) = match step {
            Step::Below => return Ok(moved), // told already
            Step::Known(totals) => (from, totals, "memory"),
            Step::Archive { to, step } => {
                let from = match from {
                    Some(from) => Some(from),
                    None => {
                        let found = self.watermark(stream, position).await?;
                        moved.found(found, self.with(key, |ahead| ahead.tried));
                        found
                    }
                };
                if from >= Some(to) {
                    moved.to = from;
                    return Ok(moved);
                }
                let totals = self.archive.totals(stream, position, (from, to), step);
                (from, totals.await?, "archive")
            }
        };
        let tried = self.with(key, |ahead| ahead.tried.replace(totals.to));
        match self.settle(stream, position, from, &totals).await? {
            Progress::Done => {
                metrics::counter!(metric::SETTLED, "from" => name).increment(1);
                moved.to = Some(totals.to);
            }
            Progress::Most(most) => (moved.to, moved.most) = (from, Some(most)),
            Progress::Found(at) => {
                moved.found(at, tried);
                moved.to = at;
            }
        }
        self.with(key, |ahead| ahead.tried = None);
        Ok(moved)
    }
}

/// Where a watermark is now.
#[derive(Debug, Default)]
struct Moved {
    /// There.
    to: Option<i64>,
    /// It was not where this process had left it: what is known does not hold.
    is_new: bool,
    /// The highest place where somebody else had moved it.
    by_others: Option<i64>,
    /// As far as one step may go.
    most: Option<i64>,
}

impl Moved {
    /// Redis says that it is `at`, where a call of ours that was not answered was to move it to `tried`.
    fn found(&mut self, at: Option<i64>, tried: Option<i64>) {
        self.is_new = true;
        self.by_others = self.by_others.max(at.filter(|_| at != tried));
    }
}

impl Ahead {
    /// It is tried again in a second, from wherever the watermark is; in smaller steps, if it took too long.
    fn failed(&mut self, timed_out: bool) {
        self.forget_segments();
        (self.left, self.running) = (None, false);
        self.not_before = Some(Instant::now() + RETRY_AFTER);
        if timed_out {
            self.step = (self.step / 2).max(1);
        }
    }

    fn next(&self) -> Option<Step> {
        if self.below {
            return Some(Step::Below);
        }
        let segment = self.segments.front();
        // Without a place to go on from, the archive says what a segment holds.
        if let (None, Some(_), Some(segment)) = (self.unknown, self.left, segment) {
            return Some(Step::Known(Totals {
                to: segment.to,
                deltas: segment.deltas.clone(),
            }));
        }
        let to = self.unknown.or(segment.map(|s| s.to))?;
        Some(Step::Archive {
            to: self.most.map_or(to, |most| most.min(to)),
            step: self.step,
        })
    }

    /// Notes where the watermark is. Says an offset at which the archive has got something new that
    /// somebody else had settled before.
    fn moved(&mut self, moved: Moved) -> Option<i64> {
        if moved.is_new || moved.most.is_some() {
            self.forget_segments();
        }
        self.most = moved.most;
        if let Some(most) = moved.most {
            // The same again and again would be read in vain.
            self.step = (most - moved.to.unwrap_or(-1)).max(1);
        } else {
            self.step = self.step.saturating_mul(2).min(self.step_max);
        }
        self.left = moved.to;
        let below = self.first_new.filter(|new| moved.by_others >= Some(*new));
        if self.unknown.is_some() && self.unknown <= self.left {
            (self.unknown, self.first_new) = (None, None);
        }
        if below.is_some() {
            self.first_new = None;
        }
        while self
            .segments
            .front()
            .is_some_and(|s| Some(s.to) <= self.left)
        {
            self.segments.pop_front();
        }
        below
    }
}

impl Settler {
    /// Does something with the state of a position.
    pub(super) fn with<T>(&self, key: &Key, act: impl FnOnce(&mut Ahead) -> T) -> T {
        let mut ahead = self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
        let step_max = self.config.consumer.settle_step.max(1);
        act(ahead.entry(key.clone()).or_insert_with(|| Ahead {
            step: step_max,
            step_max,
            ..Ahead::default()
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_that_takes_too_long_is_halved_and_grows_again_when_it_goes_well() {
        let mut ahead = Ahead {
            step: 1000,
            step_max: 1000,
            ..Ahead::default()
        };
        ahead.ask_archive(5000, None);
        let step = |ahead: &Ahead| match ahead.next() {
            Some(Step::Archive { to: 5000, step }) => step,
            _ => panic!("{ahead:?}"),
        };
        for halved in [500, 250, 125, 62, 31, 15, 7, 3, 1, 1] {
            ahead.failed(true);
            assert_eq!(step(&ahead), halved);
        }
        ahead.failed(false);
        assert_eq!(step(&ahead), 1, "what failed otherwise is no reason");
        for (to, grown) in [(10, 2), (20, 4), (30, 8)] {
            ahead.moved(Moved {
                to: Some(to),
                ..Moved::default()
            });
            assert_eq!((ahead.left, step(&ahead)), (Some(to), grown));
        }
    }

    #[test]
    fn as_far_as_a_step_may_go_is_where_the_next_one_ends() {
        let mut ahead = Ahead {
            step: 1000,
            step_max: 1000,
            left: Some(99),
            ..Ahead::default()
        };
        ahead.ask_archive(500, None);
        ahead.moved(Moved {
            to: Some(99),
            most: Some(120),
            ..Moved::default()
        });
        assert!(matches!(
            ahead.next(),
            Some(Step::Archive { to: 120, step: 21 })
        ));
        ahead.moved(Moved {
            to: Some(120),
            ..Moved::default()
        });
        assert!(matches!(ahead.next(), Some(Step::Archive { to: 500, .. })));
    }
}
