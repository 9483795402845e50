//! Settle: whatever happened before, it comes out at what the archive holds.

use aguacero::{
    config::Redis,
    ledger::{self, Applied, END, LedgerError, Position, Settled},
};

use crate::fixture::{Ledger, at, connect};

#[tokio::test]
async fn two_consumers_cannot_both_count_a_range() {
    let ledger = Ledger::new("zombie").await;
    assert_eq!(ledger.settle(None, 9, &["a"; 10]).await, Settled::Done);
    assert_eq!(
        ledger.settle(None, 9, &["a"; 10]).await,
        Settled::Found(Some(9))
    );
    assert_eq!(
        ledger.settle(Some(4), 12, &["a"; 8]).await,
        Settled::Found(Some(9))
    );
    ledger.assert_shows(10, &[("a", 10)]).await;
    assert_eq!(ledger.settle(Some(9), 12, &["a"; 3]).await, Settled::Done);
    ledger.assert_shows(13, &[("a", 13)]).await;
}

#[tokio::test]
async fn no_watermark_is_not_the_watermark_zero() {
    let ledger = Ledger::new("none").await;
    assert_eq!(ledger.watermark().await, None);
    assert_eq!(
        ledger.settle(Some(0), 1, &["b"]).await,
        Settled::Found(None)
    );
    ledger.live(1, 1, vec![ledger.entry(0, 0, &["a"])]).await;
    ledger.assert_shows(1, &[("a", 1)]).await;

    assert_eq!(ledger.settle(None, 0, &["a"]).await, Settled::Done);
    assert_eq!(ledger.watermark().await, Some(0));
    assert_eq!(
        ledger.settle(None, 1, &["a", "b"]).await,
        Settled::Found(Some(0))
    );
    ledger.live(1, 2, vec![ledger.entry(0, 0, &["a"])]).await;
    ledger.assert_shows(1, &[("a", 1)]).await;
}

#[tokio::test]
async fn a_duplicate_that_the_archive_recognised_is_taken_back() {
    let ledger = Ledger::new("duplicate").await;
    ledger
        .live(1, 1, vec![ledger.entry(0, 3, &["a", "a", "b", "b"])])
        .await;
    ledger.settle(None, 3, &["a"]).await;
    ledger.assert_shows(1, &[("a", 1)]).await;
}

#[tokio::test]
async fn an_entry_that_reaches_beyond_stays_pending() {
    let ledger = Ledger::new("beyond").await;
    ledger
        .live(1, 1, vec![ledger.entry(0, 5, &["a", "b"])])
        .await;
    ledger.settle(None, 4, &["a"]).await;
    assert_eq!(ledger.pending().await, 1);
    ledger.settle(Some(4), 5, &["b"]).await;
    ledger.assert_shows(2, &[("a", 1), ("b", 1)]).await;
}

#[tokio::test]
async fn an_emptied_redis_is_settled_again_from_none() {
    let ledger = Ledger::new("emptied").await;
    ledger
        .live(1, 1, vec![ledger.entry(0, 1, &["a", "b"])])
        .await;
    ledger.settle(None, 1, &["a", "b"]).await;
    ledger.live(1, 2, vec![ledger.entry(2, 2, &["c"])]).await;
    ledger.empty_redis().await;

    assert_eq!(ledger.watermark().await, None);
    ledger.live(1, 3, vec![ledger.entry(3, 3, &["d"])]).await; // does not wait for the consumer
    ledger.live(1, 2, vec![ledger.entry(2, 2, &["c"])]).await;
    assert_eq!(
        ledger.settle(Some(1), 3, &["c", "d"]).await,
        Settled::Found(None)
    );
    assert_eq!(
        ledger.settle(None, 3, &["a", "b", "c", "d"]).await,
        Settled::Done
    );
    ledger
        .assert_shows(4, &[("a", 1), ("b", 1), ("c", 1), ("d", 1)])
        .await;
}

#[tokio::test]
async fn a_topic_that_was_made_again_begins_a_new_ledger() {
    let ledger = Ledger::new("recreated").await;
    ledger.settle(None, 9, &["a"; 10]).await;
    let again = Position {
        incarnation: "another".to_owned(),
        partition: 0,
    };
    assert_eq!(
        ledger
            .live(
                1,
                1,
                vec![ledger.entry_at(again.clone(), 0, 1, &["b", "b"])]
            )
            .await,
        Applied::Now {
            pending: 1,
            merged: 0,
            settled: 0
        }
    );
    ledger.assert_shows(12, &[("a", 10), ("b", 2)]).await;
    ledger
        .settle_at(&again, None, 1, &["b", "b"])
        .await
        .expect("settled");
    ledger.assert_shows(12, &[("a", 10), ("b", 2)]).await;
}

#[tokio::test]
async fn a_rebuild_begins_with_nothing_and_ends_exact() {
    let ledger = Ledger::new("rebuild").await;
    let neighbour = Ledger {
        stream: ledger.stream.clone(),
        con: ledger.con.clone(),
    };
    let neighbour = Ledger {
        stream: aguacero::config::Stream {
            name: format!("{}x", neighbour.stream.name),
            ..neighbour.stream
        },
        ..neighbour
    };
    neighbour.settle(None, 0, &["n"]).await;
    ledger.settle(None, 1, &["a", "b"]).await;
    ledger.live(1, 1, vec![ledger.entry(2, 2, &["c"])]).await;

    ledger.clear().await;
    assert_eq!(ledger.dump().await.len(), 1, "only the fingerprint is left");
    ledger.live(1, 2, vec![ledger.entry(3, 3, &["d"])]).await;
    ledger.settle(None, 3, &["a", "b", "c", "d"]).await;
    ledger
        .assert_shows(4, &[("a", 1), ("b", 1), ("c", 1), ("d", 1)])
        .await;
    neighbour.assert_shows(1, &[("n", 1)]).await;
}

