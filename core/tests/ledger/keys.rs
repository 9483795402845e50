//! Keys: whatever they contain, however many there are.

use std::collections::HashMap;

use aguacero::{counts::Deltas, ledger};

use crate::fixture::{Ledger, PENDING_MAX, at, counter, frame};

#[tokio::test]
async fn keys_may_contain_anything() {
    let ledger = Ledger::new("any-key").await;
    let long = "ñ".repeat(4096);
    let keys = [
        "",
        " ",
        "a b",
        "\"",
        "'",
        "\0",
        "a\0b",
        "\r\n",
        "1",
        "-0",
        "1e3",
        "events",
        "total",
        "{x}",
        "🇵🇪 👩‍👩‍👧",
        "%s\\",
        &long,
    ];
    let once: Vec<(&str, i64)> = keys.iter().map(|key| (*key, 1)).collect();
    ledger.settle(None, 0, &keys).await;
    ledger.assert_shows(keys.len() as i64, &once).await;

    // Through pending, merged, and out again.
    for offset in 1..=2 * PENDING_MAX as i64 {
        ledger
            .live(1, offset as u64, vec![ledger.entry(offset, offset, &keys)])
            .await;
    }
    ledger.settle(Some(0), 2 * PENDING_MAX as i64, &[]).await;
    ledger.assert_shows(keys.len() as i64, &once).await;
}

#[tokio::test]
async fn there_may_be_more_keys_than_lua_can_unpack() {
    let ledger = Ledger::counting("many-keys", vec![counter("by_key", 50_000, &[])]).await;
    let names: Vec<String> = (0..30_000).map(|i| format!("key {i}")).collect();
    let keys: Vec<&str> = names.iter().map(String::as_str).collect();
    let entry = ledger.entry(0, 29_999, &keys);
    let part = frame(&ledger, 1, 1, vec![entry]);
    let applied = ledger::live(&mut ledger.con.clone(), 100, &[part]).await;
    applied.expect("Redis answers").remove(0).expect("applied");
    assert_eq!(ledger.shown().await.counters[0].len(), 30_000);
    ledger.settle(None, 29_999, &keys[1..]).await;
    let shown = ledger.shown().await;
    assert_eq!((shown.events, shown.counters[0].len()), (29_999, 29_999));
}

#[tokio::test]
async fn keys_beyond_max_distinct_count_as_overflow() {
    let ledger = Ledger::counting("overflow", vec![counter("by_key", 2, &[])]).await;
    ledger
        .live(1, 1, vec![ledger.entry(0, 1, &["a", "b"])])
        .await;
    ledger
        .live(1, 2, vec![ledger.entry(2, 4, &["a", "c", "d"])])
        .await;
    ledger.assert_shows(5, &[("a", 2), ("b", 1)]).await;
    assert_eq!(ledger.shown().await.overflow, [2]);

    ledger
        .settle(None, 5, &["a", "b", "a", "c", "d", "e"])
        .await;
    ledger.assert_shows(6, &[("a", 2), ("b", 1)]).await;
    assert_eq!(ledger.shown().await.overflow, [3]);
}

#[tokio::test]
async fn keys_that_the_archive_does_not_hold_leave_no_field_and_take_no_room() {
    let ledger = Ledger::counting("pending-only", vec![counter("by_key", 3, &[])]).await;
    for i in 0..10_i64 {
        let (key, another) = (format!("key {i}"), format!("another key {i}"));
        ledger
            .live(
                1,
                1 + i as u64,
                vec![ledger.entry(2 * i, 2 * i + 1, &[&key, &another])],
            )
            .await;
    }
    ledger.settle(None, 19, &[]).await;
    ledger.assert_shows(0, &[]).await;
    assert_eq!(ledger.zeros().await, [""; 0]);

    let real = ["a", "b", "c", "d"];
    ledger.live(1, 11, vec![ledger.entry(20, 23, &real)]).await;
    let shown = ledger.shown().await;
    assert_eq!(
        (shown.counters[0].len(), &shown.overflow[..]),
        (3, &[1][..])
    );
    ledger.settle(Some(19), 23, &real[..3]).await;
    ledger
        .assert_shows(3, &[("a", 1), ("b", 1), ("c", 1)])
        .await;
    assert_eq!(ledger.zeros().await, [""; 0]);
}

#[tokio::test]
async fn the_archive_names_its_keys_whatever_was_live() {
    let ledger = Ledger::counting("no-room", vec![counter("by_key", 1, &[])]).await;
    ledger
        .live(
            1,
            1,
            vec![ledger.entry(0, 0, &["a"]), ledger.entry(1, 1, &["b"])],
        )
        .await;
    assert_eq!(ledger.shown().await.overflow, [1]);
    ledger.settle(None, 1, &["b"]).await; // the "a" was a duplicate
    ledger.live(1, 2, vec![ledger.entry(2, 2, &["b"])]).await;
    ledger.assert_shows(2, &[("b", 2)]).await;
    ledger.settle(Some(1), 2, &["b"]).await;
    ledger.assert_shows(2, &[("b", 2)]).await;
    assert_eq!(ledger.shown().await.overflow, [0]);
}

