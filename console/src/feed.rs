//! What is read once for everybody who looks, and handed to all of them.
//!
//! A feed is one task. While somebody looks it reads, at most once in its interval, and keeps the newest value alone: a
//! reader that is slow skips what it has missed, and nothing is kept for it.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use serde_json::Value;
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep_until},
};

/// Between two reads of a feed.
pub const INTERVAL: Duration = Duration::from_secs(1);

/// Where a page subscribes.
#[derive(Debug, Clone)]
pub struct Feed {
    sender: watch::Sender<Option<Bytes>>,
    somebody: Arc<Notify>,
}

impl Feed {
    /// One that nobody fills yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            sender: watch::Sender::new(None),
            somebody: Arc::default(),
        }
    }

    /// Looks from now on, until the receiver is dropped.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Option<Bytes>> {
        let mut receiver = self.sender.subscribe();
        receiver.mark_changed();
        self.somebody.notify_one();
        receiver
    }

    /// Fills the feed by `read`, every `interval`, while somebody looks. It ends with the process.
    pub async fn fill(self, interval: Duration, mut read: impl AsyncFnMut() -> Value) {
        loop {
            while self.sender.receiver_count() == 0 {
                // Whoever comes next is not shown what was there when the last one left.
                self.sender.send_replace(None);
                self.somebody.notified().await;
            }
            let next = Instant::now() + interval;
            let value = Bytes::from(read().await.to_string());
            self.sender.send_if_modified(|last| {
                let is_new = last.as_ref() != Some(&value);
                *last = Some(value);
                is_new
            });
            sleep_until(next).await;
        }
    }
}

impl Default for Feed {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    /// A feed of numbers, and how often it was read.
    fn counting(interval: Duration) -> (Feed, Arc<AtomicU64>) {
        let (feed, reads) = (Feed::new(), Arc::new(AtomicU64::new(0)));
        let counted = reads.clone();
        let filling = feed.clone().fill(interval, async move || {
            Value::from(counted.fetch_add(1, Ordering::Relaxed))
        });
        tokio::spawn(filling);
        (feed, reads)
    }

    fn number(value: &Option<Bytes>) -> Option<u64> {
        std::str::from_utf8(value.as_ref()?).ok()?.parse().ok()
    }

    /// Short, so that the tests are.
    const SHORT: Duration = Duration::from_millis(20);

    #[tokio::test]
    async fn nothing_is_read_while_nobody_looks_and_once_for_all_who_do() {
        let (feed, reads) = counting(SHORT);
        tokio::time::sleep(5 * SHORT).await;
        assert_eq!(reads.load(Ordering::Relaxed), 0);
        let began = Instant::now();
        let mut many: Vec<_> = (0..50).map(|_| feed.subscribe()).collect();
        for looking in &mut many {
            let is_late = |value: &Option<Bytes>| number(value) >= Some(5);
            let seen = looking.wait_for(is_late).await;
            assert!(seen.is_ok());
        }
        drop(many);
        let at_most = began.elapsed().as_millis() / SHORT.as_millis() + 1;
        let so_far = reads.load(Ordering::Relaxed);
        assert!(u128::from(so_far) <= at_most, "{so_far} of {at_most}");
        tokio::time::sleep(5 * SHORT).await;
        let later = reads.load(Ordering::Relaxed);
        assert!(later <= so_far + 1, "{later} after {so_far}");
    }

    #[tokio::test]
    async fn who_is_slow_skips_and_who_comes_late_sees_nothing_old() {
        let (feed, reads) = counting(SHORT);
        let mut slow = feed.subscribe();
        while reads.load(Ordering::Relaxed) < 5 {
            tokio::time::sleep(SHORT / 4).await;
        }
        let seen = number(&slow.borrow_and_update());
        assert!(seen >= Some(3), "{seen:?}");
        drop(slow);
        tokio::time::sleep(3 * SHORT).await;
        let before = reads.load(Ordering::Relaxed).to_string();
        let mut late = feed.subscribe();
        let first = late.wait_for(Option::is_some).await;
        let first = first.expect("the feed is there").clone();
        assert_eq!(first, Some(Bytes::from(before)));
    }
}
