//! A ledger of which a part was lost, or changed by somebody else: it is noticed, nothing is settled on top of
//! it, and it can be begun again.

use aguacero::ledger::{self, Settled};

use crate::fixture::{Ledger, PENDING_MAX, at, counter};

/// A ledger with everything that one can have.
async fn full(name: &str) -> Ledger {
    let ledger = Ledger::counting(name, vec![counter("by_key", 2, &[])]).await;
    ledger.settle(None, 2, &["a", "b", "b"]).await;
    ledger.settle(Some(2), 4, &["c", "c"]).await;
    ledger
        .live(1, 1, vec![ledger.entry(5, 6, &["a", "d"])])
        .await;
    ledger
}

#[tokio::test]
async fn every_part_that_is_lost_is_missed_and_nothing_is_settled_until_the_count_begins_again() {
    let pending = format!("pending:{}", at(0));
    for part in [
        "total",
        "by_key",
        "settled:by_key",
        "overflow",
        "watermark",
        "settled",
        "pending",
        &pending,
        "meta",
    ] {
        let ledger = full("lost-part").await;
        let before = ledger.look(&[at(0)]).await;
        assert_eq!(before.damage, None);
        ledger.delete(&ledger.key(part)).await;
        let damaged = ledger.look(&[at(0)]).await.damage;
        assert!(damaged.is_some(), "{part}");
        // Also by whoever settles, wherever the watermark seems to be.
        for from in [None, Some(4)] {
            let settled = ledger.settle(from, 6, &["a", "d"]).await;
            assert!(
                matches!(settled, Settled::Damaged(_)),
                "{part}: {settled:?}"
            );
        }
        // Live deltas mend nothing by chance.
        ledger
            .live(1, 2, vec![ledger.entry(7, 8, &["a", "e"])])
            .await;
        assert!(ledger.look(&[at(0)]).await.damage.is_some(), "{part}");
        ledger.clear().await;
        let settled = ledger.settle(None, 8, &["a"; 9]).await;
        assert_eq!(settled, Settled::Done, "{part}");
        ledger.assert_shows(9, &[("a", 9)]).await;
    }
}

