//! What MongoDB refuses, event by event, and whether a collection refuses too much of what comes.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::write::WriteError;
use crate::{
    decode::dead_letter::{Reason, beginning},
    metric,
};

/// Of what comes, beyond which a rule of the collection is more likely to be wrong than its events.
const SHARE: f64 = 0.1;
/// After so long, what has come counts half.
const HALF_LIFE: Duration = Duration::from_secs(10);
/// Fewer events than that are as good as none.
const FEW: f64 = 0.5;
/// Bytes of MongoDB's words in a line of the log.
pub(super) const MESSAGE_BYTES_MAX: usize = 1000;

/// Why an event cannot be archived, as MongoDB says and will say again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// `Unfit` if no collection could hold it, `Refused` if this one does not.
    pub reason: Reason,
    /// For people.
    pub detail: String,
    /// MongoDB's code, if it has one.
    code: Option<i32>,
}

impl Refusal {
    /// Of a document that `collection` does not take.
    pub(super) fn of(error: WriteError, collection: &str) -> Self {
        let WriteError { code, message, .. } = &error;
        if error.is_for_ever() {
            return Self::unfit(&format!("code {code}: {message}"), Some(*code));
        }
        Self {
            reason: Reason::Refused,
            detail: format!("collection {collection} refuses the event: code {code}: {message}"),
            code: Some(*code),
        }
    }

    /// Of a document that no collection can hold.
    pub(super) fn unfit(why: &str, code: Option<i32>) -> Self {
        Self {
            reason: Reason::Unfit,
            detail: format!("MongoDB can never hold the event: {why}"),
            code,
        }
    }
}

/// A refused event, for the log.
pub(super) struct Example<'a> {
    pub(super) stream: &'a str,
    pub(super) topic: &'a str,
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) refusal: &'a Refusal,
}

/// How much of what comes one collection refuses.
#[derive(Debug)]
pub(super) struct Refusals {
    collection: String,
    recent: Mutex<Recent>,
}

#[derive(Debug)]
struct Recent {
    seen: f64,
    refused: f64,
    at: Instant,
    is_too_much: bool,
}

impl Refusals {
    pub(super) fn of(collection: &str) -> Self {
        let recent = Recent {
            seen: 0.0,
            refused: 0.0,
            at: Instant::now(),
            is_too_much: false,
        };
        let refusals = Self {
            collection: collection.to_owned(),
            recent: Mutex::new(recent),
        };
        refusals.show(0.0);
        refusals
    }

    /// Of `seen` events that came, those were refused.
    pub(super) fn note<'a>(&self, seen: usize, refused: impl Iterator<Item = Example<'a>>) {
        let (mut count, mut first) = (0, None);
        for example in refused {
            count += 1;
            let code = example.refusal.code.unwrap_or_default().to_string();
            let labels = [("collection", self.collection.clone()), ("code", code)];
            metrics::counter!(metric::REFUSED, &labels).increment(1);
            first.get_or_insert(example);
        }
        let (share, is_first) = self
            .recent()
            .add(seen as f64, f64::from(count), Instant::now());
        if count > 0 {
            self.show(share);
        }
        if let Some(example) = first.filter(|_| is_first) {
            let Example {
                stream,
                topic,
                partition,
                offset,
                refusal,
            } = example;
            let (code, detail) = (refusal.code, beginning(&refusal.detail, MESSAGE_BYTES_MAX));
            tracing::error!(
                collection = self.collection,
                share,
                stream,
                topic,
                partition,
                offset,
                code,
                detail,
                "a collection refuses a large share of its events, which become dead letters: look at its rules (a unique index, a validator), then replay them"
            );
        }
    }

    /// To be called now and then: what came long ago is forgotten.
    pub(super) fn look(&self) {
        let mut recent = self.recent();
        if recent.has_ended(Instant::now()) {
            drop(recent);
            self.show(0.0);
            tracing::info!(
                collection = self.collection,
                "a collection refuses a large share of its events: has ended"
            );
        }
    }

    fn show(&self, share: f64) {
        let labels = [("collection", self.collection.clone())];
        metrics::gauge!(metric::REFUSED_SHARE, &labels).set(share);
    }

    fn recent(&self) -> std::sync::MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Recent {
    /// The share that is refused now, and whether it has just become too much.
    fn add(&mut self, seen: f64, refused: f64, now: Instant) -> (f64, bool) {
        self.fade(now);
        self.seen += seen;
        self.refused += refused;
        let share = self.refused / self.seen.max(1.0);
        let is_first = share > SHARE && !self.is_too_much;
        self.is_too_much |= is_first;
        (share, is_first)
    }

    /// Whether it was too much and is no more.
    fn has_ended(&mut self, now: Instant) -> bool {
        self.fade(now);
        let is_little = self.refused < FEW || self.refused <= SHARE / 2.0 * self.seen;
        let has_ended = self.is_too_much && is_little;
        self.is_too_much &= !has_ended;
        has_ended
    }

    fn fade(&mut self, now: Instant) {
        let age = now.saturating_duration_since(self.at).as_secs_f64();
        let rest = 0.5_f64.powf(age / HALF_LIFE.as_secs_f64());
        (self.seen, self.refused, self.at) = (self.seen * rest, self.refused * rest, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_a_tenth_is_told_once_until_it_has_ended() {
        let (start, refusals) = (Instant::now(), Refusals::of("c"));
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut recent = refusals.recent();
        assert_eq!(recent.add(100.0, 5.0, after(0)), (0.05, false));
        assert!(recent.add(10.0, 10.0, after(0)).1);
        assert!(!recent.add(10.0, 10.0, after(1)).1, "once");
        assert!(!recent.has_ended(after(2)));
        assert!(!recent.has_ended(after(20)), "nothing has come since");
        recent.add(10_000.0, 0.0, after(21));
        assert!(recent.has_ended(after(21)));
        assert!(!recent.has_ended(after(21)), "once");
        assert!(recent.add(2_000.0, 2_000.0, after(22)).1, "again");
        assert!(recent.has_ended(after(300)), "long ago");
    }
}
