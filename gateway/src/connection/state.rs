//! Where a connection is between two requests, and what it waits for.

use std::{
    cell::Cell,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use crate::connection::{addresses::Peer, deadlines::Deadline, write_timeout::Signals};

/// Silence after which hyper and its buffers are let go of.
const RELEASE_AFTER: Duration = Duration::from_secs(1);

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
    pub(super) phase: Cell<Phase>,
    pub(super) deadline: Deadline,
    /// Of silence between two requests.
    pub(super) idle_timeout: Duration,
    /// Of a header, from its first byte.
    pub(super) header_timeout: Duration,
    /// When the one or the other is over.
    pub(super) last: Cell<u64>,
    pub(super) signals: Rc<Signals>,
    /// The process is about to end.
    pub(super) is_draining: Cell<bool>,
    pub(super) peer: Peer,
}

/// What came of serving.
pub(super) enum Served {
    /// As hyper says.
    Ended(hyper::Result<()>),
    /// The client says nothing.
    Silent,
    /// It has said nothing, or not enough, for too long.
    TimedOut,
}

impl State {
    pub(super) fn begin_header(&self) {
        self.phase.set(Phase::ReadingHeader);
        self.last.set(self.deadline.after(self.header_timeout));
        self.release_soon();
    }

    pub(super) fn begin_request(&self) {
        self.phase.set(Phase::InProgress);
        self.deadline.clear();
    }

    pub(super) fn end_request(&self, phase: Phase) {
        self.phase.set(phase);
        self.signals.has_heard.set(false);
        self.last.set(self.deadline.after(self.idle_timeout));
        self.release_soon();
    }

    /// A request that has begun is answered; part of a header is waited for no longer than silence is.
    pub(super) fn drain(&self) {
        self.is_draining.set(true);
        if self.phase.get() != Phase::InProgress {
            self.release_soon();
        }
    }

    /// What becomes of a connection of which hyper has nothing to tell.
    pub(super) fn silence(&self, context: &Context<'_>) -> Poll<Served> {
        if self.phase.get() == Phase::Idle && self.signals.has_heard.take() {
            self.begin_header();
        }
        let is_over = self.deadline.is_over(context);
        let is_write_blocked = self.signals.is_write_blocked.get();
        match self.phase.get() {
            Phase::InProgress => Poll::Pending,
            _ if !is_over => Poll::Pending,
            _ if self.deadline.has_come(self.last.get()) => Poll::Ready(Served::TimedOut),
            _ if self.is_draining.get() && !is_write_blocked => Poll::Ready(Served::TimedOut),
            Phase::Idle | Phase::ReadingHeader if !is_write_blocked => Poll::Ready(Served::Silent),
            _ => {
                self.wait_on();
                Poll::Pending
            }
        }
    }

    /// Hyper is let go of soon.
    pub(super) fn release_soon(&self) {
        self.deadline.set(RELEASE_AFTER, self.last.get());
    }

    /// All the time that is left.
    pub(super) fn wait_on(&self) {
        self.deadline.set(self.idle_timeout, self.last.get());
    }

    /// Whether to wait no longer for what a client begins.
    pub(super) fn gives_up(&self, context: &Context<'_>) -> bool {
        self.deadline.is_draining(context) || self.deadline.is_over(context)
    }
}
