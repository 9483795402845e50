//! Live: what the redis-writer's calls show, and what they leave to settle.

use aguacero::ledger::{self, Applied, END, Settled};

use crate::fixture::{Ledger, PENDING_MAX, at, frame};

/// All entries of the frame became pending.
const fn pending(pending: u32) -> Applied {
    Applied::Now {
        pending,
        merged: 0,
        settled: 0,
    }
}

#[tokio::test]
async fn a_receipt_is_shown_at_once_and_settling_it_changes_nothing() {
    let ledger = Ledger::new("at-once").await;
    assert_eq!(
        ledger
            .live(1, 1, vec![ledger.entry(0, 2, &["Perú", "Chile", "Perú"])])
            .await,
        pending(1)
    );
    ledger.assert_shows(3, &[("Perú", 2), ("Chile", 1)]).await;

    assert_eq!(
        ledger.settle(None, 2, &["Perú", "Chile", "Perú"]).await,
        Settled::Done
    );
    ledger.assert_shows(3, &[("Perú", 2), ("Chile", 1)]).await;
    assert_eq!(
        (ledger.pending().await, ledger.watermark().await),
        (0, Some(2))
    );
}

#[tokio::test]
async fn a_repeated_frame_counts_once() {
    let ledger = Ledger::new("repeated").await;
    let entries = vec![
        ledger.entry(0, 1, &["a", "b"]),
        ledger.entry_at(at(1), 0, 0, &["a"]),
    ];
    assert_eq!(ledger.live(1, 1, entries.clone()).await, pending(2));
    assert_eq!(ledger.live(1, 1, entries.clone()).await, Applied::Repeated);
    ledger.assert_shows(3, &[("a", 2), ("b", 1)]).await;

    // The same number of another run is another frame.
    assert_eq!(ledger.live(2, 1, entries).await, pending(2));
    ledger.assert_shows(6, &[("a", 4), ("b", 2)]).await;
}

#[tokio::test]
async fn a_repeated_frame_whose_run_was_forgotten_is_taken_out_with_the_first() {
    let ledger = Ledger::new("forgotten-run").await;
    let entries = vec![ledger.entry(0, 1, &["a", "b"])];
    ledger.live(1, 1, entries.clone()).await;
    let run = format!("{{{}}}:run:{}", ledger.stream.name, "01".repeat(16));
    let deleted: i32 = redis::cmd("DEL")
        .arg(run)
        .query_async(&mut ledger.con.clone())
        .await
        .expect("DEL");
    assert_eq!(deleted, 1);

    ledger.live(1, 1, entries).await;
    ledger.settle(None, 1, &["a", "b"]).await;
    ledger.assert_shows(2, &[("a", 1), ("b", 1)]).await;
}

#[tokio::test]
async fn a_run_that_has_ended_is_forgotten_after_a_day() {
    let ledger = Ledger::new("expiry").await;
    ledger.live(1, 1, vec![ledger.entry(0, 0, &["a"])]).await;
    let run = format!("{{{}}}:run:{}", ledger.stream.name, "01".repeat(16));
    let mut ttl = redis::cmd("TTL");
    let ttl: i64 = ttl
        .arg(run)
        .query_async(&mut ledger.con.clone())
        .await
        .expect("TTL");
    assert!((86_000..=86_400).contains(&ttl), "{ttl}");
}

#[tokio::test]
async fn a_lost_frame_is_counted_by_settle() {
    let ledger = Ledger::new("lost").await;
    ledger
        .live(1, 2, vec![ledger.entry(2, 3, &["a", "b"])])
        .await; // frame 1, of offsets 0 and 1, is lost
    ledger.settle(None, 3, &["x", "y", "a", "b"]).await;
    ledger
        .assert_shows(4, &[("a", 1), ("b", 1), ("x", 1), ("y", 1)])
        .await;
}

#[tokio::test]
async fn a_frame_that_comes_after_settle_is_ignored() {
    let ledger = Ledger::new("late").await;
    ledger.settle(None, 4, &["a", "b", "c", "d", "e"]).await;
    let late = vec![ledger.entry(3, 4, &["d", "e"]), ledger.entry(5, 5, &["f"])];
    assert_eq!(
        ledger.live(1, 1, late).await,
        Applied::Now {
            pending: 1,
            merged: 0,
            settled: 1
        }
    );
    ledger
        .assert_shows(
            6,
            &[("a", 1), ("b", 1), ("c", 1), ("d", 1), ("e", 1), ("f", 1)],
        )
        .await;
}

#[tokio::test]
async fn an_entry_that_begins_before_the_watermark_is_left_to_settle_as_a_whole() {
    let ledger = Ledger::new("straddling").await;
    ledger.settle(None, 4, &["a", "a", "a", "a", "a"]).await;
    ledger
        .live(1, 1, vec![ledger.entry(4, 6, &["a", "b", "b"])])
        .await;
    ledger.assert_shows(5, &[("a", 5)]).await;
    ledger.settle(Some(4), 6, &["b", "b"]).await;
    ledger.assert_shows(7, &[("a", 5), ("b", 2)]).await;
}