#[tokio::test]
async fn a_key_that_is_only_pending_keeps_no_name_from_the_archive() {
    let ledger = Ledger::counting("pending-names", vec![counter("by_key", 2, &[])]).await;
    let elsewhere = |first, last, keys: &[&str]| ledger.entry_at(at(1), first, last, keys);
    ledger
        .live(1, 1, vec![elsewhere(0, 1, &["x", "y"])]) // pending, and slow to be settled
        .await;
    ledger.settle(None, 1, &["a", "b"]).await;
    ledger.settle(Some(1), 2, &["x"]).await;
    ledger
        .assert_shows(5, &[("a", 1), ("b", 1), ("x", 1), ("y", 1)])
        .await;
    assert_eq!(ledger.shown().await.overflow, [1], "x, as it is settled");

    // Pending names beyond max_distinct are not added to, or a busy key would keep part of its figure.
    ledger
        .live(1, 2, vec![elsewhere(2, 4, &["x", "a", "z"])])
        .await;
    ledger
        .assert_shows(8, &[("a", 2), ("b", 1), ("x", 1), ("y", 1)])
        .await;
    for (from, to, archived) in [(None, 1, ["x"]), (Some(1), 4, ["a"])] {
        ledger
            .settle_at(&at(1), from, to, &archived)
            .await
            .expect("settled");
    }
    ledger.assert_shows(5, &[("a", 2), ("b", 1)]).await;
    assert_eq!(ledger.shown().await.overflow, [2], "x, twice");
}

#[tokio::test]
async fn a_key_that_vanished_comes_back_with_its_whole_figure() {
    let ledger = Ledger::counting("back", vec![counter("by_key", 1, &[])]).await;
    ledger.live(1, 1, vec![ledger.entry(0, 0, &["a"])]).await;
    ledger.live(1, 2, vec![ledger.entry(1, 1, &["b"])]).await;
    ledger.settle(None, 0, &[]).await; // the "a" was a duplicate; "b" is still in the overflow
    ledger.assert_shows(1, &[]).await;
    ledger
        .live(1, 3, vec![ledger.entry(2, 3, &["a", "b"])])
        .await;
    ledger.settle(Some(0), 3, &["b", "a", "b"]).await;
    let shown = ledger.shown().await;
    let named: i64 = shown.counters[0].values().sum();
    assert_eq!((shown.events, named + shown.overflow[0]), (3, 3));
    let whole = HashMap::from([("a".to_owned(), 1), ("b".to_owned(), 2)]);
    for (key, n) in &shown.counters[0] {
        assert_eq!(whole.get(key), Some(n), "{key}");
    }
    assert_eq!(shown.counters[0].len(), 1);
}

#[tokio::test]
async fn a_counter_shows_only_the_keys_that_it_declares() {
    let counters = vec![
        counter("declared", 10, &["sí", "no"]),
        counter("free", 10, &[]),
    ];
    let ledger = Ledger::counting("declared", counters).await;
    ledger
        .live(
            1,
            1,
            vec![ledger.entry(0, 3, &["sí", "no", "quizás", "sí"])],
        )
        .await;
    ledger
        .settle(None, 4, &["sí", "no", "quizás", "sí", ""])
        .await;

    let shown = ledger.shown().await;
    assert_eq!(
        shown.counters[0],
        HashMap::from([("sí".to_owned(), 2), ("no".to_owned(), 1)])
    );
    assert_eq!(shown.counters[1].len(), 4);
    assert_eq!((shown.events, &shown.overflow[..]), (5, &[2, 0][..]));
}

#[tokio::test]
async fn a_stream_without_counters_has_a_total() {
    let ledger = Ledger::counting("only-total", Vec::new()).await;
    ledger
        .live(1, 1, vec![ledger.entry(0, 1, &["x", "y"])])
        .await;
    ledger.settle(None, 2, &["x", "y", "z"]).await;
    assert_eq!(ledger.shown().await.events, 3);
}

#[tokio::test]
async fn large_numbers_stay_exact() {
    let ledger = Ledger::new("large").await;
    let n = (1 << 52) + 1;
    let archived = Deltas {
        events: n,
        counters: vec![HashMap::from_iter([("a".to_owned(), n)])],
    };
    ledger::settle(
        &mut ledger.con.clone(),
        &ledger.stream,
        &at(0),
        (None, 0),
        &archived,
        None,
    )
    .await
    .expect("settled");
    ledger.assert_shows(n as i64, &[("a", n as i64)]).await;
    ledger.live(1, 1, vec![ledger.entry(1, 1, &["a"])]).await;
    ledger
        .assert_shows(n as i64 + 1, &[("a", n as i64 + 1)])
        .await;
}