#[tokio::test]
async fn counters_of_another_declaration_are_refused_and_nothing_changes() {
    let ledger = Ledger::new("fingerprint").await;
    ledger
        .live(1, 1, vec![ledger.entry(0, 1, &["a", "b"])])
        .await;
    ledger.settle(None, 0, &["a"]).await;
    let before = ledger.dump().await;
    let mut other = ledger.clone();
    other.stream.counters_fingerprint += 1;

    let refused = |outcome: Option<LedgerError>| match outcome {
        Some(error @ LedgerError::Fingerprint { .. }) => {
            assert!(!error.is_retryable());
            let LedgerError::Fingerprint { found, ours, .. } = error else {
                unreachable!()
            };
            assert_eq!(
                (found.as_str(), ours.as_str()),
                ("0000000000000007", "0000000000000008")
            );
        }
        other => panic!("{other:?}"),
    };
    refused(
        other
            .try_live(2, 1, vec![other.entry(2, 2, &["c"])])
            .await
            .err(),
    );
    refused(other.settle_at(&at(0), Some(0), 1, &["b"]).await.err());
    refused(other.settle_at(&at(0), Some(4), 5, &["b"]).await.err());
    refused(
        ledger::look(&mut other.con.clone(), &other.stream, &[at(0)])
            .await
            .err(),
    );
    assert_eq!(ledger.dump().await, before);

    // A rebuild changes hands: from then on it is the first declaration that is refused.
    other.clear().await;
    assert!(
        ledger
            .try_live(1, 2, vec![ledger.entry(2, 2, &["c"])])
            .await
            .is_err()
    );
    assert_eq!(other.settle(None, 1, &["a", "b"]).await, Settled::Done);
}

#[tokio::test]
async fn every_ledger_that_redis_holds_is_listed() {
    let ledger = Ledger::new("positions").await;
    let odd = Position {
        incarnation: "with / slash".to_owned(),
        partition: 3,
    };
    ledger
        .settle_at(&at(1), None, 0, &["a"])
        .await
        .expect("settled");
    ledger
        .live(
            1,
            1,
            vec![
                ledger.entry(0, 0, &["a"]),
                ledger.entry_at(odd.clone(), 0, 0, &["a"]),
            ],
        )
        .await;
    ledger
        .live(1, 2, vec![ledger.entry_at(at(1), 1, 1, &["a"])])
        .await;

    let listed = async || ledger.look(&[]).await.positions;
    let mut expected = vec![at(0), at(1), odd];
    expected.sort();
    assert_eq!(listed().await, expected);

    for position in &expected {
        let look = ledger.look(std::slice::from_ref(position)).await;
        let from = look.of[0].watermark;
        ledger
            .settle_at(position, from, 7, &[])
            .await
            .expect("settled");
    }
    assert_eq!(listed().await, expected, "now by their watermarks");
    let look = ledger.look(&[at(9), at(0), at(1)]).await;
    let watermarks: Vec<_> = look.of.iter().map(|p| p.watermark).collect();
    assert_eq!(watermarks, [None, Some(7), Some(7)]);
}

#[tokio::test]
async fn offsets_are_exact_up_to_the_end() {
    let ledger = Ledger::new("end").await;
    ledger.settle(None, END - 3, &[]).await;
    ledger
        .live(1, 1, vec![ledger.entry(END - 2, END - 1, &["a", "b"])])
        .await;
    ledger.settle(Some(END - 3), END - 2, &["a"]).await;
    assert_eq!(
        (ledger.pending().await, ledger.watermark().await),
        (1, Some(END - 2))
    );
    ledger.settle(Some(END - 2), END - 1, &["b"]).await;
    assert_eq!(
        (ledger.pending().await, ledger.watermark().await),
        (0, Some(END - 1))
    );
    ledger.assert_shows(2, &[("a", 1), ("b", 1)]).await;
}

#[tokio::test]
async fn a_watermark_never_goes_back() {
    let ledger = Ledger::new("back").await;
    ledger.settle(None, 5, &["a"]).await;
    for (from, to) in [(Some(5), 5), (Some(5), 4), (None, -1), (Some(5), END + 1)] {
        let refused = ledger.settle_at(&at(0), from, to, &[]).await;
        assert!(
            matches!(refused, Err(LedgerError::Range { .. })),
            "{from:?} {to} {refused:?}"
        );
    }
    assert_eq!(ledger.watermark().await, Some(5));
}

#[tokio::test]
async fn what_redis_cannot_do_is_told_from_what_it_cannot_do_now() {
    let ledger = Ledger::new("damaged").await;
    let key = format!("{{{}}}:total", ledger.stream.name);
    let _: () = redis::cmd("SET")
        .arg(key)
        .arg("x")
        .query_async(&mut connect().await)
        .await
        .expect("set");
    let error = ledger
        .try_live(1, 1, vec![ledger.entry(0, 0, &["a"])])
        .await
        .expect_err("no hash");
    assert!(!error.is_retryable(), "{error}");

    let nobody = ledger::connect(
        &Redis::at("redis://127.0.0.1:1/0"),
        std::time::Duration::from_secs(1),
    )
    .await;
    assert!(nobody.err().is_some_and(|error| error.is_retryable()));
    for code in ["OOM", "MISCONF", "BUSY", "READONLY", "LOADING", "NOAUTH"] {
        let error = redis::make_extension_error(code.to_owned(), Some("for now".to_owned()));
        assert!(LedgerError::from(error).is_retryable(), "{code}");
    }
}
