//! An event is a row, once, and what a later one under its key does.

use std::collections::BTreeSet;

use aguacero::id::EventId;
use serde_json::json;

use crate::{
    tables::{STREAM, Tables, ago, sales},
    world::{World, eventually},
};

/// A table by `cliente`; WORD says what a later event does.
const BY_KEY: &str = r#"
fields = [
  { name = "cliente", type = "string", required = true },
  { name = "cantidad", type = "integer" },
]
[streams.NAME-s.table]
name = "ventas"
on_conflict = "WORD"
primary_key = ["cliente"]
columns = [
  { name = "cliente", field = "cliente" },
  { name = "n", field = "cantidad" },
  { name = "llegada", value = "arrival" },
]
"#;

fn of(cliente: &str, cantidad: i32) -> String {
    format!(r#"{{"cliente":"{cliente}","cantidad":{cantidad}}}"#)
}

/// Also into another table.
const RULE: &str = "CREATE TABLE nombres (cliente text); \
     CREATE RULE tambien AS ON INSERT TO ventas DO ALSO INSERT INTO nombres VALUES (NEW.cliente)";

const BY_CLIENT: &str = "SELECT cliente, n AS cantidad FROM ventas ORDER BY cliente";

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_a_row_with_its_values_its_place_and_its_arrival() {
    let tables = Tables::new(2).await;
    let id = EventId::new_base();
    let json = r#"{"cliente":"Ñandú ☔","cantidad":-7,"otro":1}"#;
    let at_ms = ago(123);
    let offset = tables.send_at(1, at_ms, (id, json));
    let running = tables.start().await;
    tables.has_rows("ventas", 1).await;
    let rows = tables
        .rows("SELECT id, (extract(epoch FROM llegada) * 1000)::bigint AS ms, particion, lugar, tema, cliente, cantidad FROM ventas")
        .await;
    let row = json!({
        "id": uuid::Uuid::from_bytes(id.0).to_string(),
        "ms": rows[0]["ms"],
        "particion": 1,
        "lugar": offset,
        "tema": tables.world.topic(),
        "cliente": "Ñandú ☔",
        "cantidad": -7,
    });
    assert_eq!(rows, [row]);
    assert_eq!(rows[0]["ms"].as_i64(), Some(at_ms));
    tables.world.has_committed(1, offset + 1).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_was_sent_again_is_one_row_and_no_dead_letter() {
    let tables = Tables::new(2).await;
    let events = sales(500);
    tables.send(0, &[&events[..], &events[100..300]].concat());
    tables.send(1, &events[250..]);
    let running = tables.start().await;
    tables.has_rows("ventas", 500).await;
    let last = tables.send(1, &events);
    tables.is_finished(1, last).await;
    running.stop().await;
    // Nor does another process know less.
    let last = tables.send(0, &events);
    let running = tables.start().await;
    tables.is_finished(0, last).await;
    let rows = tables.rows("SELECT cliente FROM ventas").await;
    let rows: BTreeSet<_> = rows.iter().map(|row| row["cliente"].to_string()).collect();
    let sent = (0..500).map(|i| format!("\"Ñandú {i} ☔\""));
    assert_eq!(rows, sent.collect());
    assert_eq!(tables.count("ventas").await, 500);
    assert_eq!(tables.count("aguacero.events").await, 500);
    assert_eq!(tables.dead_letters().await, []);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_update_the_later_event_by_arrival_wins_wherever_it_lies() {
    let tables = Tables::with(2, &BY_KEY.replace("WORD", "update")).await;
    let id = EventId::new_base();
    let (first, second) = ((id, of("a", 1)), (id.plus(1), of("a", 2)));
    tables.send_at(0, ago(8000), (second.0, &second.1));
    tables.send_at(0, ago(9000), (id.plus(2), &of("b", 3))); // of one batch, in the wrong order
    tables.send_at(0, ago(9100), (id.plus(3), &of("b", 4)));
    tables.send_at(0, ago(5000), (id.plus(4), &of("c", 5))); // of one millisecond
    let last = tables.send_at(0, ago(5000), (id.plus(5), &of("c", 6)));
    let running = tables.start().await;
    tables.is_finished(0, last).await;
    let expected = [
        json!({ "cliente": "a", "cantidad": 2 }),
        json!({ "cliente": "b", "cantidad": 3 }),
        json!({ "cliente": "c", "cantidad": 6 }),
    ];
    assert_eq!(tables.rows(BY_CLIENT).await, expected);
    // One that arrived earlier and comes later, from another partition and from this one.
    tables.send_at(1, ago(9000), (first.0, &first.1));
    tables.send_at(1, ago(5001), (id.plus(6), &of("c", 7)));
    // And one that was there, sent again: it arrived a second time, and is no other event for that.
    let last = tables.send_at(1, ago(1000), (id.plus(2), &of("b", 3)));
    tables.send_at(0, ago(1000), (id.plus(3), &of("b", 4)));
    tables.is_finished(1, last).await;
    // Of the same millisecond as what is there, and later.
    tables.send_at(0, ago(5000), (id.plus(8), &of("c", 9)));
    let last = tables.send_at(0, ago(7000), (id.plus(7), &of("b", 8)));
    tables.is_finished(0, last).await;
    let expected = [
        json!({ "cliente": "a", "cantidad": 2 }),
        json!({ "cliente": "b", "cantidad": 8 }),
        json!({ "cliente": "c", "cantidad": 9 }),
    ];
    assert_eq!(tables.rows(BY_CLIENT).await, expected);
    assert_eq!(tables.dead_letters().await, []);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_ignore_the_first_event_stays() {
    let tables = Tables::with(1, &BY_KEY.replace("WORD", "ignore")).await;
    let id = EventId::new_base();
    tables.send(0, &[(id, of("a", 1)), (id.plus(1), of("a", 2))]);
    let running = tables.start().await;
    let last = tables.send(0, &[(id.plus(2), of("a", 3)), (id.plus(3), of("b", 4))]);
    tables.is_finished(0, last).await;
    let expected = [
        json!({ "cliente": "a", "cantidad": 1 }),
        json!({ "cliente": "b", "cantidad": 4 }),
    ];
    assert_eq!(tables.rows(BY_CLIENT).await, expected);
    assert_eq!(tables.dead_letters().await, []);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_insert_a_key_that_is_there_is_a_dead_letter_and_the_others_go_in() {
    let tables = Tables::with(1, &BY_KEY.replace("WORD", "insert")).await;
    let id = EventId::new_base();
    let events: Vec<_> = ["a", "b", "a", "c", "b", "d"].iter().zip(0..).collect();
    let events: Vec<_> = events
        .iter()
        .map(|(key, n)| (id.plus(*n), of(key, *n as i32)))
        .collect();
    let last = tables.send(0, &events);
    let running = tables.start().await;
    tables.is_finished(0, last).await;
    let expected = [("a", 0), ("b", 1), ("c", 3), ("d", 5)]
        .map(|(key, n)| json!({ "cliente": key, "cantidad": n }));
    assert_eq!(tables.rows(BY_CLIENT).await, expected);
    let letters = tables.dead_letters().await;
    assert_eq!(letters.len(), 2, "{letters:?}");
    for (letter, key) in letters.iter().zip(["a", "b"]) {
        assert_eq!(letter.0, "refused");
        let says = format!("Key (cliente)=({key}) already exists.");
        assert!(
            letter.1.contains("(23505)") && letter.1.contains(&says),
            "{letter:?}"
        );
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_without_a_table_in_the_same_topic_is_passed_by() {
    let tables = Tables::new(1).await;
    let events = sales(30);
    let mixed: Vec<_> = events
        .iter()
        .enumerate()
        .map(|(i, (id, json))| (i % 3 % 2 * STREAM, *id, json.as_str()))
        .collect();
    let last = tables.world.send_mixed(0, &mixed);
    let running = tables.start().await;
    tables.is_finished(0, last).await;
    assert_eq!(tables.count("ventas").await, 10);
    assert_eq!(tables.count("aguacero.events").await, 10);
    assert_eq!(tables.dead_letters().await, []);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_groups_write_tables_of_their_own_from_the_same_topic() {
    let tables = Tables::new(1).await;
    let last = tables.send(0, &sales(20));
    let running = tables.start().await;
    tables.is_finished(0, last).await;
    running.stop().await;
    // Another group in the same database has taken nothing yet.
    tables.execute("TRUNCATE ventas").await;
    let mut config = tables.config.clone();
    config.consumer.group += "-2";
    let running = tables.start_with(config).await;
    tables.has_rows("ventas", 20).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_is_told_by_the_metrics() {
    let tables = Tables::new(1).await;
    let events = sales(40);
    let stream = &tables.config.streams[STREAM].name;
    let last = tables.send(0, &[&events[..], &events[..5]].concat());
    let running = tables.start().await;
    tables.is_finished(0, last).await;
    for (name, count) in [("rows_total", 40.0), ("duplicates_total", 5.0)] {
        let line = format!("aguacero_consumer_{name}{{stream=\"{stream}\"}}");
        let told = crate::world::eventually("the metric is told", async || {
            World::metric(&line).ok_or(line.clone())
        });
        assert_eq!(told.await, count, "{line}");
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_process_takes_in_between_is_a_repeat() {
    let tables = Tables::new(1).await;
    let first = tables.send(0, &sales(1));
    let running = tables.start().await;
    tables.is_finished(0, first).await;
    let (id, json) = (EventId::new_base(), of("a", 1));
    let mut other = tables.pool.get().await.unwrap();
    let transaction = other.transaction().await.unwrap();
    let take = "INSERT INTO aguacero.events SELECT key, $1, $1 FROM aguacero.streams";
    let id_there = uuid::Uuid::from_bytes(id.0);
    transaction.execute(take, &[&id_there]).await.unwrap();
    let last = tables.send(0, &[(id, json), (id.plus(1), of("b", 2))]);
    eventually("it waits for the other one", async || {
        let waiting = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
        match tables.rows(waiting).await.len() {
            1 => Ok(()),
            n => Err(format!("{n} wait")),
        }
    })
    .await;
    transaction.commit().await.unwrap();
    tables.is_finished(0, last).await;
    assert_eq!(tables.count("ventas").await, 2);
    let letters = tables.dead_letters().await;
    assert_eq!(letters.len(), 1, "{letters:?}");
    assert_eq!(letters[0].0, "id-conflict", "its value was another");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_and_policies_of_a_table_hold_for_its_rows() {
    let tables = Tables::new(1).await;
    tables.execute(RULE).await;
    let last = tables.send(0, &sales(20));
    let running = tables.start().await;
    tables.is_finished(0, last).await;
    assert_eq!(tables.count("nombres").await, 20);
    running.stop().await;
    tables
        .execute(
            "DROP RULE tambien ON ventas; ALTER TABLE ventas FORCE ROW LEVEL SECURITY, ENABLE ROW LEVEL SECURITY; \
             CREATE POLICY ninguno ON ventas FOR INSERT WITH CHECK (cliente <> 'ninguno'); \
             CREATE POLICY todos ON ventas FOR SELECT USING (true)",
        )
        .await;
    let last = tables.send(0, &sales(20));
    let running = tables.start().await;
    tables.is_finished(0, last).await;
    assert_eq!(tables.count("ventas").await, 40);
    running.stop().await;
}

/// Nobody has to start the process again for them.
#[tokio::test(flavor = "multi_thread")]
async fn a_rule_or_a_policy_that_comes_while_the_process_runs_holds_from_then_on() {
    let tables = Tables::new(1).await;
    let running = tables.start().await;
    let last = tables.send(0, &sales(20));
    tables.is_finished(0, last).await;
    tables.execute(RULE).await;
    let last = tables.send(0, &sales(20));
    tables.is_finished(0, last).await;
    assert_eq!(tables.count("nombres").await, 20);
    tables
        .execute(
            "DROP RULE tambien ON ventas; ALTER TABLE ventas FORCE ROW LEVEL SECURITY, ENABLE ROW LEVEL SECURITY; \
             CREATE POLICY todos ON ventas USING (true)",
        )
        .await;
    let last = tables.send(0, &sales(20));
    tables.is_finished(0, last).await;
    assert_eq!(tables.count("ventas").await, 60);
    running.stop().await;
}
