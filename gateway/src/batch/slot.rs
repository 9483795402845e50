//! A topic-partition of a lane: what is open, waiting and sent, and how much more it takes.

use std::{collections::VecDeque, time::Instant};

use crate::batch::{append::Refused, lane::Bounds, pace::Pace};

/// Over how many `partition_slow` the pace of a partition is measured: a broker that holds back, batch by
/// batch and partition by partition, takes from each in lumps that are seconds apart.
pub(super) const PACE_OVER: u32 = 8;
/// Bytes that may wait for a partition however little it stores.
pub(super) const BYTES_ALLOWED_MIN: usize = 16 << 10;

/// A topic-partition.
pub(super) struct Slot {
    pub(super) topic: usize,
    pub(super) partition: i32,
    pub(super) open: Option<u64>,
    /// Closed or to be sent again, oldest first.
    pub(super) waiting: VecDeque<u64>,
    /// Sent and not receipted, with the time of sending.
    pub(super) sent: VecDeque<(u64, Instant)>,
    pub(super) bytes: usize,
    /// Number of the request that entered it last.
    pub(super) admitted: u64,
    pub(super) is_ready: bool,
    /// Its oldest receipt is overdue.
    pub(super) is_slow: bool,
    /// Not everything of its last receipt was stored: until then, sticky spreading prefers others.
    pub(super) avoided_until: Option<Instant>,
    /// Nothing is sent again before.
    pub(super) resend_at: Option<Instant>,
    /// What it has stored lately.
    pub(super) pace: Pace,
    /// Bytes that may be on their way, if less than the bounds allow.
    pub(super) bytes_allowed: Option<usize>,
    /// It had more on its way than it stores in good time, not long ago.
    pub(super) crowded_until: Option<Instant>,
}

impl Slot {
    pub(super) fn new(topic: usize, partition: i32, now: Instant) -> Self {
        Self {
            topic,
            partition,
            open: None,
            waiting: VecDeque::new(),
            sent: VecDeque::new(),
            bytes: 0,
            admitted: 0,
            is_ready: false,
            is_slow: false,
            avoided_until: None,
            resend_at: None,
            pace: Pace::new(now),
            bytes_allowed: None,
            crowded_until: None,
        }
    }

    /// Decides how much may be on its way. What takes long, from when its slab was opened, is a hiccup
    /// or more than is stored: then as much may wait as the partition stores in half of the time in which
    /// it would count as slow. If that was exceeded, what all clients offer would rush to the first
    /// partition that is done with its share, so for a while it may have only four times as much.
    pub(super) fn measure(&mut self, oldest: Option<Instant>, now: Instant, bounds: &Bounds) {
        let window = PACE_OVER * bounds.partition_slow;
        let stored = self.pace.recent(now, window);
        let share = (stored / (2 * PACE_OVER as usize)).max(BYTES_ALLOWED_MIN);
        let takes_long = oldest
            .is_some_and(|time| now.saturating_duration_since(time) > bounds.partition_slow / 4);
        if takes_long && self.bytes > share {
            self.crowded_until = Some(now + window);
        }
        self.bytes_allowed = match self.crowded_until {
            _ if takes_long => Some(share),
            Some(until) if now < until => Some(4 * share),
            _ => None,
        };
    }

    /// More is on its way than it stores in good time.
    pub(super) fn is_crowded(&self) -> bool {
        self.bytes_allowed
            .is_some_and(|allowed| self.bytes > allowed)
    }

    /// The slab that has been on its way for longest.
    pub(super) fn oldest(&self) -> Option<u64> {
        let sent = self.sent.front().map(|(id, _)| *id);
        let waiting = self.waiting.front().copied();
        sent.into_iter().chain(waiting).chain(self.open).min()
    }

    /// Why it takes no event of a request at the moment: of one that has entered it, it takes every one.
    pub(super) fn refusal(&self, request: u64, bounds: &Bounds) -> Option<Refused> {
        match self {
            slot if slot.admitted == request => None,
            slot if slot.is_slow => Some(Refused::Away),
            slot if slot.is_crowded() => Some(Refused::Full),
            slot if slot.bytes >= bounds.partition_bytes_max => Some(Refused::Full),
            _ => None,
        }
    }

    pub(super) fn is_avoided(&self, now: Instant) -> bool {
        self.avoided_until.is_some_and(|until| now < until)
    }

    pub(super) fn has_more(&self) -> bool {
        self.open.is_some() || !self.waiting.is_empty()
    }
}
