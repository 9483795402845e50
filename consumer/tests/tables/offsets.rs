//! Where a partition is read from: what the store says, whatever the group has committed.

use aguacero::id::EventId;

use crate::tables::{Tables, sales};

#[tokio::test(flavor = "multi_thread")]
async fn the_stores_offset_wins_over_one_that_kafka_has_lost_or_somebody_has_set() {
    let tables = Tables::new(1).await;
    let events = sales(300);
    let running = tables.start().await;
    let last = tables.send(0, &events[..100]);
    tables.is_finished(0, last).await;
    running.stop().await;
    // Ahead: these are not passed over.
    let last = tables.send(0, &events[100..200]);
    tables.world.reset(0, last + 1);
    let running = tables.start().await;
    tables.is_finished(0, last).await;
    assert_eq!(tables.count("ventas").await, 200);
    tables.world.has_committed(0, last + 1).await;
    running.stop().await;
    // Behind: nothing is read again.
    tables.execute("TRUNCATE aguacero.events, ventas").await;
    tables.world.reset(0, 0);
    let last = tables.send(0, &events[200..]);
    let running = tables.start().await;
    tables.is_finished(0, last).await;
    assert_eq!(tables.count("ventas").await, 100);
    tables.world.has_committed(0, last + 1).await;
    running.stop().await;
}

/// As of a backup: rows, events and offsets as they were together.
const BACKUP: &str = "CREATE SCHEMA backup; \
    CREATE TABLE backup.ventas AS TABLE ventas; CREATE TABLE backup.events AS TABLE aguacero.events; \
    CREATE TABLE backup.offsets AS TABLE aguacero.offsets";
const RESTORE: &str = "BEGIN; \
    TRUNCATE ventas, aguacero.events, aguacero.offsets; INSERT INTO ventas TABLE backup.ventas; \
    INSERT INTO aguacero.events TABLE backup.events; INSERT INTO aguacero.offsets TABLE backup.offsets; COMMIT";

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_was_put_back_to_an_earlier_state_is_filled_again() {
    let tables = Tables::new(2).await;
    let events = sales(900);
    let running = tables.start().await;
    tables.send(0, &events[..200]);
    tables.has_rows("ventas", 200).await;
    tables.execute(BACKUP).await;
    for (partition, events) in [(0, &events[200..400]), (1, &events[300..600])] {
        tables.send(partition, events);
    }
    tables.has_rows("ventas", 600).await;
    // While the process runs: it sees it at the next batch of each partition.
    tables.execute(RESTORE).await;
    assert_eq!(tables.count("ventas").await, 200);
    tables.send(0, &events[600..700]);
    tables.send(1, &events[650..750]);
    tables.has_rows("ventas", 750).await;
    running.stop().await;
    // And while none does.
    tables.execute(RESTORE).await;
    let last = tables.send(0, &events[700..]);
    let running = tables.start().await;
    tables.is_finished(0, last).await;
    tables.has_rows("ventas", 900).await;
    assert_eq!(tables.count("aguacero.events").await, 900);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_has_only_lost_its_offsets_gets_nothing_twice() {
    let tables = Tables::new(1).await;
    let events = sales(300);
    let running = tables.start().await;
    let last = tables.send(0, &events[..200]);
    tables.is_finished(0, last).await;
    tables.execute("DELETE FROM aguacero.offsets").await;
    let last = tables.send(0, &events[200..]);
    tables.is_finished(0, last).await;
    assert_eq!(tables.count("ventas").await, 300);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_database_in_its_place_is_filled_from_the_beginning() {
    let tables = Tables::new(1).await;
    let running = tables.start().await;
    tables.send(0, &sales(100));
    tables.has_rows("ventas", 100).await;
    running.stop().await;
    tables
        .execute("DROP TABLE ventas; DROP SCHEMA aguacero CASCADE")
        .await;
    tables.apply().await;
    let running = tables.start().await;
    tables.has_rows("ventas", 100).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_was_made_again_is_read_from_its_beginning() {
    let tables = Tables::new(1).await;
    let running = tables.start().await;
    tables.send(0, &sales(100));
    tables.has_rows("ventas", 100).await;
    running.stop().await;
    tables.world.delete_topic().await;
    tables.world.create_topic().await;
    let id = EventId::new_base();
    tables.send(0, &[(id, r#"{"cliente":"otra"}"#.to_owned())]);
    let running = tables.start().await;
    tables.has_rows("ventas", 101).await;
    running.stop().await;
}