#[tokio::test]
async fn reordered_frames_come_out_exact() {
    let ledger = Ledger::new("reordered").await;
    ledger.live(1, 2, vec![ledger.entry(2, 2, &["c"])]).await;
    assert_eq!(
        ledger
            .live(1, 1, vec![ledger.entry(0, 1, &["a", "b"])])
            .await,
        Applied::Repeated
    );
    ledger.assert_shows(1, &[("c", 1)]).await;
    ledger.settle(None, 2, &["a", "b", "c"]).await;
    ledger
        .assert_shows(3, &[("a", 1), ("b", 1), ("c", 1)])
        .await;
}

#[tokio::test]
async fn frames_of_one_pipeline_are_applied_in_their_order() {
    let ledger = Ledger::new("pipeline").await;
    let other = Ledger::new("pipeline-other").await;
    let frames = [
        frame(&ledger, 1, 1, vec![ledger.entry(0, 0, &["a"])]),
        frame(&other, 1, 1, vec![other.entry(0, 0, &["z"])]),
        frame(&ledger, 1, 2, vec![ledger.entry(1, 1, &["b"])]),
        frame(&ledger, 1, 2, vec![ledger.entry(1, 1, &["b"])]),
    ];
    let outcomes = ledger::live(&mut ledger.con.clone(), PENDING_MAX, &frames)
        .await
        .expect("Redis answers");
    let outcomes: Vec<_> = outcomes
        .into_iter()
        .map(|outcome| outcome.expect("applied"))
        .collect();
    assert_eq!(
        outcomes,
        [pending(1), pending(1), pending(1), Applied::Repeated]
    );
    ledger.assert_shows(2, &[("a", 1), ("b", 1)]).await;
    other.assert_shows(1, &[("z", 1)]).await;
}

#[tokio::test]
async fn pending_is_bounded_and_what_was_merged_settles_exactly() {
    let ledger = Ledger::new("merged").await;
    for offset in 0..10 {
        let applied = ledger
            .live(
                1,
                1 + offset as u64,
                vec![ledger.entry(offset, offset, &["a", "b"][..1 + offset as usize % 2])],
            )
            .await;
        let merged = u32::from(offset >= PENDING_MAX as i64);
        assert_eq!(
            applied,
            Applied::Now {
                pending: 1 - merged,
                merged,
                settled: 0
            }
        );
    }
    assert_eq!(ledger.pending().await, PENDING_MAX);
    ledger.assert_shows(15, &[("a", 10), ("b", 5)]).await;

    // The newest entry reaches from 3 to 9 now: it is taken out where it ends, and not before.
    ledger.settle(None, 5, &["a"; 6]).await;
    assert_eq!(ledger.pending().await, 1);
    ledger.settle(Some(5), 9, &["a"; 4]).await;
    assert_eq!(ledger.pending().await, 0);
    ledger.assert_shows(10, &[("a", 10)]).await;
}

#[tokio::test]
async fn a_merge_ends_where_the_later_of_both_ends() {
    let ledger = Ledger::new("merged-older").await;
    for (sequence, offset) in [(1, 10), (2, 20), (3, 30), (4, 40)] {
        ledger
            .live(1, sequence, vec![ledger.entry(offset, offset, &["a"])])
            .await;
    }
    ledger
        .live(2, 1, vec![ledger.entry(5, 6, &["b", "b"])])
        .await; // a slower gateway's
    ledger.settle(None, 39, &["a", "a", "a", "b", "b"]).await;
    assert_eq!(ledger.pending().await, 1);
    ledger.settle(Some(39), 40, &["a"]).await;
    ledger.assert_shows(6, &[("a", 4), ("b", 2)]).await;
}

#[tokio::test]
async fn a_late_frame_of_a_closed_topic_is_ignored() {
    let ledger = Ledger::new("closed").await;
    let mut new = at(0);
    new.incarnation = "the-topic-made-again--".to_owned();
    ledger
        .live(1, 1, vec![ledger.entry(0, 2, &["a", "a", "a"])])
        .await; // archived: only the first
    ledger
        .live(1, 2, vec![ledger.entry_at(new.clone(), 0, 0, &["n"])])
        .await;

    assert_eq!(ledger.settle(None, END, &["a"]).await, Settled::Done);
    ledger
        .live(
            1,
            3,
            vec![
                ledger.entry(1, 2, &["a", "a"]),
                ledger.entry(END, END, &["a"]),
            ],
        )
        .await;
    assert_eq!(
        (ledger.pending().await, ledger.watermark().await),
        (0, Some(END))
    );
    ledger.assert_shows(2, &[("a", 1), ("n", 1)]).await;

    ledger
        .settle_at(&new, None, 0, &["n"])
        .await
        .expect("settled");
    ledger.assert_shows(2, &[("a", 1), ("n", 1)]).await;
}
