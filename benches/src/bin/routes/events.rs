//! What is sent: the votes of `locust/data`, alone and in batches.

use std::fmt::Write as _;

use benches::load;

use crate::side::PATH;

/// Events of a batch.
pub(crate) const BATCH: usize = 500;
/// Different batches.
const BATCHES: usize = 10;

/// Requests of each kind.
pub(crate) struct Events {
    pub(crate) plain: Vec<String>,
    /// One event in each.
    pub(crate) singles: Vec<Vec<u8>>,
    /// [`BATCH`] in each, as NDJSON.
    pub(crate) batches: Vec<Vec<u8>>,
}

impl Events {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let plain = benches::events::votes();
        anyhow::ensure!(!plain.is_empty(), "locust/data/votes.json has no votes");
        let single = |event: &String| load::post(PATH, "application/json", event.as_bytes());
        let batch = |n| {
            let body = ndjson(&plain, n * BATCH, BATCH);
            load::post(PATH, "application/x-ndjson", body.as_bytes())
        };
        Ok(Self {
            singles: plain.iter().map(single).collect(),
            batches: (0..BATCHES).map(batch).collect(),
            plain,
        })
    }
}

/// `count` events from the one with number `from` on, and from the first again after the last.
fn ndjson(events: &[String], from: usize, count: usize) -> String {
    let events = events.iter().cycle().skip(from % events.len()).take(count);
    events.fold(String::new(), |mut lines, event| {
        _ = writeln!(lines, "{event}");
        lines
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_go_round_the_events() {
        let events = ["a", "b", "c"].map(str::to_owned);
        assert_eq!(ndjson(&events, 4, 4), "b\nc\na\nb\n");
    }

    #[test]
    fn every_batch_has_all_its_events() {
        let events = Events::new().unwrap();
        assert_eq!(events.batches.len(), BATCHES);
        for batch in &events.batches {
            assert_eq!(
                batch.iter().filter(|byte| **byte == b'\n').count(),
                BATCH + 5
            );
        }
    }
}
