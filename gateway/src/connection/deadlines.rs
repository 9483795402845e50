//! Deadlines of connections, looked at ten times a second, for all of a worker together.
//!
//! A timer of the runtime for each header and each body costs every request a microsecond of its
//! five or so in user space (`perf-reports/`), and none of these deadlines is finer than a tenth of a second.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    task::{Context, Waker},
    time::Duration,
};

use slab::Slab;

/// Between two looks; a deadline is noticed up to two of them late.
const TICK: Duration = Duration::from_millis(100);
/// No deadline.
pub(crate) const NEVER: u64 = u64::MAX;

/// The clock of a worker, and the connections that go by it.
#[derive(Default)]
pub(crate) struct Deadlines {
    /// Looks so far.
    now: Cell<u64>,
    /// Every connection is to finish what it has begun.
    is_draining: Cell<bool>,
    watched: RefCell<Slab<Rc<Watched>>>,
}

/// What is known of one connection.
struct Watched {
    /// The look at which its deadline is over.
    until: Cell<u64>,
    /// Its task.
    task: RefCell<Option<Waker>>,
}

/// A connection's own deadline. Dropped, it is forgotten.
pub(crate) struct Deadline {
    all: Rc<Deadlines>,
    number: usize,
    watched: Rc<Watched>,
}

impl Deadlines {
    /// A connection that has no deadline yet.
    pub(crate) fn watch(self: &Rc<Self>) -> Deadline {
        let watched = Rc::new(Watched {
            until: Cell::new(NEVER),
            task: RefCell::default(),
        });
        Deadline {
            number: self.watched.borrow_mut().insert(Rc::clone(&watched)),
            all: Rc::clone(self),
            watched,
        }
    }

    /// Looks, until it is dropped.
    pub(crate) async fn run(&self) {
        loop {
            tokio::time::sleep(TICK).await;
            self.look();
        }
    }

    fn look(&self) {
        let now = self.now.get() + 1;
        self.now.set(now);
        for (_, watched) in self.watched.borrow().iter() {
            if watched.until.get() <= now {
                watched.wake();
            }
        }
    }

    /// Tells every connection, and those that are accepted later, to finish what it has begun.
    pub(crate) fn drain(&self) {
        self.is_draining.set(true);
        for (_, watched) in self.watched.borrow().iter() {
            watched.wake();
        }
    }

    /// The look that comes after so much time.
    fn after(&self, time: Duration) -> u64 {
        let ticks = time.as_millis().div_ceil(TICK.as_millis());
        self.now.get().saturating_add(ticks as u64 + 1)
    }
}

impl Watched {
    fn wake(&self) {
        if let Some(task) = &*self.task.borrow() {
            task.wake_by_ref();
        }
    }
}

impl Deadline {
    /// One more, by the same clock.
    pub(crate) fn another(&self) -> Self {
        self.all.watch()
    }

    /// From now on it has so much time, or what is left until `last`.
    pub(crate) fn set(&self, time: Duration, last: u64) {
        self.watched.until.set(self.all.after(time).min(last));
    }

    /// The look that comes after so much time, for [`Self::set`].
    pub(crate) fn after(&self, time: Duration) -> u64 {
        self.all.after(time)
    }

    /// Whether the clock is at `look` or beyond.
    pub(crate) fn has_come(&self, look: u64) -> bool {
        look <= self.all.now.get()
    }

    /// It has all the time that it needs.
    pub(crate) fn clear(&self) {
        self.watched.until.set(NEVER);
    }

    /// Whether its time is over; the task is woken when it is.
    pub(crate) fn is_over(&self, context: &Context<'_>) -> bool {
        self.remember(context);
        self.watched.until.get() <= self.all.now.get()
    }

    /// Whether its connection is to finish what it has begun. A task that has asked [`Self::is_over`] is woken
    /// when it is.
    pub(crate) fn is_draining(&self) -> bool {
        self.all.is_draining.get()
    }

    fn remember(&self, context: &Context<'_>) {
        let mut task = self.watched.task.borrow_mut();
        if !task
            .as_ref()
            .is_some_and(|task| task.will_wake(context.waker()))
        {
            *task = Some(context.waker().clone());
        }
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        self.all.watched.borrow_mut().remove(self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_over_in_time_and_not_before() {
        let all = Rc::new(Deadlines::default());
        let (deadline, other) = (all.watch(), all.watch());
        let context = Context::from_waker(Waker::noop());
        deadline.set(3 * TICK, NEVER);
        for _ in 0..3 {
            all.look();
            assert!(!deadline.is_over(&context));
        }
        all.look();
        assert!(deadline.is_over(&context));
        assert!(!other.is_over(&context), "one without a deadline");
        deadline.clear();
        assert!(!deadline.is_over(&context));
        let last = deadline.after(TICK);
        deadline.set(100 * TICK, last);
        all.look();
        all.look();
        assert!(deadline.is_over(&context), "the last moment counts too");
    }

    #[test]
    fn every_connection_is_told_to_drain() {
        let all = Rc::new(Deadlines::default());
        let before = all.watch();
        assert!(!before.is_draining());
        all.drain();
        let after = all.watch();
        assert!(before.is_draining() && after.is_draining());
        drop((before, after));
        assert!(all.watched.borrow().is_empty());
    }
}
