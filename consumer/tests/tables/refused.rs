//! What cannot be a row is a dead letter, whole and with its reason, and can be tried again.

use std::sync::Arc;

use aguacero::id::EventId;
use consumer::{sink::Sink as _, tables::Rows, transaction::TransactionSink};
use serde_json::json;

use crate::{
    tables::{OWNER, STREAM, Tables, ago, sales},
    world::header,
};

/// The numbers of the sales that are there, in order.
async fn numbers(tables: &Tables) -> Vec<i64> {
    let sql = "SELECT substr(cliente, 7, length(cliente) - 8)::int AS n FROM ventas ORDER BY 1";
    let rows = tables.rows(sql).await;
    rows.iter().map(|row| row["n"].as_i64().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_postgresql_refuses_is_kept_whole_while_the_others_of_the_batch_go_in() {
    let tables = Tables::new(1).await;
    tables
        .execute(
            "ALTER TABLE ventas ADD CHECK (cantidad <> 13);
             CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
               IF NEW.cantidad = 14 THEN RAISE EXCEPTION 'nobody sells 14'; END IF; RETURN NEW; END $$;
             CREATE TRIGGER no BEFORE INSERT ON ventas FOR EACH ROW EXECUTE FUNCTION no();",
        )
        .await;
    let mut events = sales(300);
    events[7].1 = r#"{"cantidad":7}"#.to_owned();
    events[77].1 = r#"{"cliente":"alguien con un nombre largo","cantidad":1}"#.to_owned();
    let last = tables.send(0, &events);
    let running = tables.start().await;
    tables.is_finished(0, last).await;
    let refused = [7, 13, 14, 77, 113, 114, 213, 214];
    let others: Vec<i64> = (0..300).filter(|n| !refused.contains(n)).collect();
    assert_eq!(numbers(&tables).await, others);
    let letters = tables.dead_letters().await;
    assert!(
        letters.iter().all(|(reason, _)| reason == "refused"),
        "{letters:?}"
    );
    let says = [
        "column: cliente",
        "violates check",
        "nobody sells 14 (P0001)",
        "(22001)",
    ];
    for ((_, detail), says) in letters.iter().zip(says) {
        assert!(detail.contains(says), "{says}: {detail}");
    }
    let rows = tables
        .rows("SELECT \"offset\" AS o, stream, id, convert_from(value, 'UTF8') AS value, header IS NULL AS headless, topic \
               FROM aguacero.dead_letters ORDER BY \"offset\"")
        .await;
    assert_eq!(rows.len(), refused.len());
    for (row, n) in rows.iter().zip(refused) {
        let (id, json) = &events[n as usize];
        let whole = json!({
            "o": n, "stream": tables.config.streams[STREAM].name, "topic": tables.world.topic(),
            "id": uuid::Uuid::from_bytes(id.0).to_string(), "value": json, "headless": false,
        });
        assert_eq!(*row, whole);
    }
    // Nor are they taken: the same event again is judged again.
    let last = tables.send(0, &events[13..14]);
    tables.is_finished(0, last).await;
    assert_eq!(tables.dead_letters().await.len(), refused.len() + 1);
    running.stop().await;
}

/// What it raises comes before PostgreSQL has looked at any row.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_trigger_before_the_statement_raises_is_a_dead_letter() {
    let tables = Tables::new(1).await;
    tables
        .execute(
            "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'closed'; END $$;
             CREATE TRIGGER no BEFORE INSERT ON ventas FOR EACH STATEMENT EXECUTE FUNCTION no();",
        )
        .await;
    let last = tables.send(0, &sales(7));
    let running = tables.start().await;
    tables.is_finished(0, last).await;
    let letters = tables.dead_letters().await;
    assert_eq!(letters.len(), 7);
    assert!(
        letters
            .iter()
            .all(|(_, detail)| detail.contains("closed (P0001)")),
        "{letters:?}"
    );
    tables.execute("DROP TRIGGER no ON ventas").await;
    let last = tables.send(0, &sales(7));
    tables.is_finished(0, last).await;
    assert_eq!(tables.count("ventas").await, 7);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_of_refused_events_alone_is_finished() {
    let tables = Tables::new(1).await;
    tables
        .execute("ALTER TABLE ventas ADD CHECK (cantidad < 0)")
        .await;
    let last = tables.send(0, &sales(200));
    let running = tables.start().await;
    tables.is_finished(0, last).await;
    assert_eq!(tables.count("ventas").await, 0);
    assert_eq!(tables.count("aguacero.events").await, 0);
    assert_eq!(tables.dead_letters().await.len(), 200);
    running.stop().await;
}

/// PostgreSQL would tell of it at the commit, when nobody knows any more which row it is about.
#[tokio::test(flavor = "multi_thread")]
async fn a_constraint_that_is_deferred_refuses_its_row_alone() {
    let tables = Tables::new(1).await;
    let unique = "ALTER TABLE ventas ADD UNIQUE (cantidad) DEFERRABLE INITIALLY DEFERRED";
    tables.execute(unique).await;
    let last = tables.send(0, &sales(130));
    let running = tables.start().await;
    tables.is_finished(0, last).await;
    assert_eq!(numbers(&tables).await, (0..100).collect::<Vec<_>>());
    let letters = tables.dead_letters().await;
    assert_eq!(letters.len(), 30);
    assert!(
        letters.iter().all(|(_, detail)| detail.contains("(23505)")),
        "{letters:?}"
    );
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_value_under_the_same_id_is_a_dead_letter() {
    let tables = Tables::new(2).await;
    let id = EventId::new_base();
    let of = |n: u64, value: &str| (id.plus(n), format!(r#"{{"cliente":"{value}"}}"#));
    tables.send(0, &[of(0, "a"), of(1, "a"), of(1, "b"), of(1, "a")]); // within one batch
    let running = tables.start().await;
    tables.has_rows("ventas", 2).await;
    let last = tables.send(1, &[of(0, "b"), of(0, "a")]); // and against what is there
    tables.is_finished(1, last).await;
    let rows = tables
        .rows(
            "SELECT partition, \"offset\" AS o, reason, convert_from(value, 'UTF8') AS value \
               FROM aguacero.dead_letters ORDER BY 1",
        )
        .await;
    let letter = |partition, offset| json!({ "partition": partition, "o": offset, "reason": "id-conflict", "value": of(0, "b").1 });
    assert_eq!(rows, [letter(0, 2), letter(1, 0)]);
    let rows = tables.rows("SELECT DISTINCT cliente FROM ventas").await;
    assert_eq!(rows, [json!({ "cliente": "a" })]);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_event_is_kept_with_its_reason_and_stops_nobody() {
    let tables = Tables::new(1).await;
    let stream = &tables.config.streams[STREAM];
    let id = EventId::new_base();
    let of = |n: u64| header(stream, id.plus(n));
    let (good, a, b, c) = (of(0), of(1), of(2), of(3));
    let large = format!(
        r#"{{"cliente":"{}"}}"#,
        "x".repeat(tables.config.gateway.event_bytes_max)
    );
    tables.world.send_raw(
        0,
        &[
            (None, Some(b"{}")),
            (Some(b"\0"), Some(b"{}")),
            (Some(&a), None),
            (Some(&b), Some(b"{\"a\":")),
            (Some(&c), Some(large.as_bytes())),
            (Some(&good), Some(br#"{"cliente":"a"}"#)),
        ],
    );
    let running = tables.start().await;
    tables.is_finished(0, 5).await;
    assert_eq!(tables.count("ventas").await, 1);
    let letters = tables.dead_letters().await;
    let reasons: Vec<_> = letters.iter().map(|(reason, _)| &**reason).collect();
    let expected = [
        "no-header",
        "damaged-header",
        "no-value",
        "malformed",
        "too-large",
    ];
    assert_eq!(reasons, expected);
    running.stop().await;
}

/// Kafka takes what a producer says; PostgreSQL has no years before -4713 and after 294276.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_of_no_time_that_postgresql_knows_stops_nobody() {
    let tables = Tables::new(1).await;
    let (events, millennia) = (sales(3), 300_000 * 31_556_952_000_i64);
    tables.send_at(0, ago(0), (events[0].0, &events[0].1));
    tables.send_at(0, -millennia, (events[1].0, &events[1].1));
    let last = tables.send_at(0, ago(0), (events[2].0, &events[2].1));
    let running = tables.start().await;
    tables.is_finished(0, last).await;
    assert_eq!(numbers(&tables).await, [0, 2]);
    let letters = tables.dead_letters().await;
    assert_eq!(letters.len(), 1);
    assert!(
        letters[0].1.contains("timestamp with time zone"),
        "{letters:?}"
    );
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_is_a_row_once_its_cause_is_mended() {
    let tables = Tables::new(2).await;
    let check = "ALTER TABLE ventas ADD CONSTRAINT few CHECK (cantidad < 50)";
    tables.execute(check).await;
    let events = sales(200);
    let of_first = tables.send(0, &events[..100]);
    let of_second = tables.send(1, &events[100..]);
    let running = tables.start().await;
    tables.is_finished(0, of_first).await;
    tables.is_finished(1, of_second).await;
    assert_eq!(tables.count("ventas").await, 100);
    assert_eq!(tables.count("aguacero.dead_letters").await, 100);
    let (is_well, list) = tables.said(&["dead-letters", "--limit", "3"], OWNER);
    assert!(
        is_well && list.contains("100 dead letters, 3 shown"),
        "{list}"
    );
    assert!(
        list.contains("violates check constraint \"few\" (23514)"),
        "{list}"
    );

    // Not mended yet: nothing changes.
    let before = tables.dead_letters().await;
    let (is_well, said) = tables.said(&["retry"], OWNER);
    assert!(
        is_well && said.contains("0 are rows now, 100 are dead letters still"),
        "{said}"
    );
    assert_eq!(tables.dead_letters().await, before);

    tables
        .execute(
            "ALTER TABLE ventas DROP CONSTRAINT few; ALTER TABLE ventas ADD CHECK (cantidad <> 99)",
        )
        .await;
    let (is_well, said) = tables.said(&["retry", "--reason", "no-header"], OWNER);
    assert!(is_well && said.contains("0 are rows now"), "{said}");
    let (is_well, said) = tables.said(&["retry", "--reason", "refused"], OWNER);
    assert!(
        is_well && said.contains("98 are rows now, 2 are dead letters still"),
        "{said}"
    );
    let all: Vec<i64> = (0..200).filter(|n| n % 100 != 99).collect();
    assert_eq!(numbers(&tables).await, all);
    let left = tables.dead_letters().await;
    assert!(
        left.len() == 2 && left[0].1.contains("ventas_cantidad_check"),
        "{left:?}"
    );
    // With their own places.
    let places = tables
        .rows("SELECT particion, lugar FROM ventas WHERE cantidad = 60 ORDER BY 1")
        .await;
    assert_eq!(
        places,
        [0, 1].map(|p| json!({ "particion": p, "lugar": 60 }))
    );
    // And sent again they are repeats, of rows as of dead letters that are rows now.
    let last = tables.send(1, &events[..99]);
    tables.is_finished(1, last).await;
    assert_eq!(numbers(&tables).await, all);
    assert_eq!(tables.dead_letters().await, left);
    running.stop().await;
}

/// Nobody knows what it is: it is no dead letter until an operator says so.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_of_a_later_release_stops_its_partition_until_it_is_passed_over() {
    let tables = Tables::new(2).await;
    is_passed_over(&tables, &[]).await;
}

/// A processor is another group, of which the log says so.
#[tokio::test(flavor = "multi_thread")]
async fn a_processor_is_helped_past_a_record_by_its_group() {
    let mut tables = Tables::new(2).await;
    let group = format!("{}-p", tables.config.consumer.group);
    tables.config.consumer.group.clone_from(&group);
    is_passed_over(&tables, &["--group", &group]).await;
}

async fn is_passed_over(tables: &Tables, group: &[&str]) {
    let mut newer = header(&tables.config.streams[STREAM], EventId::new_base());
    newer[0] = 2;
    let before = tables.send(0, &sales(10));
    tables.world.send_raw(0, &[(Some(&newer), Some(b"{}"))]);
    let last = tables.send(0, &sales(5));
    let running = tables.start().await;
    tables.is_finished(0, before).await;
    let beside = tables.send(1, &sales(30));
    tables.is_finished(1, beside).await;
    assert_eq!(tables.count("ventas").await, 40);
    assert_eq!(tables.dead_letters().await, []);
    let place = format!("{}/0/{}", tables.world.topic(), before + 1);
    let client = tables.pool.get().await.unwrap();
    let rows = Rows::look(&tables.config, &client).await.unwrap();
    let sink = TransactionSink::new(Arc::new(tables.config.clone()), tables.pool.clone(), rows);
    let way = sink.way_past(tables.world.topic(), 0, before + 1);
    let command = [&["consumer tables pass-over", &place], group].concat();
    assert_eq!(way, format!("To pass it over: {}", command.join(" ")));
    let command = [&["pass-over", &place, "--why", "so be it"], group].concat();
    let (is_well, said) = tables.said(&command, OWNER);
    assert!(is_well && said.contains("passed over"), "{said}");
    tables.is_finished(0, last).await;
    assert_eq!(tables.count("ventas").await, 45);
    let letters = tables.dead_letters().await;
    assert!(
        letters.len() == 1 && letters[0].0 == "passed-over",
        "{letters:?}"
    );
    assert!(letters[0].1.contains("so be it"), "{letters:?}");
    let (is_well, said) = tables.said(&[&["dead-letters"], group].concat(), OWNER);
    assert!(
        is_well && said.contains("1 dead letters, 1 shown"),
        "{said}"
    );
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_that_nobody_can_judge_keeps_no_other_from_being_tried_again() {
    let tables = Tables::new(1).await;
    let check = "ALTER TABLE ventas ADD CONSTRAINT few CHECK (cantidad < 8)";
    tables.execute(check).await;
    let mut newer = header(&tables.config.streams[STREAM], EventId::new_base());
    newer[0] = 2;
    let before = tables.send(0, &sales(10));
    tables.world.send_raw(0, &[(Some(&newer), Some(b"{}"))]);
    let last = tables.send(0, &sales(10));
    let running = tables.start().await;
    tables.is_finished(0, before).await;
    let place = format!("{}/0/{}", tables.world.topic(), before + 1);
    let (is_well, said) = tables.said(&["pass-over", &place], OWNER);
    assert!(is_well, "{said}");
    tables.is_finished(0, last).await;
    running.stop().await;
    assert_eq!(tables.dead_letters().await.len(), 5);

    tables
        .execute("ALTER TABLE ventas DROP CONSTRAINT few")
        .await;
    let (is_well, said) = tables.said(&["retry"], OWNER);
    assert!(is_well, "{said}");
    let counts = "4 are rows now, 1 are dead letters still";
    let unjudged = format!("1 of these cannot be judged, the first: {place}: ");
    assert!(said.contains(counts) && said.contains(&unjudged), "{said}");
    assert_eq!(tables.count("ventas").await, 20);
}
