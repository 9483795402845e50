//! Files that may change while the process runs: keys, the certificate.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

/// Between two looks. What has changed is taken when it is the same twice, so within a second.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What was found, look by look.
struct Finds<T> {
    last: Option<T>,
    taken: Option<T>,
}

/// Looks again and again, until it is dropped, and hands on what is there when it is no longer as it was `taken`
/// before. Contents are compared, not times: in Kubernetes a file changes by a link that leads elsewhere. What is
/// just being written is not taken: half of it may be good, too, and two files are hardly written at once.
pub(crate) async fn watch<T: PartialEq>(
    taken: Option<T>,
    mut look: impl FnMut() -> T,
    mut take: impl FnMut(&T),
) {
    let mut finds = Finds { last: None, taken };
    let mut looks = interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        if let Some(changed) = finds.changed(look()) {
            take(changed);
        }
    }
}

impl<T: PartialEq> Finds<T> {
    /// What is to be taken.
    fn changed(&mut self, found: T) -> Option<&T> {
        let found = Some(found);
        if found == self.last && found != self.taken {
            self.taken = found;
            return self.taken.as_ref();
        }
        self.last = found;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_changed_is_taken_once_when_it_is_the_same_twice() {
        for (taken, found, changes) in [
            (None, "aaaabbbb", "ab"),
            (Some('a'), "aaaabcbcaaa", ""),
            (Some('a'), "bbbaaacc", "bac"),
        ] {
            let mut finds = Finds { last: None, taken };
            let changed = found.chars().filter_map(|f| finds.changed(f).copied());
            assert_eq!(changed.collect::<String>(), changes);
        }
    }
}
