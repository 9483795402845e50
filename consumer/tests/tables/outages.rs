//! A server that is away, does not answer, or sends everybody home.

use crate::{
    proxy::Proxy,
    tables::{OWNER, Tables, host, sales, url},
    world::{Process, World, eventually},
};

/// A proxy before the server, by which the process goes.
pub(crate) async fn proxied(tables: &mut Tables) -> Proxy {
    let proxy = Proxy::to(&host()).await;
    tables.config.postgres.url = url(OWNER, &proxy.address, &tables.database);
    proxy
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_away_gets_everything_when_it_is_back() {
    let mut tables = Tables::new(2).await;
    (
        tables.config.consumer.buffer_bytes_max,
        tables.config.consumer.batch_bytes_max,
    ) = (100_000, 20_000);
    let postgres = proxied(&mut tables).await;
    let running = tables.start().await;
    let mut sent = 0;
    for _ in 0..2 {
        tables.send(0, &sales(200));
        tables.has_rows("ventas", sent + 200).await;
        postgres.cut();
        // More than may be in memory: the partition has to be paused.
        for _ in 0..10 {
            tables.send(0, &sales(200));
        }
        sent += 2200;
        eventually("the partition is paused", async || {
            match World::metric("aguacero_consumer_paused_partitions ") {
                Some(paused) if paused >= 1.0 => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
        postgres.mend();
        tables.has_rows("ventas", sent).await;
    }
    assert_eq!(tables.count("aguacero.events").await, sent);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_answer_is_waited_for() {
    let mut tables = Tables::new(1).await;
    let postgres = proxied(&mut tables).await;
    let running = tables.start().await;
    for round in 1..=3 {
        postgres.hold();
        let last = tables.send(0, &sales(100));
        eventually("it asks", async || match postgres.holds() {
            true => Ok(()),
            false => Err("not yet".to_owned()),
        })
        .await;
        assert_eq!(tables.count("ventas").await, 100 * (round - 1));
        postgres.let_go();
        tables.is_finished(0, last).await;
        assert_eq!(tables.count("ventas").await, 100 * round);
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_that_the_server_ends_take_nothing_with_them() {
    let tables = Tables::new(2).await;
    let mut config = tables.config.clone();
    config.consumer.batch_records_max = 50;
    let running = tables.start_with(config).await;
    let mut sent = 0;
    let mut last = [0, 0];
    for round in 0..15 {
        for partition in 0..2 {
            let sales = sales(300);
            last[partition as usize] = tables.send(partition, &sales);
            tables.send(1 - partition, &sales[..50]);
            sent += 300;
        }
        let before = tables.count("ventas").await;
        if round > 0 {
            // In the midst of it, and not always at the same place.
            eventually("some are written", async || {
                match tables.count("ventas").await {
                    rows if rows > before || rows == sent => Ok(()),
                    rows => Err(format!("{rows}")),
                }
            })
            .await;
        }
        tables.end_sessions().await;
    }
    tables.has_rows("ventas", sent).await;
    assert_eq!(tables.count("aguacero.events").await, sent);
    assert_eq!(tables.dead_letters().await, []);
    running.stop().await;
}

/// A lock is somebody else's work, and no fault of the event.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_somebody_locks_or_may_not_be_written_is_waited_for() {
    let tables = Tables::new(1).await;
    let running = tables.start().await;
    let mut client = tables.pool.get().await.unwrap();
    let lock = client.transaction().await.unwrap();
    lock.batch_execute("LOCK TABLE ventas").await.unwrap();
    let last = tables.send(0, &sales(10));
    eventually("somebody waits for the lock", async || {
        match tables.count("pg_locks WHERE NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())").await {
            0 => Err("nobody".to_owned()),
            _ => Ok(()),
        }
    })
    .await;
    lock.rollback().await.unwrap();
    tables.is_finished(0, last).await;

    tables.execute("ALTER TABLE ventas RENAME TO aside").await;
    let last = tables.send(0, &sales(10));
    eventually("it is tried again", async || {
        match World::metric("aguacero_consumer_archive_retries_total ") {
            Some(retries) if retries >= 1.0 => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    tables.execute("ALTER TABLE aside RENAME TO ventas").await;
    tables.is_finished(0, last).await;
    assert_eq!(tables.count("ventas").await, 20);
    assert_eq!(tables.dead_letters().await, []);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_goes_while_a_process_looks_at_the_tables_is_waited_for() {
    let tables = Tables::new(1).await;
    let postgres = Proxy::to(&host()).await;
    let last = tables.send(0, &sales(10));
    // Of what is asked at the start, each: the connection ends at it, until none is left to end at.
    for step in 0.. {
        postgres.cut_after(step, b"to_regnamespace", step % 2 == 0);
        let (mut command, file) = tables.command(&["run"], OWNER);
        command.env(
            "AGUACERO_POSTGRES_URL",
            url(OWNER, &postgres.address, &tables.database),
        );
        // The same one again: nobody waits until one that was killed is missed.
        command.env("AGUACERO_TABLES_INSTANCE", "one");
        let process = Process::start((command, file));
        tables.is_finished(0, last).await;
        drop(process);
        if postgres.answers_to_lose() > 0 {
            assert!(step > 5, "only {step} requests");
            break;
        }
        tables.execute("TRUNCATE aguacero.offsets").await;
    }
    assert_eq!(tables.count("ventas").await, 10);
}
