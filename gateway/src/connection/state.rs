//! Where a connection is between two requests, and what it waits for.

use std::{
    cell::Cell,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use aguacero::config::Gateway;

use crate::connection::{
    addresses::Peer,
    deadlines::{Deadline, NEVER},
    write_timeout::Signals,
};

/// Silence after which hyper and its buffers are let go of.
const RELEASE_AFTER: Duration = Duration::from_secs(1);
/// What an idle connection has left when the process drains: most clients that use theirs send a request within
/// it, whose answer tells them not to send another.
const DRAIN_GRACE: Duration = Duration::from_secs(2);

/// Where a connection is between two requests.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nothing was asked yet, or everything is answered, and more may come.
    Idle,
    /// Part of a header, or of a handshake, has come.
    ReadingHeader,
    /// A request is being read or answered; `request::body` sets the deadline.
    InProgress,
    /// The last answer ends it: what still comes is not a request.
    Closing,
}

/// What a connection's task and its service both have to know.
pub(super) struct State {
    phase: Cell<Phase>,
    pub(super) deadline: Deadline,
    /// Of silence between two requests.
    idle_timeout: Duration,
    /// Of a header, from its first byte.
    header_timeout: Duration,
    /// When the one or the other is over.
    last: Cell<u64>,
    /// It has no more than [`DRAIN_GRACE`] left.
    is_in_grace: Cell<bool>,
    pub(super) signals: Rc<Signals>,
    pub(super) peer: Peer,
}

/// What became of a connection of which hyper has nothing to tell.
pub(super) enum Silence {
    /// The client says nothing.
    Idle,
    /// It has said nothing, or not enough, for too long.
    TimedOut,
}

impl State {
    pub(super) fn new(gateway: &Gateway, peer: Peer, deadline: Deadline) -> Self {
        Self {
            phase: Cell::new(Phase::Idle),
            deadline,
            idle_timeout: gateway.idle_timeout,
            header_timeout: gateway.header_timeout,
            last: Cell::new(NEVER),
            is_in_grace: Cell::new(false),
            signals: Rc::default(),
            peer,
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.phase.get() == Phase::Idle
    }

    /// Its first byte has come, or is about to be read.
    pub(super) fn begin_header(&self) {
        self.phase.set(Phase::ReadingHeader);
        self.last.set(self.deadline.after(self.header_timeout));
        self.wait();
    }

    pub(super) fn begin_request(&self) {
        self.phase.set(Phase::InProgress);
        self.deadline.clear();
    }

    /// Idle or closing from now on.
    pub(super) fn end_request(&self, phase: Phase) {
        self.phase.set(phase);
        self.signals.has_heard.set(false);
        self.signals.target.take();
        self.is_in_grace.set(false);
        self.last.set(self.deadline.after(self.idle_timeout));
        self.release_soon();
    }

    /// What becomes of a connection of which hyper has nothing to tell.
    pub(super) fn silence(&self, context: &Context<'_>) -> Poll<Silence> {
        if self.is_idle() && self.signals.has_heard.take() {
            self.begin_header();
        }
        self.bound_by_drain();
        let is_over = self.deadline.is_over(context);
        match self.phase.get() {
            Phase::InProgress => Poll::Pending,
            _ if !is_over => Poll::Pending,
            _ if self.deadline.has_come(self.last.get()) => Poll::Ready(Silence::TimedOut),
            Phase::Idle if !self.signals.is_write_blocked.get() => Poll::Ready(Silence::Idle),
            _ => {
                self.wait();
                Poll::Pending
            }
        }
    }

    /// Whether to wait no longer for what a client begins; hyper has nothing to do with it yet.
    pub(super) fn is_timed_out(&self, context: &Context<'_>) -> bool {
        self.bound_by_drain();
        if !self.deadline.is_over(context) {
            return false;
        }
        let is_timed_out = self.deadline.has_come(self.last.get());
        if !is_timed_out {
            self.wait();
        }
        is_timed_out
    }

    /// Hyper is let go of soon.
    pub(super) fn release_soon(&self) {
        self.deadline.set(RELEASE_AFTER, self.last.get());
    }

    /// All the time that is left.
    pub(super) fn wait(&self) {
        self.deadline.set(self.idle_timeout, self.last.get());
    }

    /// An answer that the client is still taking is no silence.
    fn bound_by_drain(&self) {
        if !self.deadline.is_draining() || !self.is_idle() || self.signals.is_write_blocked.get() {
            return;
        }
        if !self.is_in_grace.replace(true) {
            let grace = self.deadline.after(DRAIN_GRACE);
            self.last.set(self.last.get().min(grace));
            self.release_soon();
        }
    }
}