#[tokio::test]
async fn a_figure_that_somebody_else_has_changed_is_noticed() {
    for command in [
        ("HINCRBY", "by_key", "b", Some("1")),
        ("HDEL", "by_key", "b", None),
        ("HSET", "by_key", "z", Some("7")),
        ("HSET", "by_key", "b", Some("no number")),
    ] {
        let ledger = full("changed").await;
        let con = &mut ledger.con.clone();
        assert_eq!(ledger::check(con, &ledger.stream).await.unwrap(), None);
        let (name, part, field, value) = command;
        let key = ledger.key(part);
        let args = [
            Some(&key[..]),
            Some(field.as_bytes()),
            value.map(str::as_bytes),
        ];
        let args: Vec<_> = args.into_iter().flatten().collect();
        ledger.command(name, &args).await;
        let found = ledger::check(con, &ledger.stream).await.unwrap();
        assert_eq!(found.as_deref(), Some("by_key"), "{command:?}");
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_a_damage() {
    let position = at(0).to_string();
    for (part, field, value) in [
        ("watermark", position.as_str(), "1e300"),
        ("watermark", position.as_str(), "abc"),
        ("meta", "counters", "junk"),
    ] {
        let ledger = full("unreadable").await;
        let args: &[&[u8]] = &[&ledger.key(part), field.as_bytes(), value.as_bytes()];
        ledger.command("HSET", args).await;
        let look = ledger.look(&[at(0)]).await;
        assert!(look.damage.is_some(), "{part} {value}");
        let con = &mut ledger.con.clone();
        if part == "watermark" {
            let settled = ledger.settle(Some(4), 6, &["a"]).await;
            assert!(matches!(settled, Settled::Damaged(_)), "{settled:?}");
        }
        let cleared = ledger::clear(con, &ledger.stream, Some(&look.generation), None).await;
        assert!(cleared.unwrap());
        assert_eq!(ledger.settle(None, 0, &["a"]).await, Settled::Done);
    }
}

#[tokio::test]
async fn a_large_counter_is_compared_step_by_step() {
    let ledger = Ledger::counting("large-check", vec![counter("by_key", 50_000, &[])]).await;
    let names: Vec<String> = (0..9_000).map(|i| format!("clé {i}")).collect();
    let keys: Vec<&str> = names.iter().map(String::as_str).collect();
    ledger.settle(None, 8_999, &keys).await;
    let con = &mut ledger.con.clone();
    assert_eq!(ledger::check(con, &ledger.stream).await.unwrap(), None);
    let key = ledger.key("by_key");
    let one: &[&[u8]] = &[&key, "clé 77".as_bytes(), b"-1"];
    ledger.command("HINCRBY", one).await;
    let found = ledger::check(con, &ledger.stream).await.unwrap();
    assert_eq!(found.as_deref(), Some("by_key"));
}

#[tokio::test]
async fn a_key_of_another_type_is_a_damage() {
    for part in ["total", "by_key", "watermark", "meta", "pending"] {
        let ledger = full("type").await;
        ledger.delete(&ledger.key(part)).await;
        ledger.command("SET", &[&ledger.key(part), b"x"]).await;
        let look = ledger.look(&[at(0)]).await;
        assert!(look.damage.is_some(), "{part}");
        let con = &mut ledger.con.clone();
        let cleared = ledger::clear(con, &ledger.stream, Some(&look.generation), None).await;
        assert!(cleared.unwrap(), "{part}");
        assert_eq!(ledger.settle(None, 0, &["a"]).await, Settled::Done);
        ledger.assert_shows(1, &[("a", 1)]).await;
    }
}

#[tokio::test]
async fn of_two_that_have_seen_a_damage_one_begins_again() {
    let ledger = full("generation").await;
    let seen = ledger.look(&[]).await.generation;
    let clear = async || {
        let con = &mut ledger.con.clone();
        ledger::clear(con, &ledger.stream, Some(&seen), Some("an archive"))
            .await
            .unwrap()
    };
    assert!(clear().await);
    ledger.settle(None, 0, &["a"]).await;
    assert!(!clear().await);
    ledger.assert_shows(1, &[("a", 1)]).await;
    assert_ne!(ledger.look(&[]).await.generation, seen);
}

#[tokio::test]
async fn a_count_that_shall_begin_again_says_so_in_redis() {
    let ledger = full("recount").await;
    let con = &mut ledger.con.clone();
    ledger::want_recount(con, &ledger.stream, "the first reason")
        .await
        .unwrap();
    ledger::want_recount(con, &ledger.stream, "another")
        .await
        .unwrap();
    let recount = ledger.look(&[]).await.recount;
    assert_eq!(recount.as_deref(), Some("the first reason"));
    let settled = ledger.settle(Some(4), 6, &["a"]).await;
    assert_eq!(settled, Settled::Damaged("recount".into()));
    ledger.clear().await;
    assert_eq!(ledger.look(&[]).await.recount, None);
    assert_eq!(ledger.settle(None, 6, &["a"]).await, Settled::Done);
}

#[tokio::test]
async fn what_was_counted_from_one_archive_is_not_mixed_with_another() {
    let ledger = Ledger::new("origin").await;
    let settle = async |from, to, origin| {
        let archived = crate::fixture::deltas(&ledger.stream, &["a"]);
        let con = &mut ledger.con.clone();
        ledger::settle(
            con,
            &ledger.stream,
            &at(0),
            (from, to),
            &archived,
            Some(origin),
        )
        .await
        .unwrap()
    };
    assert_eq!(settle(None, 0, "one").await, Settled::Done);
    assert_eq!(
        settle(Some(0), 1, "two").await,
        Settled::Origin("one".into())
    );
    assert_eq!(settle(Some(0), 1, "one").await, Settled::Done);
    assert_eq!(ledger.look(&[]).await.origin.as_deref(), Some("one"));
    ledger.assert_shows(2, &[("a", 2)]).await;
}

#[tokio::test]
async fn much_that_is_pending_is_settled_in_steps() {
    let ledger = Ledger::counting("steps", vec![counter("by_key", 100_000, &[])]).await;
    let names: Vec<String> = (0..30_000).map(|i| format!("key {i}")).collect();
    let live = async |pending_max: usize| {
        for (i, keys) in names.chunks(50).enumerate() {
            let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
            let first = 50 * i as i64;
            let entry = ledger.entry(first, first + 49, &keys);
            let part = crate::fixture::frame(&ledger, 1, 1 + i as u64, vec![entry]);
            let con = &mut ledger.con.clone();
            ledger::live(con, pending_max, &[part]).await.unwrap();
        }
    };
    live(1000).await;
    let (mut from, mut to, mut steps) = (None, 29_999, 0);
    while from != Some(29_999) {
        match ledger.settle(from, to, &[]).await {
            Settled::Done => (from, to) = (Some(to), 29_999),
            Settled::Step(most) => {
                assert!(most < to && Some(most) > from, "{from:?} {most} {to}");
                (to, steps) = (most, steps + 1);
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(steps > 1);
    ledger.assert_shows(0, &[]).await;
    assert_eq!(
        (ledger.pending().await, ledger.zeros().await),
        (0, Vec::new())
    );
}

#[tokio::test]
async fn an_entry_that_others_are_merged_into_stays_small_and_the_total_right() {
    let ledger = Ledger::counting("merged-keys", vec![counter("by_key", 100_000, &[])]).await;
    let names: Vec<String> = (0..9_000).map(|i| format!("key {i}")).collect();
    for (i, keys) in names.chunks(100).enumerate() {
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let first = 100 * i as i64;
        ledger
            .live(
                1,
                1 + i as u64,
                vec![ledger.entry(first, first + 99, &keys)],
            )
            .await;
    }
    let shown = ledger.shown().await;
    let named = shown.counters[0].len();
    assert_eq!(
        (shown.events, named as i64 + shown.overflow[0]),
        (9_000, 9_000)
    );
    assert_eq!(named, 1_000 + (PENDING_MAX - 1) * 100);
    ledger.settle(None, 8_999, &["a"]).await;
    ledger.assert_shows(1, &[("a", 1)]).await;
    assert_eq!(ledger.shown().await.overflow, [0]);
}
